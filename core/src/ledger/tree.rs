//! A path-copying radix tree with cached hashes: the shape in which a replicated state is kept.
//!
//! Nodes are shared by reference count. A change copies only the nodes on the path to it that somebody else still
//! holds; a clone is O(1) and never changes afterwards, which makes it a frozen view for listings, snapshots and seals.
//! No operation recurses: the depth is bounded by the length of a key ([`TREE_KEY_BYTES_MAX`]), but not by less.
//!
//! **Shape.** An edge carries one byte, by which the children of a node are sorted, and leads to a node with a label of
//! zero or more further bytes. The key of a node is what is read on the way to it from the root, whose label is empty.
//! Every node but the root has a value or at least two children. There is exactly one such tree for given contents, so
//! the root hash says what is in the tree and nothing of how it came about.
//!
//! **Hashes.** All numbers little-endian, SHA-256, one domain byte first:
//!
//! ```text
//! leaf  (a node with a value and no child):
//!   00 | u16 label length | label | value
//! inner (any other node):
//!   01 | u16 label length | label | u16 children | children x (u8 edge byte | 32-byte hash) | u8 has value | value
//! ```
//!
//! `value` is what [`TreeValue::encode`] writes. It stands last, so that it needs no length.

mod build;
mod hash;
mod scan;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

pub(crate) use self::build::Builder;
use self::hash::HashCell;
pub use self::scan::Scan;
use crate::crypto::hash::{HASH_LEN, sha256};
use crate::limits::NAME_BYTES_MAX;

/// Bytes of a key: a namespace, a name, a zero and a number. Bounds the depth of a tree.
pub const TREE_KEY_BYTES_MAX: usize = 1 + NAME_BYTES_MAX + 1 + 8;

/// First byte of what is hashed for a node with a value and no child.
const DOMAIN_LEAF: u8 = 0;
/// First byte of what is hashed for any other node.
const DOMAIN_INNER: u8 = 1;

const _: () = assert!(TREE_KEY_BYTES_MAX <= u16::MAX as usize);

/// What a tree can hold.
pub trait TreeValue: Clone {
    /// Appends the bytes that stand for this value in a hash. Different values must give different bytes.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A sorted map from byte strings to values. See the module for its shape and its hash.
#[derive(Clone, Debug)]
pub struct Tree<V> {
    /// Invariant: its label is empty; it is never merged with a child.
    root: Arc<Node<V>>,
    /// Invariant: the number of values in the tree.
    len: u64,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// What the key has after the byte of the edge that leads here.
    label: Box<[u8]>,
    value: Option<V>,
    /// Invariant: strictly ascending by `byte`.
    children: Vec<Edge<V>>,
    hash: HashCell,
}

#[derive(Clone, Debug)]
struct Edge<V> {
    byte: u8,
    node: Arc<Node<V>>,
}

impl<V> Node<V> {
    fn leaf(label: &[u8], value: V) -> Arc<Self> {
        Arc::new(Self { label: label.into(), value: Some(value), children: Vec::new(), hash: HashCell::default() })
    }

    /// Where the child behind `byte` is, or where it would be.
    fn child(&self, byte: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&byte, |edge| edge.byte)
    }
}

/// The last holder of a node takes its children along one by one: the drop that the compiler would write is as deep as
/// the tree.
impl<V> Drop for Node<V> {
    fn drop(&mut self) {
        let mut orphans = mem::take(&mut self.children);
        while let Some(edge) = orphans.pop() {
            if let Some(mut node) = Arc::into_inner(edge.node) {
                orphans.append(&mut node.children);
            }
        }
    }
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        let root = Node { label: Box::default(), value: None, children: Vec::new(), hash: HashCell::default() };
        Self { root: Arc::new(root), len: 0 }
    }
}

impl<V> Tree<V> {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        find(&self.root, key)
    }

    /// The entries whose key begins with `prefix` and is greater than `after`, in byte order of their keys. Getting to
    /// the first one costs the length of its key.
    #[must_use]
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> Scan<'_, V> {
        Scan::new(&self.root, prefix, after)
    }

    /// The children to take, from the root on, to the node with the key `key`, if it has a value.
    fn path(&self, key: &[u8]) -> Option<Vec<usize>> {
        let (mut node, mut rest) = (&*self.root, key);
        let mut path = Vec::new();
        loop {
            rest = rest.strip_prefix(&*node.label)?;
            let Some((byte, tail)) = rest.split_first() else { break };
            let at = node.child(*byte).ok()?;
            path.push(at);
            node = &node.children[at].node;
            rest = tail;
        }
        node.value.is_some().then_some(path)
    }
}

impl<V: Clone> Tree<V> {
    /// Sets the value of `key` and gives back the one it had.
    ///
    /// # Panics
    /// If the key is longer than [`TREE_KEY_BYTES_MAX`].
    pub fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        assert!(key.len() <= TREE_KEY_BYTES_MAX, "a key of {} bytes is too long", key.len());
        let mut node = unshare(&mut self.root);
        let mut rest = key;
        loop {
            let Some((byte, tail)) = rest.split_first() else {
                let old = node.value.replace(value);
                self.len += u64::from(old.is_none());
                return old;
            };
            let at = match node.child(*byte) {
                Ok(at) => at,
                Err(at) => {
                    node.children.insert(at, Edge { byte: *byte, node: Node::leaf(tail, value) });
                    self.len += 1;
                    return None;
                }
            };
            let child = &mut node.children[at].node;
            let common = common_len(&child.label, tail);
            if common < child.label.len() {
                split(child, common, &tail[common..], value);
                self.len += 1;
                return None;
            }
            rest = &tail[common..];
            node = unshare(child);
        }
    }

    /// The value of `key`, to be changed in place. Nothing is copied when there is none.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let path = self.path(key)?;
        self.descend(&path).value.as_mut()
    }

    /// Removes `key` and gives back its value. Nothing is copied when there is none.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let path = self.path(key)?;
        let node = self.descend(&path);
        let value = node.value.take();
        assert!(value.is_some(), "the path leads to a value");
        // A node must earn its place by a value or by two children. Taking a child away can cost its parent the place,
        // but not the grandparent: the parent, merged, is still there.
        let childless = node.children.is_empty();
        match path.split_last() {
            None => {}
            Some((at, parents)) if childless => {
                let parent = self.descend(parents);
                parent.children.remove(*at);
                if !parents.is_empty() {
                    merge(parent);
                }
            }
            Some(_) => merge(node),
        }
        self.len = self.len.checked_sub(1).expect("the value was counted");
        value
    }

    /// The node at the end of `path`; every node on the way is made ours, and loses its hash.
    fn descend(&mut self, path: &[usize]) -> &mut Node<V> {
        let mut node = unshare(&mut self.root);
        for at in path {
            node = unshare(&mut node.children[*at].node);
        }
        node
    }
}

impl<V: TreeValue> Tree<V> {
    /// The hash of everything in the tree. Costs the nodes that changed since it was asked for last.
    #[must_use]
    pub fn root(&self) -> [u8; HASH_LEN] {
        let is_known = self.fill_hashes(usize::MAX);
        assert!(is_known, "nothing stops it");
        self.root.hash.get().expect("it was just filled")
    }

    /// Computes at most `limit` of the hashes that the root needs, and says whether the root is known then. A walk in
    /// slices: what was computed stays, here and in every clone.
    pub fn fill_hashes(&self, limit: usize) -> bool {
        let (mut left, mut buffer) = (limit, Vec::new());
        let mut stack = vec![(&*self.root, 0)];
        while let Some((node, next)) = stack.last_mut() {
            match node.children.get(*next) {
                Some(edge) => {
                    *next += 1;
                    if edge.node.hash.get().is_none() {
                        stack.push((&edge.node, 0));
                    }
                }
                None => {
                    if node.hash.get().is_none() {
                        if left == 0 {
                            return false;
                        }
                        left -= 1;
                        node.hash.set(&node_hash(node, &mut buffer));
                    }
                    stack.pop();
                }
            }
        }
        true
    }

    /// Asserts the shape that the module describes, the count, and every hash that is known. Visits everything.
    ///
    /// # Panics
    /// When something does not hold, which is a bug.
    pub fn check(&self) {
        assert!(self.root.label.is_empty(), "nothing is read before the root");
        let (mut values, mut buffer) = (0, Vec::new());
        let mut stack = vec![(&*self.root, 0)];
        while let Some((node, above)) = stack.pop() {
            let is_root = core::ptr::eq(node, &*self.root);
            assert!(is_root || node.value.is_some() || node.children.len() >= 2, "every node has earned its place");
            assert!(node.children.is_sorted_by(|a, b| a.byte < b.byte), "children are strictly ascending");
            let key_len = above + node.label.len();
            assert!(key_len <= TREE_KEY_BYTES_MAX, "no key is longer than the bound");
            values += u64::from(node.value.is_some());
            if let Some(known) = node.hash.get() {
                let filled = node.children.iter().all(|edge| edge.node.hash.get().is_some());
                assert!(filled, "a known hash stands on known hashes");
                assert_eq!(known, node_hash(node, &mut buffer), "a known hash is the node's");
            }
            stack.extend(node.children.iter().map(|edge| (&*edge.node, key_len + 1)));
        }
        assert_eq!(values, self.len, "every value is counted");
    }
}

/// The value under `node` whose key has `rest` after the bytes above the node's label.
fn find<'a, V>(mut node: &'a Node<V>, mut rest: &[u8]) -> Option<&'a V> {
    loop {
        rest = rest.strip_prefix(&*node.label)?;
        let Some((byte, tail)) = rest.split_first() else { return node.value.as_ref() };
        node = &node.children[node.child(*byte).ok()?].node;
        rest = tail;
    }
}

/// Makes a node ours alone, by a copy if it is shared, and forgets its hash: it is about to change.
fn unshare<V: Clone>(node: &mut Arc<Node<V>>) -> &mut Node<V> {
    let node = Arc::make_mut(node);
    node.hash.clear();
    node
}

/// Puts a new node above `child`, which keeps all but the first `common` bytes of its label; the new node, or a second
/// child of it, takes `value` at `rest`.
fn split<V: Clone>(child: &mut Arc<Node<V>>, common: usize, rest: &[u8], value: V) {
    let above: Box<[u8]> = child.label[..common].into();
    let byte = child.label[common];
    let lower = unshare(child);
    lower.label = lower.label[common + 1..].into();
    let lower = Edge { byte, node: Arc::clone(child) };
    let (value, children) = match rest.split_first() {
        None => (Some(value), vec![lower]),
        Some((other, tail)) => {
            assert_ne!(*other, byte, "the labels part here");
            let new = Edge { byte: *other, node: Node::leaf(tail, value) };
            (None, if *other < byte { vec![new, lower] } else { vec![lower, new] })
        }
    };
    *child = Arc::new(Node { label: above, value, children, hash: HashCell::default() });
}

/// Merges a node that has no value and a single child with that child. Other nodes stay as they are.
fn merge<V: Clone>(node: &mut Node<V>) {
    if node.value.is_some() || node.children.len() != 1 {
        return;
    }
    let edge = node.children.pop().expect("there is one child");
    let mut child = Arc::unwrap_or_clone(edge.node);
    node.label = [&*node.label, &[edge.byte], &*child.label].concat().into();
    node.value = child.value.take();
    node.children = mem::take(&mut child.children);
    assert!(node.value.is_some() || node.children.len() >= 2, "the child had earned its place");
}

/// The hash of a node whose children's hashes are known. `buffer` is scratch space.
fn node_hash<V: TreeValue>(node: &Node<V>, buffer: &mut Vec<u8>) -> [u8; HASH_LEN] {
    buffer.clear();
    let is_leaf = node.children.is_empty() && node.value.is_some();
    buffer.push(if is_leaf { DOMAIN_LEAF } else { DOMAIN_INNER });
    let label_len = u16::try_from(node.label.len()).expect("a label is no longer than a key");
    buffer.extend_from_slice(&label_len.to_le_bytes());
    buffer.extend_from_slice(&node.label);
    if !is_leaf {
        let children = u16::try_from(node.children.len()).expect("at most one child per byte");
        buffer.extend_from_slice(&children.to_le_bytes());
        for edge in &node.children {
            buffer.push(edge.byte);
            buffer.extend_from_slice(&edge.node.hash.get().expect("children are hashed before their parent"));
        }
        buffer.push(u8::from(node.value.is_some()));
    }
    if let Some(value) = &node.value {
        value.encode(buffer);
    }
    sha256(buffer)
}

/// How many bytes two byte strings have in common at their start.
fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
