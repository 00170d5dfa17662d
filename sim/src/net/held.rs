//! Messages that a clog holds, in the order in which they come free.

use std::collections::BTreeMap;

/// What is held, each until a time; of those that come free at one time the one that came first is first.
#[derive(Clone, Debug)]
pub struct Held<T> {
    items: BTreeMap<(u64, u64), T>,
    sequence: u64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), sequence: 0 }
    }
}

impl<T> Held<T> {
    /// Holds a message until this time in nanoseconds, as [`Network::arrives`](super::Network::arrives) said.
    pub fn hold(&mut self, until_ns: u64, item: T) {
        self.items.insert((until_ns, self.sequence), item);
        self.sequence += 1;
    }

    /// When the next one comes free, in nanoseconds.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.items.first_key_value().map(|((until_ns, _), _)| *until_ns)
    }

    /// Takes the next one that is free by this time. It is to be judged again.
    pub fn release(&mut self, at_ns: u64) -> Option<T> {
        if self.due_ns()? > at_ns {
            return None;
        }
        self.items.pop_first().map(|(_, item)| item)
    }

    /// Takes the next one, whatever holds it: for when everything is healed.
    pub fn release_any(&mut self) -> Option<T> {
        self.items.pop_first().map(|(_, item)| item)
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_free_in_order_and_not_before() {
        let mut held = Held::default();
        for (until_ns, item) in [(30, 'c'), (10, 'a'), (30, 'd'), (20, 'b'), (40, 'e')] {
            held.hold(until_ns, item);
        }
        assert_eq!((held.due_ns(), held.release(9)), (Some(10), None));
        let free: String = std::iter::from_fn(|| held.release(30)).collect();
        assert_eq!((free.as_str(), held.len(), held.release(39)), ("abcd", 1, None));
        assert_eq!((held.release_any(), held.is_empty()), (Some('e'), true));
    }
}
