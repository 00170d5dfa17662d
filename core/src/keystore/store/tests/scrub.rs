//! The scrub: every chunk is read once in a period, however often the store is started anew.

use alloc::collections::BTreeSet;

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::disk::Slot;
use crate::disk::scrub::ScrubPosition;
use crate::disk::testing::fixed_cases;
use crate::keystore::index::Trust;
use crate::keystore::recover::tests::open;
use crate::limits::{SCRUB_BYTES_PER_SECOND_MAX, SCRUB_UNSAVED_MAX};

const PERIOD: Duration = RawConfig::STANDARD.scrub_period;

impl Desk {
    /// Goes on to the next deadline and does what is due, to the end. Returns whether there was one.
    fn next_deadline(&mut self) -> bool {
        self.settle();
        let Some(at) = self.store.deadline() else { return false };
        assert!(at > self.now.mono, "what is due is done");
        self.now.mono = at;
        self.settle();
        true
    }

    /// Lets time pass until a round of the scrub is over; returns what was told of it.
    fn round(&mut self) -> (u64, u64) {
        for _ in 0..10_000 {
            let told = self.notes.iter().find_map(|note| match note {
                Note::Scrubbed { chunks, bad } => Some((*chunks, *bad)),
                _ => None,
            });
            if let Some(told) = told {
                self.notes.clear();
                return told;
            }
            assert!(self.next_deadline(), "a scrub never ends for good");
        }
        panic!("a round does not end");
    }

    fn position(&self) -> Option<ScrubPosition> {
        ScrubPosition::decode(&boot(1).store, self.disk.bytes(File::Slot(Slot::Scrub))?)
    }
}

#[test]
fn a_round_reads_every_chunk_and_takes_the_period() {
    let mut desk = Desk::reopened(LARGE, 1..21);
    assert!((1..21).all(|number| desk.located(number).trust == Trust::Unchecked));
    let before = desk.now.mono;
    assert_eq!(desk.round(), (20, 0));
    assert!((1..21).all(|number| desk.located(number).trust == Trust::Proven));
    let took = desk.now.mono - before;
    assert!(took >= PERIOD && took <= PERIOD + PERIOD / 10, "{took:?}");
    assert_eq!(desk.position(), Some(ScrubPosition { rounds: 1, after: None }));
    assert_eq!(desk.round(), (20, 0));
    assert_eq!(desk.position(), Some(ScrubPosition { rounds: 2, after: None }));
}

#[test]
fn an_empty_store_has_nothing_to_scrub_and_one_that_fills_begins() {
    let mut desk = Desk::empty(LARGE);
    desk.settle();
    assert_eq!(desk.store.deadline(), None);
    desk.put(1, 1);
    desk.settle();
    assert!(desk.store.deadline().is_some());
    assert_eq!(desk.round(), (1, 0));
}

#[test]
fn what_is_found_bad_is_told_and_a_put_stores_it_anew() {
    let mut desk = Desk::reopened(LARGE, 1..9);
    *desk.body(3) ^= 1;
    *desk.body(5) ^= 1;
    let places = [3, 5].map(|number| (chunk(number).id(), desk.located(number).place));
    while desk.notes.iter().filter(|note| matches!(note, Note::ChunkMismatch { .. })).count() < 2 {
        assert!(desk.next_deadline());
    }
    for (chunk, place) in places {
        assert!(desk.notes.contains(&Note::ChunkMismatch { chunk, place }));
    }
    assert_eq!(desk.round(), (8, 2));
    assert_eq!(desk.store.index().damaged(), 2);
    desk.touch(1, 3, 0);
    assert_eq!(desk.stored.pop(), Some((1, Err(StoreError::Missing))), "whoever relies on it must send it");
    desk.put(2, 3);
    desk.settle();
    assert!(desk.stored.pop().is_some_and(|(_, result)| result.is_ok_and(|stored| stored.fresh)));
    assert_eq!(desk.store.index().damaged(), 1);
    assert_eq!(desk.round(), (8, 1));
}

#[test]
fn a_scrub_never_reads_faster_than_its_bound() {
    let mut desk = Desk::empty(1 << 40);
    desk.store.scrub.period = Duration::from_millis(1);
    (1..40).for_each(|number| desk.put(number, number));
    desk.settle();
    let before = desk.now.mono;
    assert_eq!(desk.round(), (39, 0));
    let bytes = u128::from(desk.store.usage().chunk_bytes);
    let took = (desk.now.mono - before).as_nanos();
    let fastest = bytes * 1_000_000_000 / u128::from(SCRUB_BYTES_PER_SECOND_MAX);
    assert!(took >= fastest - 1_000 && took > 1_000_000, "{took} of {fastest}");
}

#[test]
fn a_long_round_is_saved_on_its_way() {
    let mut desk = Desk::empty(1 << 40);
    desk.store.scrub.unsaved = SCRUB_UNSAVED_MAX - 2;
    (1..9).for_each(|number| desk.put(number, number));
    for _ in 0..2 {
        assert!(desk.next_deadline());
    }
    assert_eq!(desk.position(), None);
    desk.next_deadline();
    let position = desk.position().expect("two chunks were read");
    assert_eq!((position.rounds, position.after.is_some()), (0, true));
}

#[test]
fn a_position_that_can_not_be_saved_stops_nothing() {
    for fail_first in [true, false] {
        let mut desk = Desk::reopened(LARGE, 1..4);
        loop {
            desk.flush();
            if matches!(desk.others.front(), Some((_, DiskRequest::Append { .. }))) {
                break;
            }
            let progress = desk.complete_read() || desk.complete_other() || desk.complete_cache() || desk.wake();
            if !progress {
                desk.now.mono = desk.store.deadline().expect("a scrub goes on");
            }
        }
        if !fail_first {
            desk.complete_other();
        }
        desk.fail_other(IO);
        assert_eq!(desk.position(), None);
        desk.notes.clear();
        assert_eq!(desk.round(), (3, 0));
        assert_eq!((desk.position(), desk.store.failed()), (None, None));
        desk.step(Event::Close);
        desk.settle();
        assert_eq!(desk.closed, 1);
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    /// However often the store is closed and opened again, no chunk is read twice before the others were.
    #[test]
    fn a_round_goes_on_after_a_restart(
        stops in proptest::collection::vec(1..5usize, 0..5),
        harmed: Option<u8>,
    ) {
        let mut desk = Desk::reopened(LARGE, 1..21);
        let mut read: BTreeSet<ChunkId> = BTreeSet::new();
        let mut boots = 2;
        for stop in stops {
            let before = read.len();
            for _ in 0..stop {
                desk.next_deadline();
            }
            for (id, located) in desk.store.index().walk(None) {
                if located.trust == Trust::Proven {
                    prop_assert!(read.insert(id), "an earlier boot has read it");
                }
            }
            desk.step(Event::Close);
            desk.settle();
            prop_assert_eq!(desk.closed, 1);
            boots += 1;
            let moved = read.len() > before;
            prop_assert!(!moved || desk.position().is_some(), "what was read is remembered");
            let disk = desk.disk;
            desk = open(disk, LARGE, boots);
        }
        // A position that rots means the beginning.
        if let (Some(at), true) = (harmed, desk.position().is_some()) {
            let bytes = desk.disk.bytes_mut(File::Slot(Slot::Scrub));
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= 1;
            prop_assert_eq!(desk.round(), (20, 0));
        } else {
            prop_assert_eq!(desk.round(), (20 - u64::try_from(read.len()).unwrap(), 0));
        }
    }
}
