//! What is known of each of a few nodes: a sorted list, since a group is so small that a tree only costs.

use alloc::vec::Vec;

use crate::id::NodeId;

/// Values by node, ascending. Adding and removing move what follows, which is rare and short.
#[derive(Clone, Debug)]
pub(super) struct Peers<V>(Vec<(NodeId, V)>);

impl<V> Default for Peers<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Peers<V> {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Where a node is, or where it belongs.
    fn find(&self, node: &NodeId) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(node))
    }

    /// The node at a place, and what is known of it.
    ///
    /// # Panics
    /// When there are no more than `at`.
    pub(super) fn at(&mut self, at: usize) -> (NodeId, &mut V) {
        let (node, value) = &mut self.0[at];
        (*node, value)
    }

    pub(super) fn contains_key(&self, node: &NodeId) -> bool {
        self.find(node).is_ok()
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&V> {
        self.find(node).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut V> {
        self.find(node).ok().map(|at| &mut self.0[at].1)
    }

    /// Puts a value in the place of what was known of a node, if anything was.
    pub(super) fn insert(&mut self, node: NodeId, value: V) {
        match self.find(&node) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (node, value)),
        }
    }

    pub(super) fn remove(&mut self, node: &NodeId) -> Option<V> {
        self.find(node).ok().map(|at| self.0.remove(at).1)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// In ascending order of nodes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &V)> {
        self.0.iter().map(|(node, value)| (node, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &NodeId> {
        self.iter().map(|(node, _)| node)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}
