//! A state as pieces of bytes, and back: how a node that is far behind gets the ledger.
//!
//! [`Stream`] walks a frozen state, [`Loader`] builds the same state from the pieces in order. Every step is bounded on
//! both sides, however large the ledger is. A loader believes nothing: it judges each entry when it comes, and at the
//! end compares what it has built with the counts and the two roots that the last piece has. One that reads what its own
//! node has written leaves out the roots, which are a hash for each node of the trees: see [`Loader::own`].
//!
//! One layout, little-endian, from the first byte of a piece to the last:
//!
//! ```text
//! "dpsG" | u8 version (1) | u8 kind | 2 zero | u64 number, dense from 0 | u32 entries | body by kind, to the end:
//! 1 head      u64 ledger time | u64 applied | u64 clean floor | u64 term | u64 index | membership, to the end
//! 2 ledger    entries x (u16 key length | u32 value length | key | value)
//! 3 sessions  the same
//! 4 end       u64 entries of the ledger | u64 of the sessions | u64 names | u64 contents | u64 tombstones |
//!             u128 live bytes | u128 tombstone bytes | 32-byte root | 32-byte root of the sessions
//! ```
//!
//! Kinds come in this order, one head and one end; keys and values are those of the trees, in the order of the keys.

mod load;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

pub use self::load::{Loader, SnapshotError};
use super::state::{Scanned, State};
use crate::crypto::hash::HASH_LEN;
use crate::limits::{SNAPSHOT_MEMBERSHIP_BYTES_MAX, SNAPSHOT_PIECE_BYTES_MAX, STEP_ITEMS_MAX};

const MAGIC: [u8; 4] = *b"dpsG";
const VERSION: u8 = 1;
const FRAME_LEN: usize = 20;
const HEAD_LEN: usize = 5 * 8;
const END_LEN: usize = 5 * 8 + 2 * 16 + 2 * HASH_LEN;
/// Bytes of an entry besides key and value.
const ENTRY_LEN: usize = 6;

const KIND_HEAD: u8 = 1;
const KIND_LEDGER: u8 = 2;
const KIND_SESSIONS: u8 = 3;
const KIND_END: u8 = 4;

/// Where a snapshot stands in the log it replaces. The ledger has no use for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Term of the last entry that is in the snapshot.
    pub term: u64,
    /// Its index; the state may have applied less, since not every entry of a log is a command.
    pub index: u64,
    /// Who took part then, as whoever keeps the log writes it: at most [`SNAPSHOT_MEMBERSHIP_BYTES_MAX`].
    pub membership: Vec<u8>,
}

/// What one step of a stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next piece, of at most [`SNAPSHOT_PIECE_BYTES_MAX`].
    Piece(Vec<u8>),
    /// There is more to do before the next piece.
    Working,
    /// There are no more pieces.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Entries { sessions: bool },
    Hashes,
    Over,
}

/// A cursor over a frozen state that gives its pieces.
#[derive(Clone, Debug)]
pub struct Stream {
    state: State,
    position: Position,
    stage: Stage,
    number: u64,
    /// The last key that was given.
    after: Vec<u8>,
}

impl Stream {
    /// A stream before its first piece.
    ///
    /// # Panics
    /// If the membership has more than [`SNAPSHOT_MEMBERSHIP_BYTES_MAX`].
    #[must_use]
    pub fn new(state: State, position: Position) -> Self {
        assert!(position.membership.len() <= SNAPSHOT_MEMBERSHIP_BYTES_MAX, "a group is small");
        Self { state, position, stage: Stage::Head, number: 0, after: Vec::new() }
    }

    /// One bounded step: one piece, or as many hashes as a step may compute.
    pub fn step(&mut self) -> Step {
        match self.stage {
            Stage::Head => {
                self.stage = Stage::Entries { sessions: false };
                let piece = self.head();
                self.give(piece)
            }
            Stage::Entries { sessions } => {
                let kind = if sessions { KIND_SESSIONS } else { KIND_LEDGER };
                let mut piece = frame(kind, self.number);
                let count = self.copy(sessions, &mut piece);
                if count == 0 {
                    self.after.clear();
                    self.stage = if sessions { Stage::Hashes } else { Stage::Entries { sessions: true } };
                    return Step::Working;
                }
                piece[16..FRAME_LEN].copy_from_slice(&count.to_le_bytes());
                self.give(piece)
            }
            Stage::Hashes => {
                if !self.state.fill_hashes(STEP_ITEMS_MAX) {
                    return Step::Working;
                }
                self.stage = Stage::Over;
                let mut piece = frame(KIND_END, self.number);
                end_of(&self.state, &mut piece);
                self.give(piece)
            }
            Stage::Over => Step::Over,
        }
    }

    fn give(&mut self, piece: Vec<u8>) -> Step {
        assert!(piece.len() <= SNAPSHOT_PIECE_BYTES_MAX, "a piece is bounded");
        self.number += 1;
        Step::Piece(piece)
    }

    fn head(&self) -> Vec<u8> {
        let mut piece = frame(KIND_HEAD, self.number);
        let Position { term, index, membership } = &self.position;
        let time = self.state.time().as_nanos();
        for number in [time, self.state.applied(), self.state.clean_floor(), *term, *index] {
            piece.extend_from_slice(&number.to_le_bytes());
        }
        piece.extend_from_slice(membership);
        piece
    }

    /// Copies the entries that come next and fit a step, and says how many.
    fn copy(&mut self, sessions: bool, piece: &mut Vec<u8>) -> u32 {
        let mut scan = self.state.scan_all(sessions, (!self.after.is_empty()).then_some(&*self.after));
        let mut count = 0;
        while (count as usize) < STEP_ITEMS_MAX {
            let start = piece.len();
            piece.extend_from_slice(&[0; ENTRY_LEN]);
            let Some(Scanned { key_len }) = scan.copy_next(piece) else {
                piece.truncate(start);
                break;
            };
            if piece.len() > SNAPSHOT_PIECE_BYTES_MAX {
                piece.truncate(start);
                break;
            }
            let value_len = piece.len() - start - ENTRY_LEN - key_len;
            let key_bytes = u16::try_from(key_len).expect("a key is shorter than this");
            let value_bytes = u32::try_from(value_len).expect("a value fits a piece");
            piece[start..start + 2].copy_from_slice(&key_bytes.to_le_bytes());
            piece[start + 2..start + ENTRY_LEN].copy_from_slice(&value_bytes.to_le_bytes());
            self.after.clear();
            self.after.extend_from_slice(&piece[start + ENTRY_LEN..start + ENTRY_LEN + key_len]);
            count += 1;
        }
        count
    }
}

fn frame(kind: u8, number: u64) -> Vec<u8> {
    let mut piece = Vec::from(MAGIC);
    piece.extend_from_slice(&[VERSION, kind, 0, 0]);
    piece.extend_from_slice(&number.to_le_bytes());
    piece.extend_from_slice(&[0; 4]);
    piece
}

/// What the last piece says of a state, whose hashes are known.
fn end_of(state: &State, out: &mut Vec<u8>) {
    state.encode_counts(out);
    roots_of(state, out);
}

fn roots_of(state: &State, out: &mut Vec<u8>) {
    out.extend_from_slice(&state.root());
    out.extend_from_slice(&state.sessions_root());
}
