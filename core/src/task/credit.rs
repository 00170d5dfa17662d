//! The pool of bytes that all puts together may have on their way to a volume (protocols T5).
//!
//! A put asks for one block at a time and gets it whole. Conversations take turns, and a block that does not fit yet is
//! waited for: what comes later never overtakes it, so nobody starves.

use alloc::collections::{BTreeMap, VecDeque};

use crate::id::RequestId;
use crate::limits::{PUT_BLOCKS_AHEAD, REQUESTS_MAX};

/// The pool.
#[derive(Clone, Debug)]
pub struct Credit {
    total: u64,
    /// Granted and not released. Invariant: at most `total`.
    out: u64,
    /// Whose turn it is. Invariant: just the keys of `asks`, each once.
    turns: VecDeque<RequestId>,
    /// What each waits for, oldest first. Invariant: never empty, each from 1 to `total`.
    asks: BTreeMap<RequestId, VecDeque<u64>>,
}

impl Credit {
    /// A pool of `total` bytes, [`crate::config::Config::ingest_bytes_max`].
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self { total, out: 0, turns: VecDeque::new(), asks: BTreeMap::new() }
    }

    /// Queues an ask of `bytes` for `id`; [`Credit::grant`] will name it.
    ///
    /// # Panics
    /// When it could never be granted, or `id` asks for more blocks than a put may: bugs of the put.
    pub fn ask(&mut self, id: RequestId, bytes: u64) {
        assert!((1..=self.total).contains(&bytes), "{bytes} bytes of {} can't be granted", self.total);
        let asks = self.asks.entry(id).or_default();
        if asks.is_empty() {
            self.turns.push_back(id);
        }
        asks.push_back(bytes);
        assert!(asks.len() <= PUT_BLOCKS_AHEAD as usize, "a put asks for {PUT_BLOCKS_AHEAD} blocks at most");
        assert!(self.turns.len() <= REQUESTS_MAX, "there are at most {REQUESTS_MAX} conversations");
    }

    /// Gives back `bytes` that were granted.
    ///
    /// # Panics
    /// When more is given back than was granted.
    pub fn release(&mut self, bytes: u64) {
        assert!(bytes <= self.out, "{bytes} bytes given back of {}", self.out);
        self.out -= bytes;
    }

    /// Drops what `id` waits for. What it was granted, it gives back by itself.
    pub fn forget(&mut self, id: RequestId) {
        if self.asks.remove(&id).is_some() {
            self.turns.retain(|turn| *turn != id);
        }
    }

    /// Grants the next ask, if it fits: whose it is, and its bytes. To be called until there is none.
    pub fn grant(&mut self) -> Option<(RequestId, u64)> {
        let id = *self.turns.front()?;
        let asks = self.asks.get_mut(&id).expect("whoever has a turn asks for something");
        let bytes = *asks.front().expect("an empty queue of asks is removed");
        if bytes > self.total - self.out {
            return None;
        }
        asks.pop_front();
        self.turns.pop_front();
        if asks.is_empty() {
            self.asks.remove(&id);
        } else {
            self.turns.push_back(id);
        }
        self.out += bytes;
        assert!(self.out <= self.total, "never more is out than there is");
        Some((id, bytes))
    }

    /// Bytes granted and not released.
    #[must_use]
    pub const fn out(&self) -> u64 {
        self.out
    }

    /// Asserts the invariants.
    ///
    /// # Panics
    /// When one does not hold, which is a bug.
    pub fn check(&self) {
        assert!(self.out <= self.total, "never more is out than there is");
        assert_eq!(self.turns.len(), self.asks.len(), "everyone who asks has one turn");
        for id in &self.turns {
            assert!(self.asks.contains_key(id), "whoever has a turn asks for something");
        }
        for asks in self.asks.values() {
            assert!(
                !asks.is_empty() && asks.iter().all(|bytes| (1..=self.total).contains(bytes)),
                "asks can be granted"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn grants(credit: &mut Credit) -> Vec<(u64, u64)> {
        core::iter::from_fn(|| credit.grant()).map(|(id, bytes)| (id.0, bytes)).collect()
    }

    #[test]
    fn conversations_take_turns() {
        let mut credit = Credit::new(10);
        for (id, bytes) in [(1, 2), (1, 2), (1, 2), (2, 3), (3, 1)] {
            credit.ask(RequestId(id), bytes);
        }
        assert_eq!(grants(&mut credit), [(1, 2), (2, 3), (3, 1), (1, 2), (1, 2)]);
        assert_eq!(credit.out(), 10);
    }

    #[test]
    fn a_large_ask_is_not_overtaken() {
        let mut credit = Credit::new(10);
        credit.ask(RequestId(1), 5);
        assert_eq!(grants(&mut credit), [(1, 5)]);
        credit.ask(RequestId(2), 10);
        credit.ask(RequestId(3), 1);
        assert_eq!(grants(&mut credit), []);
        credit.release(5);
        assert_eq!(grants(&mut credit), [(2, 10)]);
        credit.release(10);
        assert_eq!(grants(&mut credit), [(3, 1)]);
    }

    #[test]
    fn who_is_forgotten_makes_way() {
        let mut credit = Credit::new(10);
        credit.ask(RequestId(1), 10);
        assert_eq!(grants(&mut credit), [(1, 10)]);
        credit.ask(RequestId(2), 10);
        credit.ask(RequestId(3), 4);
        credit.release(6);
        credit.forget(RequestId(2));
        credit.forget(RequestId(9));
        assert_eq!(grants(&mut credit), [(3, 4)]);
        credit.check();
    }

    #[test]
    #[should_panic(expected = "given back")]
    fn more_than_was_granted_can_not_come_back() {
        Credit::new(10).release(1);
    }

    proptest! {
        /// A dumb model keeps every ask in one list; after everything was released often enough, all were granted, each
        /// conversation's in its order, and no one waited for more than one round of the others per own ask.
        #[test]
        fn asks_are_granted_in_turn_and_never_beyond_the_total(
            total in 8_u64..40,
            actions in prop::collection::vec((0_u8..8, 0_u64..5, 1_u64..9), 0..120),
        ) {
            let mut credit = Credit::new(total);
            let mut waiting: Vec<(u64, u64, u32)> = Vec::new();
            let mut out: Vec<u64> = Vec::new();
            for (action, id, bytes) in actions {
                match action {
                    0..4 if waiting.iter().filter(|ask| ask.0 == id).count() < PUT_BLOCKS_AHEAD as usize => {
                        credit.ask(RequestId(id), bytes);
                        waiting.push((id, bytes, 0));
                    }
                    0..4 => {}
                    4..7 => {
                        if !out.is_empty() {
                            credit.release(out.remove(id as usize % out.len()));
                        }
                    }
                    _ => {
                        credit.forget(RequestId(id));
                        waiting.retain(|ask| ask.0 != id);
                    }
                }
                drain(&mut credit, &mut waiting, &mut out);
                prop_assert!(out.iter().sum::<u64>() <= total);
                prop_assert_eq!(out.iter().sum::<u64>(), credit.out());
            }
            while !waiting.is_empty() {
                for bytes in out.drain(..) {
                    credit.release(bytes);
                }
                let before = waiting.len();
                drain(&mut credit, &mut waiting, &mut out);
                prop_assert!(waiting.len() < before, "an empty pool grants something");
            }
        }
    }

    fn drain(credit: &mut Credit, waiting: &mut Vec<(u64, u64, u32)>, out: &mut Vec<u64>) {
        while let Some((id, bytes)) = credit.grant() {
            let oldest = waiting.iter().position(|ask| ask.0 == id.0).expect("granted as asked");
            let (_, asked, overtaken) = waiting.remove(oldest);
            assert_eq!(asked, bytes, "the oldest ask of a conversation first");
            assert!(overtaken <= 4 * PUT_BLOCKS_AHEAD, "four others took more than their turns");
            out.push(bytes);
            for ask in waiting.iter_mut().filter(|ask| ask.0 != id.0) {
                ask.2 += 1;
            }
            credit.check();
        }
    }
}
