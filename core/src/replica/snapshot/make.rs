//! Making a snapshot: a frozen ledger is written piece by piece, while the ledger goes on.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::{End, encode_piece};
use crate::crypto::hash::Sha256;
use crate::ledger::snapshot::{self, Step, Stream};
use crate::ledger::state::State;
use crate::raft::entry::Position;
use crate::raft::journal::codec::encode_membership;
use crate::raft::membership::Membership;
use crate::raft::snapshot::Snapshot;

/// What is to be written next of a snapshot.
#[derive(Debug)]
pub(in crate::replica) enum Next {
    /// These bytes, at this offset.
    Append { offset: u64, bytes: Vec<u8> },
    /// Nothing yet; there is more to compute.
    Working,
    /// It is whole.
    Whole(Snapshot),
}

/// A snapshot in the making.
#[derive(Debug)]
pub(in crate::replica) struct Making {
    stream: Stream,
    hash: Sha256,
    last: Position,
    membership: Arc<Membership>,
    bytes: u64,
    /// What it is, once all pieces are out; with whether its end is out too.
    made: Option<(Snapshot, bool)>,
}

impl Making {
    /// Of the ledger as it is, which has applied everything up to `last`.
    pub(in crate::replica) fn new(state: State, last: Position, membership: Arc<Membership>) -> Self {
        let Position { term, index } = last;
        let position = snapshot::Position { term, index, membership: encode_membership(&membership) };
        let stream = Stream::new(state, position);
        Self { stream, hash: Sha256::new(), last, membership, bytes: 0, made: None }
    }

    /// One bounded step.
    pub(in crate::replica) fn advance(&mut self, store: &[u8; 16]) -> Next {
        if let Some((snapshot, is_ended)) = &mut self.made {
            if *is_ended {
                return Next::Whole(snapshot.clone());
            }
            *is_ended = true;
            let Snapshot { last, digest, bytes, .. } = *snapshot;
            return Next::Append { offset: bytes, bytes: End { last, bytes, digest }.encode(store) };
        }
        match self.stream.step() {
            Step::Working => Next::Working,
            Step::Piece(piece) => {
                let (offset, bytes) = (self.bytes, encode_piece(&piece));
                self.hash.update(&bytes);
                self.bytes += bytes.len() as u64;
                Next::Append { offset, bytes }
            }
            Step::Over => {
                let digest = self.hash.clone().finish();
                let membership = Arc::clone(&self.membership);
                let snapshot = Snapshot { last: self.last, membership, digest, bytes: self.bytes };
                self.made = Some((snapshot, false));
                Next::Working
            }
        }
    }
}
