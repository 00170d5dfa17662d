//! The segment being written: what it begins with, which entries it has, and how much of it is not only durable but
//! known to be so by a later record, which is when older segments may go.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::codec::{State, encode_rely, encode_state};
use crate::disk::record::Kind;
use crate::disk::writer::Writer;

/// The segment being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) writer: Writer,
    /// The last record of those that every segment begins with.
    preamble: u64,
    /// The largest index of an entry in it; 0 for none.
    last_index: u64,
    /// Records that tell where the log begins, and where.
    bases: VecDeque<(u64, u64)>,
    /// Records that know more of the segment durable than those before them, and how much.
    witnesses: VecDeque<(u64, u64)>,
    /// The last record that a durable one knows durable: if it is broken, that is damage and never taken for a tail.
    proven: u64,
    /// Where the log begins at least, by proven records.
    proven_base: u64,
}

impl Segment {
    /// A new segment. It begins with what the older ones come to.
    pub(super) fn begin(writer: Writer, state: &State, floors: &BTreeMap<u64, u64>) -> Self {
        let mut segment = Self::at(writer);
        segment.record(Kind::State, &encode_state(state));
        segment.based(state.base.position.index);
        if !floors.is_empty() {
            let floors: Vec<(u64, u64)> = floors.iter().map(|(volume, position)| (*volume, *position)).collect();
            segment.record(Kind::Rely, &encode_rely(&floors));
        }
        segment.preamble = segment.writer.last_position();
        segment
    }

    /// A segment that was published as a whole, and knows itself durable. It has entries up to `last_index` at most.
    pub(super) fn published(writer: Writer, base: u64, last_index: u64) -> Self {
        let position = writer.durable_through();
        Self { preamble: position, last_index, proven: position, proven_base: base, ..Self::at(writer) }
    }

    const fn at(writer: Writer) -> Self {
        Self {
            writer,
            preamble: 0,
            last_index: 0,
            bases: VecDeque::new(),
            witnesses: VecDeque::new(),
            proven: 0,
            proven_base: 0,
        }
    }

    /// Takes a record.
    pub(super) fn record(&mut self, kind: Kind, body: &[u8]) {
        let known = self.writer.durable_through();
        let position = self.writer.record(kind, body).position;
        if known > self.witnesses.back().map_or(self.proven, |(_, known)| *known) {
            self.witnesses.push_back((position, known));
        }
    }

    /// The last record says where the log begins.
    pub(super) fn based(&mut self, index: u64) {
        self.bases.push_back((self.writer.last_position(), index));
    }

    /// The last record is an entry.
    pub(super) fn has_entry(&mut self, index: u64) {
        self.last_index = self.last_index.max(index);
    }

    pub(super) const fn last_index(&self) -> u64 {
        self.last_index
    }

    /// Whether it has more than it began with.
    pub(super) const fn is_begun(&self) -> bool {
        self.writer.last_position() > self.preamble
    }

    /// More may be durable.
    pub(super) fn prove(&mut self) {
        let durable = self.writer.durable_through();
        while let Some((_, known)) = self.witnesses.pop_front_if(|(position, _)| *position <= durable) {
            self.proven = known;
        }
        while let Some((_, index)) = self.bases.pop_front_if(|(position, _)| *position <= self.proven) {
            self.proven_base = index;
        }
    }

    /// Where the log begins by proven records, once all that the segment begins with is proven.
    pub(super) fn proven_base(&self) -> Option<u64> {
        (self.proven >= self.preamble).then_some(self.proven_base)
    }
}
