//! Collecting: dropping what a sweep did not find in use (rule C5).
//!
//! The walk over the index goes in slices, and so does the dropping. A chunk is judged when its drop is appended, by the
//! mark it has at that moment: whoever puts or touches it before has raised its mark, whoever puts it later finds nothing
//! and writes it anew, with a larger sequence than the drop's. So a drop never meets a chunk that somebody relies on.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use super::{Effect, Pending, Store, What};
use crate::disk::record::volume::DropRecord;
use crate::disk::record::{CHUNK_PREFIX_LEN, DROP_PREFIX_LEN, HEADER_LEN};
use crate::disk::writer::Written;
use crate::id::ChunkId;
use crate::keystore::filter::Filter;
use crate::keystore::index::DropPlace;
use crate::keystore::{Collected, Place, StoreError};
use crate::limits::{COLLECT_CANDIDATES_MAX, COLLECT_DROPS_PENDING_MAX, DROP_IDS_MAX, EPOCH_MAX, STEP_ITEMS_MAX};
use crate::time::Instant;

/// The bucket of the chunks that may be in several volumes.
const ANY_VOLUME: u64 = 0;

/// A collect under way.
#[derive(Debug)]
pub(super) struct Collect {
    filter: Arc<Filter>,
    /// The last chunk that the walk has looked at.
    cursor: Option<ChunkId>,
    walked: bool,
    /// Chunks that may go, by the volume they are in, so that the word that they are gone is needed no longer than that
    /// volume is there.
    candidates: BTreeMap<u64, Vec<ChunkId>>,
    candidate_count: usize,
    /// The volume whose chunks were dropped last: volumes take turns, so that each gathers many.
    last: u64,
    /// Drop records that are not durable.
    drops_pending: usize,
    collected: Collected,
    /// When the next slice is due; `None` while it waits for the disk.
    due: Option<Instant>,
}

impl Collect {
    /// Takes the chunks that are dropped next: some of one volume.
    fn take_candidates(&mut self) -> (u64, Vec<ChunkId>) {
        let next = self.candidates.range((Bound::Excluded(self.last), Bound::Unbounded)).next();
        let volume = *next.or_else(|| self.candidates.first_key_value()).expect("there are candidates").0;
        let all = self.candidates.get_mut(&volume).expect("just found");
        let taken = all.split_off(all.len().saturating_sub(DROP_IDS_MAX));
        if all.is_empty() {
            self.candidates.remove(&volume);
        }
        self.candidate_count -= taken.len();
        self.last = volume;
        (volume, taken)
    }

    fn add_candidate(&mut self, volume: u64, chunk: ChunkId) {
        self.candidates.entry(volume).or_default().push(chunk);
        self.candidate_count += 1;
    }

    /// Whether the walk goes on, or pauses until some candidates are dropped.
    const fn walks(&self) -> bool {
        !self.walked && self.candidate_count < COLLECT_CANDIDATES_MAX
    }
}

impl Store {
    pub(super) fn collect(&mut self, epoch: u64, filter: Arc<Filter>, out: &mut Vec<Effect>) {
        assert!(filter.epoch() == epoch && (1..=EPOCH_MAX).contains(&epoch), "a filter is of the sweep it is used for");
        let refusal = match (self.closing, self.store_error(), &self.collecting) {
            (true, ..) => Some(StoreError::Closing),
            (false, Some(error), _) => Some(error),
            (false, None, Some(_)) => Some(StoreError::Busy),
            (false, None, None) => None,
        };
        if let Some(error) = refusal {
            return out.push(Effect::Collected { epoch, result: Err(error) });
        }
        self.collecting = Some(Collect {
            filter,
            cursor: None,
            walked: false,
            candidates: BTreeMap::new(),
            candidate_count: 0,
            last: ANY_VOLUME,
            drops_pending: 0,
            collected: Collected::default(),
            due: None,
        });
    }

    /// One slice, if one is due.
    pub(super) fn collect_slice(&mut self, out: &mut Vec<Effect>) {
        let Some(collect) = &mut self.collecting else { return };
        if collect.due.take().is_none() {
            return;
        }
        self.slices += 1;
        if collect.walks() { self.walk_slice() } else { self.drop_slice(out) }
    }

    /// Looks for chunks that may go.
    fn walk_slice(&mut self) {
        let collect = self.collecting.as_mut().expect("a collect is under way");
        let epoch = collect.filter.epoch();
        let mut looked = 0;
        for (chunk, located) in self.index.walk(collect.cursor).take(STEP_ITEMS_MAX) {
            looked += 1;
            collect.cursor = Some(chunk);
            if located.mark < epoch && !collect.filter.contains(&chunk) {
                let stale = located.stale || self.compaction.may_have_copies();
                let volume = if stale { ANY_VOLUME } else { located.place.volume };
                collect.add_candidate(volume, chunk);
            }
        }
        collect.walked = looked < STEP_ITEMS_MAX;
    }

    /// Drops some of what may go, if it still may.
    fn drop_slice(&mut self, out: &mut Vec<Effect>) {
        if !self.ensure_volume(out) {
            return;
        }
        let collect = self.collecting.as_mut().expect("a collect is under way");
        let epoch = collect.filter.epoch();
        let (volume, candidates) = collect.take_candidates();
        let mut chunks = Vec::with_capacity(candidates.len());
        for chunk in candidates {
            let Some(located) = self.index.get(&chunk) else { continue };
            let on_its_way = self.recent.get(&chunk).is_some_and(|recent| recent.copy.is_some());
            if located.mark >= epoch || on_its_way {
                continue;
            }
            let stale = located.stale || self.compaction.may_have_copies();
            if volume == ANY_VOLUME || (located.place.volume == volume && !stale) {
                chunks.push(chunk);
            } else {
                collect.add_candidate(ANY_VOLUME, chunk);
            }
        }
        if !chunks.is_empty() {
            self.append_drop(epoch, volume, chunks);
        }
    }

    fn append_drop(&mut self, epoch: u64, volume: u64, mut chunks: Vec<ChunkId>) {
        chunks.sort_unstable();
        let sequence = self.take_sequence();
        let writer = self.writer.as_mut().expect("a volume is open");
        let number = writer.number();
        let (from, through) = match volume {
            ANY_VOLUME => (self.index.first_volume().unwrap_or(number), number),
            volume => (volume, volume),
        };
        let dropped = DropRecord { epoch, from, through, chunks };
        let Written { position, offset } = writer.dropped(sequence, &dropped);
        let collect = self.collecting.as_mut().expect("a collect is under way");
        for chunk in &dropped.chunks {
            let located = self.index.remove(chunk).expect("just looked at");
            collect.collected.chunks += 1;
            collect.collected.bytes += located.record_len();
        }
        collect.drops_pending += 1;
        let bytes = (HEADER_LEN + DROP_PREFIX_LEN + dropped.chunks.len() * CHUNK_PREFIX_LEN) as u64;
        self.index.enter_drop(sequence, DropPlace { volume: number, from, through, bytes });
        let place = Place { volume: number, offset, position };
        let pending = Pending { chunk: None, place, marked_at: None, what: What::Drop, waiting: Vec::new() };
        self.pending.insert(position, pending);
    }

    /// A drop record is durable.
    pub(super) fn drop_settled(&mut self) {
        // A collect that a close has ended hears no more of its drops.
        if let Some(collect) = &mut self.collecting {
            collect.drops_pending -= 1;
        }
    }

    /// Says when the next slice is due, and answers when all that may go is gone, durably.
    pub(super) fn collect_on(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let sealing = self.writer.as_ref().is_some_and(|writer| !writer.is_open() && !writer.is_sealed());
        let Some(collect) = &mut self.collecting else { return };
        let drops = collect.candidate_count > 0 && !sealing && collect.drops_pending < COLLECT_DROPS_PENDING_MAX;
        collect.due = (collect.walks() || drops).then_some(now);
        if collect.walked && collect.candidate_count == 0 && collect.drops_pending == 0 {
            let Collect { filter, collected, .. } = self.collecting.take().expect("just looked at");
            self.compaction.look_again(now);
            out.push(Effect::Collected { epoch: filter.epoch(), result: Ok(collected) });
        }
    }

    /// The collect under way ends without having dropped everything.
    pub(super) fn end_collect(&mut self, error: StoreError, out: &mut Vec<Effect>) {
        if let Some(collect) = self.collecting.take() {
            out.push(Effect::Collected { epoch: collect.filter.epoch(), result: Err(error) });
        }
    }

    pub(super) fn collect_deadline(&self) -> Option<Instant> {
        self.collecting.as_ref()?.due
    }

    pub(super) fn check_collect(&self) {
        let Some(collect) = &self.collecting else { return };
        let candidates: usize = collect.candidates.values().map(Vec::len).sum();
        assert_eq!(collect.candidate_count, candidates, "candidates are counted");
        assert!(candidates < COLLECT_CANDIDATES_MAX + STEP_ITEMS_MAX, "the walk pauses when there are many");
        assert!(collect.drops_pending <= COLLECT_DROPS_PENDING_MAX, "and so does the dropping");
        let drops = self.pending.values().filter(|pending| matches!(pending.what, What::Drop)).count();
        assert_eq!(collect.drops_pending, drops, "drops that wait are those of this collect");
        assert!(!self.closing && self.failed.is_none(), "a close or a failure ends a collect");
    }
}
