//! Snapshots of the ledger on this disk: making them, fetching them from other members, and giving parts of them away.
//!
//! The two newest stay. The log is kept from the older one on, so that rot of the newer costs time and nothing else.

mod audit;
mod fetch;
pub mod file;
mod make;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use self::audit::Audit;
use self::fetch::Fetching;
use self::file::End;
use self::make::{Making, Next};
use super::event::Piece;
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::id::NodeId;
use crate::ledger::state::State;
use crate::limits::{SNAPSHOT_READS_MAX, STEP_BYTES_MAX};
use crate::note::Note;
use crate::raft::entry::Position;
use crate::raft::membership::Membership;
use crate::raft::snapshot::Snapshot;
use crate::replica::note::{Note as MemberNote, Reason};
use crate::time::{Instant, Now};

/// Snapshots that stay: the newest, and one to fall back to.
const KEPT: usize = 2;

/// The staged file of a snapshot that is made here. No file that goes on where another one ended gets so far.
const MADE_STAGE: u64 = u64::MAX;

/// The staged file of a snapshot that is fetched.
const FETCHED_STAGE: u64 = u64::MAX - 1;

/// Which request a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Op {
    /// One of making a snapshot.
    Make,
    /// One of fetching one.
    Fetch,
    /// A read for another member, in that start of it.
    Give { to: NodeId, asker: u64, piece: Piece },
    /// A read of one that another member has found damaged.
    Audit,
    /// The removal of an old one.
    Remove,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Effect {
    Disk {
        op: Op,
        request: DiskRequest,
    },
    /// A snapshot of this member's own is durable; the log up to `through` may go.
    Made {
        snapshot: Snapshot,
        through: u64,
    },
    /// One of another member is durable here, and this is its ledger.
    Fetched {
        snapshot: Snapshot,
        state: Box<State>,
    },
    Ask {
        to: NodeId,
        piece: Piece,
    },
    Part {
        to: NodeId,
        asker: u64,
        piece: Piece,
        bytes: Bytes,
    },
    /// What came of this member is not what it should be.
    Unfit {
        to: NodeId,
        piece: Piece,
    },
    /// One that was durable is damaged: another one is to be made.
    Lost,
    Note(Note),
}

/// The snapshot that is being made.
#[derive(Debug)]
struct Made {
    making: Making,
    index: u64,
    /// Whether a request is outstanding.
    waits: bool,
    /// What is being published.
    whole: Option<Snapshot>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Snapshots {
    store: [u8; 16],
    /// Those that are durable, by the index of their last entry.
    held: BTreeMap<u64, End>,
    /// Files that are of no use, to be removed with the next old one.
    useless: Vec<u64>,
    made: Option<Made>,
    /// Whether others need the space that is left.
    tight: bool,
    fetching: Option<Fetching>,
    audit: Option<Audit>,
    /// Reads for other members.
    giving: usize,
    /// When the next step of what is being made is due.
    due: Option<Instant>,
    /// Whether this turn may take that step.
    heard: bool,
    /// Steps so far.
    steps: u64,
}

impl Snapshots {
    /// What a start has found: more than two if a crash undid a removal.
    pub(super) fn new(store: [u8; 16], mut held: BTreeMap<u64, End>, mut useless: Vec<u64>) -> Self {
        while held.len() > KEPT {
            useless.extend(held.pop_first().map(|(index, _)| index));
        }
        let (made, fetching, audit) = (None, None, None);
        let (giving, due, heard, steps) = (0, None, false, 0);
        Self { store, held, useless, made, tight: false, fetching, audit, giving, due, heard, steps }
    }

    /// The index of the last entry in the newest.
    pub(super) fn newest(&self) -> u64 {
        self.held.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Whether this one is durable here, as far as it is known.
    pub(super) fn holds(&self, snapshot: &Snapshot) -> bool {
        self.held.get(&snapshot.last.index).is_some_and(|end| end.digest == snapshot.digest)
    }

    /// Whether anything is being made or fetched.
    pub(super) const fn is_busy(&self) -> bool {
        self.made.is_some() || self.fetching.is_some()
    }

    /// Whether others need the space that is left.
    pub(super) const fn is_tight(&self) -> bool {
        self.tight
    }

    /// Others need the space that is left, or not any more. What is being made is given up then, unless all of it is
    /// written.
    pub(super) fn set_tight(&mut self, tight: bool, out: &mut Vec<Effect>) {
        self.tight = tight;
        if tight && self.made.as_ref().is_some_and(|made| !made.waits) {
            self.give_up_making(out);
        }
    }

    fn give_up_making(&mut self, out: &mut Vec<Effect>) {
        (self.made, self.due) = (None, None);
        out.push(Effect::Disk { op: Op::Remove, request: DiskRequest::Remove { file: File::Stage(MADE_STAGE) } });
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Makes one of the ledger as it is, which has applied everything up to `last`.
    pub(super) fn make(&mut self, state: State, last: Position, membership: Arc<Membership>, out: &mut Vec<Effect>) {
        assert!(self.made.is_none(), "one snapshot at a time");
        let making = Making::new(state, last, membership);
        self.made = Some(Made { making, index: last.index, waits: true, whole: None });
        // Perhaps an earlier one failed on its way.
        out.push(Effect::Disk { op: Op::Make, request: DiskRequest::Remove { file: File::Stage(MADE_STAGE) } });
    }

    /// A turn begins.
    pub(super) const fn hear(&mut self) {
        self.heard = true;
    }

    /// Steps of making snapshots in this start.
    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// One step of what is being made, if it waits for nothing.
    pub(super) fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !core::mem::take(&mut self.heard) {
            return;
        }
        self.due = None;
        let Some(made) = self.made.as_mut().filter(|made| !made.waits) else { return };
        self.steps += 1;
        let request = match made.making.advance(&self.store) {
            Next::Working => {
                self.due = Some(now.mono);
                return;
            }
            Next::Append { offset, bytes } => {
                DiskRequest::Append { file: File::Stage(MADE_STAGE), offset, parts: [Bytes::from(bytes)].into() }
            }
            Next::Whole(snapshot) => {
                made.whole = Some(snapshot);
                DiskRequest::Publish { stage: MADE_STAGE, to: File::Snapshot(made.index) }
            }
        };
        made.waits = true;
        out.push(Effect::Disk { op: Op::Make, request });
    }

    /// A request has ended.
    pub(super) fn done(&mut self, now: Now, op: Op, result: DiskResult, out: &mut Vec<Effect>) {
        match op {
            Op::Make => self.made_more(now, &result, out),
            Op::Fetch => self.fetched_more(&result, out),
            Op::Give { to, asker, piece } => {
                self.giving -= 1;
                match result {
                    Ok(DiskReply::Read(bytes)) => out.push(Effect::Part { to, asker, piece, bytes }),
                    Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
                    // It may have been removed; the asker is offered another one.
                    Err(_) => self.lose(piece.index, &piece.digest, out),
                }
            }
            Op::Audit => self.audited(&result, out),
            // One that can't be removed now is with the next.
            Op::Remove => {}
        }
    }

    fn made_more(&mut self, now: Now, result: &DiskResult, out: &mut Vec<Effect>) {
        let made = self.made.as_mut().expect("a snapshot is being made");
        made.waits = false;
        if let Err(error) = result {
            let index = made.index;
            out.push(Effect::Note(Note::SnapshotFailed { index, error: *error }));
            return self.give_up_making(out);
        }
        match made.whole.take() {
            None if self.tight => self.give_up_making(out),
            None => self.due = Some(now.mono),
            Some(snapshot) => {
                self.made = None;
                out.push(Effect::Note(Note::SnapshotMade { index: snapshot.last.index, bytes: snapshot.bytes }));
                self.keep(&snapshot, out);
                // Newer ones may have been fetched meanwhile, and then it is not even kept.
                if self.held.contains_key(&snapshot.last.index) {
                    let older = self.held.keys().rev().nth(1).copied();
                    out.push(Effect::Made { through: older.unwrap_or(0), snapshot });
                }
            }
        }
    }

    /// A snapshot is durable: those before the last two may go.
    fn keep(&mut self, snapshot: &Snapshot, out: &mut Vec<Effect>) {
        let Snapshot { last, digest, bytes, .. } = *snapshot;
        self.useless.retain(|index| *index != last.index);
        self.held.insert(last.index, End { last, bytes, digest });
        while self.held.len() > KEPT {
            self.useless.extend(self.held.pop_first().map(|(index, _)| index));
        }
        for index in core::mem::take(&mut self.useless) {
            let request = DiskRequest::Remove { file: File::Snapshot(index) };
            out.push(Effect::Disk { op: Op::Remove, request });
        }
    }

    /// Another member wants a part of a snapshot.
    pub(super) fn asked(&mut self, from: NodeId, asker: u64, piece: Piece, out: &mut Vec<Effect>) {
        let held = self.held.get(&piece.index).filter(|end| end.digest == piece.digest);
        let left = held.map_or(0, |end| end.bytes.saturating_sub(piece.offset));
        if left == 0 {
            return out.push(unasked(from));
        }
        if self.giving == SNAPSHOT_READS_MAX {
            return;
        }
        self.giving += 1;
        let len = u32::try_from(left.min(STEP_BYTES_MAX as u64)).expect("a step is small");
        let (file, offset) = (File::Snapshot(piece.index), piece.offset);
        let request = DiskRequest::Read { file, offset, len, verify: Verify::None };
        out.push(Effect::Disk { op: Op::Give { to: from, asker, piece }, request });
    }

    pub(super) fn check(&self) {
        assert!(self.held.len() <= KEPT, "old snapshots go");
        assert!(self.giving <= SNAPSHOT_READS_MAX, "reads for others are bounded");
    }
}

/// A wish for what is not there, or a part that was not asked for.
const fn unasked(from: NodeId) -> Effect {
    Effect::Note(Note::Member(MemberNote::Rejected { from, reason: Reason::Unasked }))
}

fn failed(index: u64, error: DiskError) -> Effect {
    Effect::Note(Note::SnapshotFailed { index, error })
}
