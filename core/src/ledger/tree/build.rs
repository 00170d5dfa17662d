//! Building a tree from entries in the order of their keys: each node is made once, and hashed when it is complete if
//! the hashes are needed at once.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::hash::HashCell;
use super::{Edge, Node, TREE_KEY_BYTES_MAX, Tree, TreeValue, common_len, find, node_hash};

/// A tree whose last path is still open.
#[derive(Clone, Debug)]
pub(crate) struct Builder<V> {
    /// Invariant: the nodes on the way to `key`, the root first and that of `key` last, each a child of the one before.
    open: Vec<Open<V>>,
    /// The last key.
    key: Vec<u8>,
    len: u64,
    /// Whether nodes are hashed.
    hashed: bool,
    /// Scratch space.
    buffer: Vec<u8>,
}

/// A node that may get further children.
#[derive(Clone, Debug)]
struct Open<V> {
    /// Bytes of the key above its label.
    above: usize,
    /// Bytes of its key.
    key_len: usize,
    value: Option<V>,
    children: Vec<Edge<V>>,
}

/// A key that is empty, too long, or not greater than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

impl<V: TreeValue> Builder<V> {
    /// A tree with nothing in it yet. With `hashed` its hashes are computed on the way.
    pub(crate) fn new(hashed: bool) -> Self {
        let root = Open { above: 0, key_len: 0, value: None, children: Vec::new() };
        Self { open: vec![root], key: Vec::new(), len: 0, hashed, buffer: Vec::new() }
    }

    /// Adds an entry behind all others. Costs the nodes that it completes.
    pub(crate) fn push(&mut self, key: &[u8], value: V) -> Result<(), OutOfOrder> {
        if key <= &*self.key || key.len() > TREE_KEY_BYTES_MAX {
            return Err(OutOfOrder);
        }
        let common = common_len(&self.key, key);
        self.close(common);
        self.open.push(Open { above: common + 1, key_len: key.len(), value: Some(value), children: Vec::new() });
        self.key.truncate(common);
        self.key.extend_from_slice(&key[common..]);
        self.len += 1;
        Ok(())
    }

    /// The value of `key`, if it is under a child of the root that is complete.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let (byte, tail) = key.split_first()?;
        let children = &self.open[0].children;
        let at = children.binary_search_by_key(byte, |edge| edge.byte).ok()?;
        find(&children[at].node, tail)
    }

    /// The tree.
    pub(crate) fn finish(mut self) -> Tree<V> {
        self.close(0);
        let root = self.open.pop().expect("the root is never closed before");
        assert!(self.open.is_empty(), "everything else is");
        Tree { root: self.complete(root, 0), len: self.len }
    }

    /// Completes the nodes whose key is longer than the first `common` bytes of the last one, and leaves one open that
    /// has just these.
    fn close(&mut self, common: usize) {
        while let Some(node) = self.open.pop_if(|node| node.key_len > common) {
            let parent = self.open.last_mut().expect("the root's key is the shortest");
            let parent_len = parent.key_len;
            if parent_len >= common {
                let byte = self.key[parent_len];
                let node = self.complete(node, parent_len + 1);
                self.open.last_mut().expect("it is still there").children.push(Edge { byte, node });
                continue;
            }
            // The label is left in its middle: a new node takes its upper part.
            let (above, byte) = (node.above, self.key[common]);
            let node = self.complete(node, common + 1);
            self.open.push(Open { above, key_len: common, value: None, children: vec![Edge { byte, node }] });
        }
        assert_eq!(self.open.last().map(|node| node.key_len), Some(common), "a node ends where the keys part");
    }

    fn complete(&mut self, open: Open<V>, above: usize) -> Arc<Node<V>> {
        let Open { above: _, key_len, value, mut children } = open;
        children.shrink_to_fit();
        let label: Box<[u8]> = self.key[above..key_len].into();
        let node = Node { label, value, children, hash: HashCell::default() };
        if self.hashed {
            node.hash.set(&node_hash(&node, &mut self.buffer));
        }
        Arc::new(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..3_u8, 1..7)
    }

    proptest! {
        #[test]
        fn a_built_tree_is_the_tree(
            entries in prop::collection::btree_map(any_key(), any::<u16>(), 0..60),
            hashed in any::<bool>(),
        ) {
            let (mut builder, mut tree) = (Builder::new(hashed), Tree::new());
            for (key, value) in &entries {
                prop_assert_eq!(builder.push(key, *value), Ok(()));
                tree.insert(key, *value);
            }
            let built = builder.finish();
            built.check();
            prop_assert_eq!(built.root.hash.get().is_some(), hashed);
            prop_assert_eq!((built.root(), built.len()), (tree.root(), tree.len()));
            for (key, value) in &entries {
                prop_assert_eq!(built.get(key), Some(value));
            }
        }

        #[test]
        fn a_key_that_is_not_greater_is_refused(entries in prop::collection::vec(any_key(), 1..20)) {
            let (mut builder, mut kept) = (Builder::new(true), BTreeMap::new());
            for key in entries {
                let ascends = kept.last_key_value().is_none_or(|(last, ())| *last < key);
                prop_assert_eq!(builder.push(&key, 0_u16).is_ok(), ascends);
                if ascends {
                    kept.insert(key, ());
                }
            }
            prop_assert_eq!(builder.len, kept.len() as u64);
            let byte = kept.last_key_value().expect("the first one ascends").0[0];
            for key in kept.keys() {
                prop_assert_eq!(builder.get(key).is_some(), key[0] < byte, "only what is complete is found");
            }
            builder.finish().check();
        }
    }

    #[test]
    fn keys_have_their_bounds() {
        let mut builder = Builder::new(true);
        assert_eq!(builder.push(&[], 0_u16), Err(OutOfOrder));
        assert_eq!(builder.push(&[1; TREE_KEY_BYTES_MAX + 1], 0), Err(OutOfOrder));
        assert_eq!(builder.push(&[1; TREE_KEY_BYTES_MAX], 0), Ok(()));
        builder.finish().check();
    }
}
