//! A snapshot as a file (format version 1). Numbers are little-endian.
//!
//! A file is blocks of 16 bytes and a body, and the last of them says what the snapshot is of:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `dpsN` |
//! | 1 | version |
//! | 1 | kind: 1 a piece of the ledger, 2 the end |
//! | 2 | zero |
//! | 4 | length of the body |
//! | 4 | CRC-32 (IEEE) of the bytes above and of the body |
//!
//! The body of a piece is one piece of a [`Stream`](crate::ledger::snapshot::Stream). All blocks of pieces together
//! are the
//! *content*: the same on every member for the same index, so that its parts may come from any of them, and what it
//! hashes to names it. The body of the end: store (16), term and index of the last entry in it (8 each), bytes of the
//! content (8), SHA-256 of the content (32). The end is each member's own, and never travels.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::crypto::hash::{HASH_LEN, Sha256};
use crate::ledger::snapshot::{Loader, SnapshotError};
use crate::ledger::state::State;
use crate::limits::SNAPSHOT_PIECE_BYTES_MAX;
use crate::raft::entry::Position;
use crate::raft::journal::codec::decode_membership;
use crate::raft::snapshot::Snapshot;

const MAGIC: [u8; 4] = *b"dpsN";
const VERSION: u8 = 1;
const PIECE: u8 = 1;
const END: u8 = 2;
const FRAME_LEN: usize = 16;
const END_BODY_LEN: usize = 16 + 3 * 8 + HASH_LEN;

/// Bytes of the last block.
pub const END_LEN: usize = FRAME_LEN + END_BODY_LEN;

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadSnapshot {
    /// A block is torn, rotten, or none at all.
    #[error("it is damaged at byte {offset}")]
    Block {
        /// Where the block begins.
        offset: u64,
    },
    /// A piece is whole, but not what has to come.
    #[error(transparent)]
    Piece(#[from] SnapshotError),
    /// All of it is there, and it is not the one that it should be.
    #[error("it is another snapshot than it should be")]
    Other,
}

fn block(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_LEN + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, kind, 0, 0]);
    bytes.extend_from_slice(&u32::try_from(body.len()).expect("a body is bounded").to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes);
    crc.update(body);
    bytes.extend_from_slice(&crc.finalize().to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Bytes of the body of a block that begins like this; `None` if none does.
fn body_len(head: &[u8; FRAME_LEN], kind: u8) -> Option<usize> {
    let len = u32::from_le_bytes(head[8..12].try_into().expect("four bytes")) as usize;
    let known = head[..4] == MAGIC && head[4..8] == [VERSION, kind, 0, 0];
    (known && len <= SNAPSHOT_PIECE_BYTES_MAX).then_some(len)
}

fn is_whole(head: &[u8; FRAME_LEN], body: &[u8]) -> bool {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..12]);
    crc.update(body);
    crc.finalize().to_le_bytes() == head[12..]
}

/// The block of a piece.
#[must_use]
pub fn encode_piece(piece: &[u8]) -> Vec<u8> {
    block(PIECE, piece)
}

/// What the end of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last entry in the snapshot.
    pub last: Position,
    /// Bytes of the content.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub digest: [u8; HASH_LEN],
}

impl End {
    /// The last block of a file of this store.
    #[must_use]
    pub fn encode(&self, store: &[u8; 16]) -> Vec<u8> {
        let mut body = Vec::with_capacity(END_BODY_LEN);
        body.extend_from_slice(store);
        for number in [self.last.term, self.last.index, self.bytes] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&self.digest);
        block(END, &body)
    }

    /// Reads the last [`END_LEN`] bytes of a file of this store. Total; `None` if they are anything else.
    #[must_use]
    pub fn decode(bytes: &[u8], store: &[u8; 16]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<FRAME_LEN>()?;
        let expected = body_len(head, END) == Some(END_BODY_LEN) && body.len() == END_BODY_LEN;
        if !expected || !is_whole(head, body) || body[..16] != *store {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
        let last = Position { term: number(16), index: number(24) };
        Some(Self { last, bytes: number(32), digest: body[40..].try_into().expect("a digest") })
    }
}

/// A content that comes in, part by part, and becomes a ledger.
pub struct Intake {
    loader: Loader,
    hash: Sha256,
    /// Bytes that are not a whole block yet.
    rest: Vec<u8>,
    /// Bytes of whole blocks.
    whole: u64,
    loaded: Option<(State, crate::ledger::snapshot::Position)>,
}

impl core::fmt::Debug for Intake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Intake").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self::of(Loader::new())
    }
}

impl Intake {
    fn of(loader: Loader) -> Self {
        Self { loader, hash: Sha256::new(), rest: Vec::new(), whole: 0, loaded: None }
    }

    /// A content that this member has written, or judged before it wrote it: what it hashes to, which its end says,
    /// proves that it is still that.
    #[must_use]
    pub fn own() -> Self {
        Self::of(Loader::own())
    }

    /// Bytes that came in.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.whole + self.rest.len() as u64
    }

    /// Takes the bytes that come next. Total.
    ///
    /// # Errors
    /// The first thing that is wrong with them. Nothing more may be taken then.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), BadSnapshot> {
        self.hash.update(bytes);
        if self.rest.is_empty() {
            let whole = self.blocks(bytes)?;
            self.rest.extend_from_slice(&bytes[whole..]);
        } else {
            let mut joined = core::mem::take(&mut self.rest);
            joined.extend_from_slice(bytes);
            let whole = self.blocks(&joined)?;
            joined.drain(..whole);
            self.rest = joined;
        }
        Ok(())
    }

    /// Takes the whole blocks that `bytes` begin with, and says how many bytes they are.
    fn blocks(&mut self, bytes: &[u8]) -> Result<usize, BadSnapshot> {
        let mut left = bytes;
        while let Some((head, after)) = left.split_first_chunk::<FRAME_LEN>() {
            let bad = BadSnapshot::Block { offset: self.whole };
            let len = body_len(head, PIECE).ok_or(bad)?;
            let Some((body, after)) = after.split_at_checked(len) else { break };
            if !is_whole(head, body) {
                return Err(bad);
            }
            if let Some(loaded) = self.loader.piece(body)? {
                self.loaded = Some(loaded);
            }
            left = after;
            self.whole += (FRAME_LEN + len) as u64;
        }
        Ok(bytes.len() - left.len())
    }

    /// The ledger, and what the snapshot is of.
    ///
    /// # Errors
    /// When it is not all of what `end` says.
    pub fn finish(self, end: &End) -> Result<(State, Snapshot), BadSnapshot> {
        let Self { hash, rest, whole, loaded, .. } = self;
        let Some((state, position)) = loaded.filter(|_| rest.is_empty()) else { return Err(BadSnapshot::Other) };
        let membership = decode_membership(&position.membership).map_err(|_| BadSnapshot::Other)?;
        let last = Position { term: position.term, index: position.index };
        let found = End { last, bytes: whole, digest: hash.finish() };
        if found != *end {
            return Err(BadSnapshot::Other);
        }
        let snapshot = Snapshot { last, membership: Arc::new(membership), digest: found.digest, bytes: whole };
        Ok((state, snapshot))
    }
}
