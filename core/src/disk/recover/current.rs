//! One file that a start is reading: what was found, and how much of it is known durable.

use alloc::collections::VecDeque;

use super::{Ending, Standing, Step};
use crate::disk::checkpoint::{Reader, Subject};
use crate::disk::damage::{Damage, DamageKind};
use crate::disk::record::{FileKind, Kind, Predecessor, Stamp};
use crate::disk::scan::{Gap, Record, Scanner};
use crate::limits::DAMAGES_MAX;
use crate::note::Note;

#[derive(Debug)]
pub(super) enum Held {
    Record(Record),
    Gap(Gap),
}

/// One file that is being read.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) scanner: Scanner,
    /// What is read instead of the file.
    pub(super) checkpoint: Option<Reader>,
    /// Whether that told everything.
    pub(super) listed: bool,
    /// Found but not known durable, in order.
    pub(super) held: VecDeque<Held>,
    /// The largest position known durable.
    pub(super) durable_through: u64,
    /// The last position found, and the byte after it.
    pub(super) last: (u64, u64),
    /// The last position released, and the byte after it.
    pub(super) released: (u64, u64),
    pub(super) footer: bool,
    /// Where a later boot said that this file ends.
    pub(super) end: Option<Predecessor>,
    pub(super) scanned: bool,
    /// Whether a gap reaches from what was durable into the tail, so that nothing behind it counts.
    pub(super) torn: bool,
    /// Whether something is lost.
    pub(super) damaged: bool,
    /// Whether its own head is whole.
    pub(super) has_head: bool,
}

impl Current {
    pub(super) fn new(stamp: Stamp, len: u64, floor: Option<&u64>) -> Self {
        Self {
            number: stamp.number(),
            len,
            scanner: Scanner::new(stamp, len),
            checkpoint: None,
            listed: false,
            held: VecDeque::new(),
            durable_through: floor.copied().unwrap_or(0),
            last: (0, 0),
            released: (0, 0),
            footer: false,
            end: None,
            scanned: false,
            torn: false,
            damaged: false,
            has_head: false,
        }
    }

    /// Its checkpoint told everything that a scan would find.
    pub(super) const fn all_listed(&mut self, subject: Subject) {
        self.released = (subject.position, subject.offset);
        // Only a file that has one gets a checkpoint.
        self.footer = true;
        self.listed = true;
        self.scanned = true;
    }

    /// Whether it was scanned, has its footer, and nothing of it is lost or may be lost.
    pub(super) fn is_whole(&self) -> bool {
        let is_footer = |held: &Held| match held {
            Held::Record(record) => record.header.kind == Kind::Footer,
            Held::Gap(_) => false,
        };
        self.footer && !self.listed && !self.damaged && self.held.iter().all(is_footer)
    }

    pub(super) fn take(&mut self, record: Record) {
        let header = record.header;
        assert!(header.position > self.last.0, "a scan goes forward");
        self.last = (header.position, record.end());
        self.durable_through = self.durable_through.max(header.durable_through);
        // A footer proves all before it durable, but not itself: the writer may have been killed before it was synced.
        if header.kind == Kind::Footer {
            self.footer = true;
            self.durable_through = self.durable_through.max(header.position - 1);
        }
        self.held.push_back(Held::Record(record));
    }

    pub(super) fn scan_ended(&mut self) {
        self.scanned = true;
        // What can't be looked at at all may have been durable, so it is no tail.
        if self.scanner.refused().is_some() {
            self.durable_through = self.durable_through.max(self.last.0 + 1);
        }
        if let Some(end) = self.end {
            self.durable_through = self.durable_through.max(end.position);
        }
    }

    /// The first thing held that is known durable: a record that counts, or a gap that is damage.
    pub(super) fn release(&mut self, ending: &mut Ending, notes: &mut VecDeque<Note>, kind: FileKind) -> Option<Step> {
        while let Some(front) = self.held.front() {
            let first = match front {
                Held::Record(record) => record.header.position,
                Held::Gap(gap) => gap.first,
            };
            // A later boot's word on where the file ends comes first: what lies beyond was copied or cut by it.
            let beyond = self.end.is_some_and(|end| first > end.position);
            if beyond || first > self.durable_through {
                return None;
            }
            // How much of a gap is damage is known once nothing can prove more of it durable.
            let whole = match front {
                Held::Record(_) => true,
                Held::Gap(gap) => gap.last.is_some_and(|last| last <= self.durable_through),
            };
            if !whole && !self.scanned {
                return None;
            }
            match self.held.pop_front().expect("just looked at") {
                Held::Record(record) => {
                    self.released = (first, record.end());
                    if matters(&record) {
                        return Some(Step::Record { number: self.number, record, standing: Standing::Durable });
                    }
                }
                Held::Gap(gap) => {
                    let last = gap.last.unwrap_or(self.durable_through).min(self.durable_through);
                    self.torn = !whole;
                    self.released = (last, gap.offset);
                    if last >= gap.first {
                        let file = kind.file(self.number);
                        self.damaged = true;
                        report(ending, notes, Damage { file, offset: gap.offset, first, last, kind: gap.kind });
                    }
                }
            }
        }
        None
    }

    /// The file ends in order, but before its last durable record.
    pub(super) fn report_truncation(&mut self, ending: &mut Ending, notes: &mut VecDeque<Note>, kind: FileKind) {
        let (position, offset) = self.released;
        if self.held.is_empty() && position < self.durable_through {
            let file = kind.file(self.number);
            let damage =
                Damage { file, offset, first: position + 1, last: self.durable_through, kind: DamageKind::Truncated };
            self.released = (self.durable_through, offset);
            self.damaged = true;
            report(ending, notes, damage);
        }
    }
}

/// Heads, footers and empty records have done their work once they are scanned.
pub(super) const fn matters(record: &Record) -> bool {
    match record.header.kind {
        Kind::Chunk | Kind::Entry | Kind::MarkedChunk | Kind::Mark | Kind::Drop => true,
        Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => true,
        Kind::Head | Kind::Footer | Kind::Empty => false,
    }
}

pub(super) fn report(ending: &mut Ending, notes: &mut VecDeque<Note>, damage: Damage) {
    notes.push_back(Note::Damaged(damage));
    if ending.damages.len() < DAMAGES_MAX {
        ending.damages.push(damage);
    } else {
        ending.damages_omitted += 1;
    }
}
