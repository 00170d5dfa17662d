//! Walking a tree in the order of its keys, from anywhere, without collecting anything.

use alloc::vec::Vec;

use super::{Node, common_len};

/// One node on the way from the start of a scan to where it is.
#[derive(Clone, Debug)]
struct Frame<'a, V> {
    node: &'a Node<V>,
    /// Whether the node's own value is still to come.
    value_pending: bool,
    /// The first child that is still to come.
    next: usize,
    /// Bytes of the node's key.
    key_len: usize,
}

/// A cursor over the entries of a [`Tree`](super::Tree) under one prefix, in byte order of their keys.
///
/// It holds the path to where it is and nothing else, so its size is bounded by the length of a key.
#[derive(Clone, Debug)]
pub struct Scan<'a, V> {
    /// Invariant: the frames are a path downwards; each one's `next` is already past the child that follows it.
    stack: Vec<Frame<'a, V>>,
    /// Invariant: begins with the key of the last frame's node.
    key: Vec<u8>,
}

impl<'a, V> Scan<'a, V> {
    /// A cursor before the first entry whose key begins with `prefix` and is greater than `after`.
    pub(super) fn new(root: &'a Node<V>, prefix: &[u8], after: Option<&[u8]>) -> Self {
        let mut scan = Self { stack: Vec::new(), key: Vec::new() };
        let Some((node, above)) = subtree(root, prefix) else { return scan };
        scan.key.extend_from_slice(&prefix[..above]);
        match after {
            Some(after) if after.starts_with(prefix) => scan.seek(node, &after[above..]),
            // Greater than the prefix without beginning with it: greater than everything under it.
            Some(after) if after > prefix => {}
            Some(_) | None => scan.enter(node),
        }
        scan
    }

    /// Moves to the next entry and gives its value; `None` at the end, then and for ever.
    pub fn advance(&mut self) -> Option<&'a V> {
        loop {
            let frame = self.stack.last_mut()?;
            let node = frame.node;
            self.key.truncate(frame.key_len);
            if frame.value_pending {
                frame.value_pending = false;
                if let Some(value) = &node.value {
                    return Some(value);
                }
            } else if let Some(edge) = node.children.get(frame.next) {
                frame.next += 1;
                self.key.push(edge.byte);
                self.enter(&edge.node);
            } else {
                self.stack.pop();
            }
        }
    }

    /// The key of the entry that [`Scan::advance`] gave last. Says nothing before the first and after the last one.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Goes to `node`, with its value and all its children still to come. `key` has the bytes above its label.
    fn enter(&mut self, node: &'a Node<V>) {
        self.key.extend_from_slice(&node.label);
        self.stack.push(Frame { node, value_pending: true, next: 0, key_len: self.key.len() });
    }

    /// Goes from `node` down along `rest` to before the first entry that is greater; `key` has the bytes above the
    /// label of `node`, and `rest` is what comes after them.
    fn seek(&mut self, node: &'a Node<V>, rest: &[u8]) {
        let (mut node, mut rest) = (node, rest);
        loop {
            let common = common_len(&node.label, rest);
            if common < node.label.len() {
                // The label leaves the path of `rest` here: everything below is on one side of it.
                if rest.get(common).is_none_or(|byte| *byte < node.label[common]) {
                    self.enter(node);
                }
                return;
            }
            self.key.extend_from_slice(&node.label);
            let (next, below) = match rest[common..].split_first() {
                None => (0, None),
                Some((byte, tail)) => match node.child(*byte) {
                    Ok(at) => (at + 1, Some((&node.children[at], tail))),
                    Err(at) => (at, None),
                },
            };
            self.stack.push(Frame { node, value_pending: false, next, key_len: self.key.len() });
            let Some((edge, tail)) = below else { return };
            self.key.push(edge.byte);
            (node, rest) = (&edge.node, tail);
        }
    }
}

/// The node under which all keys that begin with `prefix` are, and the number of bytes of its key above its label.
fn subtree<'a, V>(root: &'a Node<V>, prefix: &[u8]) -> Option<(&'a Node<V>, usize)> {
    let (mut node, mut above) = (root, 0);
    loop {
        let rest = &prefix[above..];
        let common = common_len(&node.label, rest);
        if common == rest.len() {
            return Some((node, above));
        }
        if common < node.label.len() {
            return None;
        }
        let at = node.child(rest[common]).ok()?;
        node = &node.children[at].node;
        above += common + 1;
    }
}
