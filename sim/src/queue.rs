//! The event queue: a total order by (time, sequence), behind a trait with two implementations that must agree.
//!
//! Two implementations exist so that a run can be repeated on the other one: whatever depends on the inner order of a
//! container then shows as a different trace hash (checker W4).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// When something happens. The sequence number is the order of scheduling and breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Nanoseconds since the start of the run.
    pub at: u64,
    /// Dense from 0 over the run.
    pub sequence: u64,
}

/// A queue of things that become due.
pub trait Queue<T> {
    /// Adds something.
    fn push(&mut self, due: Due, item: T);
    /// What comes next, without taking it.
    fn peek(&self) -> Option<Due>;
    /// Takes what comes next.
    fn pop(&mut self) -> Option<(Due, T)>;
    /// How many things wait.
    fn len(&self) -> usize;
    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which implementation a run uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// A binary heap.
    #[default]
    Heap,
    /// A balanced tree.
    Tree,
}

impl QueueKind {
    /// An empty queue of this kind.
    #[must_use]
    pub fn build<T: 'static>(self) -> Box<dyn Queue<T>> {
        match self {
            Self::Heap => Box::new(HeapQueue { heap: BinaryHeap::new() }),
            Self::Tree => Box::new(TreeQueue { tree: BTreeMap::new() }),
        }
    }

    /// The kind that a twin run uses.
    #[must_use]
    pub const fn twin(self) -> Self {
        match self {
            Self::Heap => Self::Tree,
            Self::Tree => Self::Heap,
        }
    }
}

struct HeapEntry<T> {
    due: Due,
    item: T,
}

impl<T> PartialEq for HeapEntry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl<T> Eq for HeapEntry<T> {}

impl<T> PartialOrd for HeapEntry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for HeapEntry<T> {
    /// Reversed: the standard heap gives the largest, and the queue wants the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

struct HeapQueue<T> {
    heap: BinaryHeap<HeapEntry<T>>,
}

impl<T> Queue<T> for HeapQueue<T> {
    fn push(&mut self, due: Due, item: T) {
        self.heap.push(HeapEntry { due, item });
    }

    fn peek(&self) -> Option<Due> {
        self.heap.peek().map(|entry| entry.due)
    }

    fn pop(&mut self) -> Option<(Due, T)> {
        self.heap.pop().map(|entry| (entry.due, entry.item))
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

struct TreeQueue<T> {
    tree: BTreeMap<Due, T>,
}

impl<T> Queue<T> for TreeQueue<T> {
    fn push(&mut self, due: Due, item: T) {
        let replaced = self.tree.insert(due, item);
        assert!(replaced.is_none(), "sequence numbers are never used twice");
    }

    fn peek(&self) -> Option<Due> {
        self.tree.first_key_value().map(|(due, _)| *due)
    }

    fn pop(&mut self) -> Option<(Due, T)> {
        self.tree.pop_first()
    }

    fn len(&self) -> usize {
        self.tree.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_core::rng::Seed;

    #[test]
    fn both_queues_give_the_same_order_under_any_mix_of_pushes_and_pops() {
        let mut rng = Seed::new([9; 32]).rng();
        let mut heap = QueueKind::Heap.build::<u64>();
        let mut tree = QueueKind::Heap.twin().build::<u64>();
        let mut last = None;
        for sequence in 0..5_000 {
            let floor = last.map_or(0, |due: Due| due.at);
            let due = Due { at: floor + rng.below(20), sequence };
            heap.push(due, sequence);
            tree.push(due, sequence);
            for _ in 0..rng.below(3) {
                assert_eq!(heap.peek(), tree.peek());
                let (a, b) = (heap.pop(), tree.pop());
                assert_eq!(a, b);
                assert!(a.is_none() || a.map(|(due, _)| due) > last, "time or sequence must grow");
                last = a.map_or(last, |(due, _)| Some(due));
            }
            assert_eq!(heap.len(), tree.len());
        }
        while let Some(next) = heap.pop() {
            assert_eq!(tree.pop(), Some(next));
        }
        assert!(tree.is_empty());
    }

    #[test]
    fn ties_come_in_the_order_of_scheduling() {
        for kind in [QueueKind::Heap, QueueKind::Tree] {
            let mut queue = kind.build();
            for (sequence, item) in [(3, 'd'), (0, 'a'), (2, 'c'), (1, 'b')] {
                queue.push(Due { at: 7, sequence }, item);
            }
            let order: String = std::iter::from_fn(|| queue.pop().map(|(_, item)| item)).collect();
            assert_eq!(order, "abcd");
        }
    }
}
