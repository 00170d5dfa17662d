//! What the records of all volumes say together, in whatever order they come.
//!
//! Compaction moves records into later files under the sequence they had, so the order of files says nothing. Of the
//! records of a chunk the largest sequence counts, and of copies with one sequence a durable one, that in the latest file. A
//! drop with a larger sequence than a chunk's record, or a mark's, undoes it; so drops are remembered until everything is
//! read. So are marks, since the chunk that they are about may come later, and a drop between the two as well. A mark that
//! is older than the chunk's record says nothing: whoever wrote that gave it a mark that is as large, or did not know it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::disk::record::volume::{DropRecord, MarkRecord};
use crate::disk::record::{HEADER_LEN, Kind, chunk_id, chunk_prefix_len};
use crate::disk::scan::Record;
use crate::disk::{DiskRequest, File, Verify};
use crate::id::ChunkId;
use crate::keystore::Place;
use crate::keystore::index::{DropPlace, Index, Located, Trust};
use crate::limits::HISTORY_BATCH_MAX;

/// A record that recovery found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) sequence: u64,
    pub(super) record_len: u64,
    /// Whether it may not be durable.
    pub(super) doubtful: bool,
    pub(super) what: What,
}

/// What it says.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A chunk of so many bytes is here, with this mark.
    Chunk { chunk: ChunkId, mark: u64, bytes: u32 },
    /// A chunk has a larger mark.
    Mark(MarkRecord),
    /// Chunks are gone.
    Drop(DropRecord),
}

impl Found {
    /// Reads a record of a volume; `None` if it says nothing of chunks.
    pub(super) fn read(volume: u64, record: &Record) -> Option<Self> {
        let header = record.header;
        let bytes = |marked| header.body_len - u32::try_from(chunk_prefix_len(marked)).expect("a prefix is small");
        let what = match header.kind {
            Kind::Chunk => What::Chunk { chunk: chunk_id(&record.covered)?, mark: 0, bytes: bytes(false) },
            Kind::MarkedChunk => {
                let MarkRecord { chunk, mark } = MarkRecord::decode(&record.covered)?;
                What::Chunk { chunk, mark, bytes: bytes(true) }
            }
            Kind::Mark => What::Mark(MarkRecord::decode(&record.covered)?),
            Kind::Drop => What::Drop(DropRecord::decode(&record.covered)?),
            Kind::Head | Kind::Footer | Kind::Empty | Kind::Entry => return None,
            Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => return None,
        };
        let place = Place { volume, offset: record.offset, position: header.position };
        Some(Self { place, sequence: header.sequence, record_len: header.record_len(), doubtful: false, what })
    }

    /// The request that reads and verifies the chunk; `None` if it is none.
    pub(super) fn read_request(&self) -> Option<DiskRequest> {
        let What::Chunk { chunk, mark, bytes } = self.what else { return None };
        Some(DiskRequest::Read {
            file: File::Volume(self.place.volume),
            offset: self.place.offset + (HEADER_LEN + chunk_prefix_len(mark > 0)) as u64,
            len: bytes,
            verify: Verify::Chunk(chunk),
        })
    }
}

/// A mark that a record gives to a chunk. Of copies of one record the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Raised {
    mark: u64,
    durable: bool,
    volume: u64,
}

/// Everything that was found.
#[derive(Debug)]
pub(super) struct History {
    /// The chunks, each with the mark of its own record.
    index: Index,
    /// Chunks to be entered into the index, at most [`HISTORY_BATCH_MAX`]. In ascending order that is several times as
    /// fast: what the index of a large store needs next is in the processor's cache then.
    batch: Vec<(ChunkId, Located)>,
    /// The newest drop of each chunk that has one.
    drops: BTreeMap<ChunkId, u64>,
    /// Marks by chunk and sequence.
    marks: BTreeMap<(ChunkId, u64), Raised>,
    next_sequence: u64,
}

impl History {
    /// Nothing found in volumes of these numbers and lengths.
    pub(super) fn new(volumes: &[(u64, u64)]) -> Self {
        let mut index = Index::new();
        for (number, len) in volumes {
            index.set_file_bytes(*number, *len);
        }
        Self { index, batch: Vec::new(), drops: BTreeMap::new(), marks: BTreeMap::new(), next_sequence: 1 }
    }

    /// Takes a record.
    pub(super) fn enter(&mut self, found: Found) {
        let Found { place, sequence, record_len, doubtful, what } = found;
        self.next_sequence = self.next_sequence.max(sequence + 1);
        match what {
            What::Chunk { chunk, mark, bytes } => {
                let (marked, raised_in, stale) = (mark > 0, None, false);
                let trust = if doubtful { Trust::Doubtful } else { Trust::Unchecked };
                self.batch.push((chunk, Located { place, sequence, bytes, marked, mark, raised_in, trust, stale }));
                if self.batch.len() == HISTORY_BATCH_MAX {
                    self.enter_batch();
                }
            }
            What::Mark(MarkRecord { chunk, mark }) => {
                self.mark(chunk, sequence, Raised { mark, durable: !doubtful, volume: place.volume });
            }
            What::Drop(DropRecord { from, through, chunks, .. }) => {
                chunks.into_iter().for_each(|chunk| self.dropped(chunk, sequence));
                if self.index.is_drop_needed(from, through, &[]) {
                    let dropped = DropPlace { volume: place.volume, from, through, bytes: record_len };
                    self.index.enter_drop(sequence, dropped);
                }
            }
        }
    }

    /// The index of all chunks, and the sequence of the next record.
    pub(super) fn into_index(mut self) -> (Index, u64) {
        self.enter_batch();
        let Self { mut index, mut marks, next_sequence, .. } = self;
        marks.retain(|(chunk, sequence), raised| {
            let says = |located: Located| located.sequence <= *sequence && located.mark < raised.mark;
            index.get(chunk).is_some_and(says)
        });
        for ((chunk, _), Raised { mark, durable, volume }) in marks {
            if !durable {
                index.doubt(&chunk);
            }
            if index.get(&chunk).is_some_and(|located| located.mark < mark) {
                index.set_mark(&chunk, mark, Some(volume));
            }
        }
        (index, next_sequence)
    }

    /// The order of records says nothing, so they may come in this one.
    fn enter_batch(&mut self) {
        let mut batch = core::mem::take(&mut self.batch);
        batch.sort_unstable_by_key(|(chunk, located)| (*chunk, located.sequence, located.place.volume));
        for (chunk, located) in batch.drain(..) {
            self.chunk(chunk, located);
        }
        self.batch = batch;
    }

    fn is_dropped(&self, chunk: &ChunkId, sequence: u64) -> bool {
        self.drops.get(chunk).is_some_and(|dropped| *dropped > sequence)
    }

    fn chunk(&mut self, chunk: ChunkId, found: Located) {
        if self.is_dropped(&chunk, found.sequence) {
            return;
        }
        let Some(known) = self.index.get(&chunk) else {
            self.index.insert(chunk, found);
            return;
        };
        let rank = |copy: &Located| (copy.sequence, copy.trust != Trust::Doubtful, copy.place.volume);
        let newer = rank(&found) >= rank(&known);
        let (winner, loser) = if newer { (found, known) } else { (known, found) };
        let stale = known.stale || winner.place.volume != loser.place.volume;
        self.index.insert(chunk, Located { stale, ..winner });
        if loser.mark > winner.mark {
            let durable = loser.trust != Trust::Doubtful;
            self.mark(chunk, loser.sequence, Raised { mark: loser.mark, durable, volume: loser.place.volume });
        }
    }

    fn mark(&mut self, chunk: ChunkId, sequence: u64, raised: Raised) {
        if self.is_dropped(&chunk, sequence) {
            return;
        }
        let known = self.marks.entry((chunk, sequence)).or_insert(raised);
        *known = raised.max(*known);
    }

    fn dropped(&mut self, chunk: ChunkId, sequence: u64) {
        let newest = self.drops.entry(chunk).or_insert(sequence);
        *newest = sequence.max(*newest);
        if self.index.get(&chunk).is_some_and(|located| located.sequence < sequence) {
            self.index.remove(&chunk);
        }
        while let Some(&key) = self.marks.range((chunk, 0)..(chunk, sequence)).next().map(|(key, _)| key) {
            self.marks.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
