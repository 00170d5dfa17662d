//! Building a state from the pieces of a snapshot, and judging them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    END_LEN, FRAME_LEN, HEAD_LEN, KIND_END, KIND_HEAD, KIND_LEDGER, KIND_SESSIONS, MAGIC, Position, VERSION, roots_of,
};
use crate::layout::{Reader, Truncated};
use crate::ledger::state::{Broken, Head, State, StateBuilder};
use crate::limits::{SNAPSHOT_MEMBERSHIP_BYTES_MAX, SNAPSHOT_PIECE_BYTES_MAX, STEP_ITEMS_MAX};
use crate::time::WallTime;

/// Why a piece is refused. Nothing that came before it is worth anything then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SnapshotError {
    /// The piece ends too early.
    #[error("the piece is cut short")]
    Truncated,
    /// There are bytes after the piece.
    #[error("{bytes} bytes follow the piece")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The piece is larger than one may be, or has more entries.
    #[error("the piece is too large")]
    TooLarge,
    /// The bytes are no piece of a snapshot, or of another version.
    #[error("the piece has a head that this program does not know")]
    Layout,
    /// The piece is not the next one.
    #[error("the piece has number {found}, and {expected} is the next")]
    Number {
        /// The number found.
        found: u64,
        /// The number of the next piece.
        expected: u64,
    },
    /// A piece of this kind can't come here.
    #[error("a piece of kind {found} can't come here")]
    Kind {
        /// The kind found.
        found: u8,
    },
    /// An entry is none, or does not fit what came before it, or something that was announced is missing.
    #[error("the entries are not those of a ledger")]
    Broken,
    /// What was built is not what the last piece says.
    #[error("the counts or roots are not those of the last piece")]
    Mismatch,
    /// A piece came after the last one, or after one that was refused.
    #[error("the snapshot is over")]
    Over,
}

impl From<Truncated> for SnapshotError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

impl From<Broken> for SnapshotError {
    fn from(Broken: Broken) -> Self {
        Self::Broken
    }
}

enum Stage {
    Head,
    Entries { builder: Box<StateBuilder>, position: Position, sessions: bool },
    Over,
}

/// A snapshot that comes in piece by piece.
pub struct Loader {
    stage: Stage,
    /// The number of the next piece.
    number: u64,
    /// Whether the pieces are proven to be this node's own.
    proven: bool,
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// A loader before the first piece.
    #[must_use]
    pub const fn new() -> Self {
        Self { stage: Stage::Head, number: 0, proven: false }
    }

    /// A loader of pieces that this node itself has written. A hash of all their bytes proves that they are those, to
    /// whoever compares it. Then they are the entries of a state that was sound, with its roots, and all that computing
    /// these could show is that this program builds another one of the same entries. So what is dear is left out: the
    /// hashes, which are computed once somebody asks, and that each name means a content which counts it.
    #[must_use]
    pub const fn own() -> Self {
        Self { stage: Stage::Head, number: 0, proven: true }
    }

    /// Takes the next piece. With the last one it gives the state and its position in the log.
    ///
    /// # Errors
    /// The first thing that is wrong with the piece. The loader is over then. Total: whatever the bytes are.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<Option<(State, Position)>, SnapshotError> {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        if bytes.len() > SNAPSHOT_PIECE_BYTES_MAX {
            return Err(SnapshotError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let (magic, version, kind) = (reader.array::<4>()?, reader.u8()?, reader.u8()?);
        let (zero, found, count) = (reader.u16()?, reader.u64()?, reader.u32()?);
        assert_eq!(bytes.len() - reader.remaining(), FRAME_LEN, "every piece has one frame");
        if magic != MAGIC || version != VERSION || zero != 0 {
            return Err(SnapshotError::Layout);
        }
        let expected = self.number;
        if found != expected {
            return Err(SnapshotError::Number { found, expected });
        }
        self.number += 1;
        match (stage, kind) {
            (Stage::Head, KIND_HEAD) => {
                self.stage = head(count, self.proven, &mut reader)?;
                Ok(None)
            }
            (Stage::Entries { mut builder, position, sessions }, KIND_LEDGER | KIND_SESSIONS) => {
                let of_sessions = kind == KIND_SESSIONS;
                if sessions && !of_sessions {
                    return Err(SnapshotError::Kind { found: kind });
                }
                entries(&mut builder, of_sessions, count, &mut reader)?;
                self.stage = Stage::Entries { builder, position, sessions: of_sessions };
                Ok(None)
            }
            (Stage::Entries { builder, position, .. }, KIND_END) => {
                Ok(Some((end(*builder, count, self.proven, &mut reader)?, position)))
            }
            (Stage::Over, _) => Err(SnapshotError::Over),
            (Stage::Head | Stage::Entries { .. }, found) => Err(SnapshotError::Kind { found }),
        }
    }
}

fn head(count: u32, proven: bool, reader: &mut Reader<'_>) -> Result<Stage, SnapshotError> {
    let time = WallTime::from_nanos(reader.u64()?);
    let (applied, clean_floor, term, index) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
    let membership = reader.bytes(reader.remaining())?;
    if count != 0 || membership.len() > SNAPSHOT_MEMBERSHIP_BYTES_MAX {
        return Err(SnapshotError::TooLarge);
    }
    let builder = Box::new(StateBuilder::new(Head { time, applied, clean_floor }, proven));
    let position = Position { term, index, membership: membership.to_vec() };
    Ok(Stage::Entries { builder, position, sessions: false })
}

fn entries(
    builder: &mut StateBuilder,
    sessions: bool,
    count: u32,
    reader: &mut Reader<'_>,
) -> Result<(), SnapshotError> {
    if count == 0 || count as usize > STEP_ITEMS_MAX {
        return Err(SnapshotError::TooLarge);
    }
    for _ in 0..count {
        let (key_len, value_len) = (reader.u16()?, reader.u32()?);
        let key = reader.bytes(usize::from(key_len))?;
        let value = reader.bytes(usize::try_from(value_len).map_err(|_| SnapshotError::Truncated)?)?;
        if sessions {
            builder.push_session(key, value)?;
        } else {
            builder.push(key, value)?;
        }
    }
    finished(reader)
}

fn end(builder: StateBuilder, count: u32, proven: bool, reader: &mut Reader<'_>) -> Result<State, SnapshotError> {
    let expected = reader.bytes(END_LEN)?;
    finished(reader)?;
    if count != 0 {
        return Err(SnapshotError::TooLarge);
    }
    let state = builder.finish()?;
    let mut found = Vec::with_capacity(END_LEN);
    state.encode_counts(&mut found);
    if !proven {
        roots_of(&state, &mut found);
    }
    if expected.starts_with(&found) { Ok(state) } else { Err(SnapshotError::Mismatch) }
}

fn finished(reader: &Reader<'_>) -> Result<(), SnapshotError> {
    match reader.remaining() {
        0 => Ok(()),
        bytes => Err(SnapshotError::Trailing { bytes }),
    }
}

const _: () = assert!(FRAME_LEN + HEAD_LEN + SNAPSHOT_MEMBERSHIP_BYTES_MAX <= SNAPSHOT_PIECE_BYTES_MAX);
