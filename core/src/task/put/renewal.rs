//! A put that a sweep has overtaken (rules L5, C1): every chunk is touched again under the lease of now, and the proposal is
//! made anew. What the sweep has taken meanwhile ends the put.
//!
//! The chunks of a long file are not in memory, so they are walked as its manifest lists them. Loads count as tickets, so
//! that few of either are on their way.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Effect, Proposal, Put, Stage, Ticket};
use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::ChunkFault;
use crate::keystore::manifest::Manifest;
use crate::keystore::manifest_walk::{ManifestWalk, Step};
use crate::limits::PUT_STORES_MAX;
use crate::node::RequestError;

/// How far the touching is.
#[derive(Debug)]
pub(super) struct Renewal {
    manifest: Manifest,
    walk: ManifestWalk,
    /// The manifest chunk that the walk waits for, and its ticket.
    load: Option<(u64, ChunkId)>,
    walked: bool,
}

impl Put {
    pub(super) fn stale(&mut self, epoch: u64) {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Proposed(manifest) = stage else { panic!("the ledger decides what was proposed, once") };
        assert!(epoch > self.lease, "a lease gets stale by a later epoch");
        self.lease = epoch;
        let walk = ManifestWalk::new(&manifest, 0, manifest.size).expect("the manifest was made here");
        self.stage = Stage::Renewing(Box::new(Renewal { manifest: *manifest, walk, load: None, walked: false }));
    }

    /// Touches as many chunks as may be on their way at once.
    pub(super) fn renew(&mut self, out: &mut Vec<Effect>) {
        while self.tickets.len() < PUT_STORES_MAX {
            let Stage::Renewing(renewal) = &mut self.stage else { return };
            if renewal.walked || renewal.load.is_some() {
                return;
            }
            match renewal.walk.step() {
                Step::Node(chunk) => {
                    renewal.load = Some((self.tickets_made + 1, chunk));
                    let ticket = self.ticket();
                    out.push(Effect::Load { ticket, chunk });
                }
                Step::Chunk { chunk, .. } => self.touch(chunk, out),
                // It is in the proposal itself.
                Step::Inline(_) => {}
                Step::Done => renewal.walked = true,
            }
        }
    }

    fn touch(&mut self, chunk: ChunkId, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        out.push(Effect::Touch { ticket, chunk });
    }

    fn ticket(&mut self) -> u64 {
        self.tickets_made += 1;
        self.tickets.insert(self.tickets_made, Ticket { bytes: 0, held: 0 });
        self.tickets_made
    }

    /// A manifest chunk lists further ones, and is a chunk of the file like these.
    pub(super) fn loaded(&mut self, ticket: u64, result: Result<VerifiedChunk, ChunkFault>, out: &mut Vec<Effect>) {
        self.tickets.remove(&ticket).expect("only what was asked for is loaded");
        // Another reason may have ended the put.
        let Stage::Renewing(renewal) = &mut self.stage else { return };
        let (expected, id) = renewal.load.take().expect("one load at a time");
        assert_eq!(ticket, expected, "one load at a time");
        match result.map(|chunk| renewal.walk.feed(&chunk)) {
            Ok(Ok(())) => self.touch(id, out),
            Ok(Err(_)) => unreachable!("the manifest was made here"),
            Err(ChunkFault::Missing { .. }) => self.end(Err(RequestError::Swept), out),
            Err(fault) => {
                let (chunk, fault) = (Box::new(id), Box::new(fault));
                self.end(Err(RequestError::BadChunk { index: None, chunk, fault }), out);
            }
        }
    }

    /// Every touch has been answered.
    pub(super) fn propose_again(&mut self, renewal: Box<Renewal>, out: &mut Vec<Effect>) {
        assert!(renewal.walked && renewal.load.is_none(), "the walk goes on while nothing is on its way");
        self.settled_lease = self.lease;
        let Renewal { manifest, .. } = *renewal;
        let volumes = self.volumes.iter().map(|(volume, position)| (*volume, *position)).collect();
        self.stage = Stage::Proposed(Box::new(manifest.clone()));
        let (name, expect) = (self.name.clone(), self.expect);
        out.push(Effect::Propose(Box::new(Proposal { name, expect, manifest, volumes })));
    }
}
