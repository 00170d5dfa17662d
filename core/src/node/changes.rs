//! Changes that one command makes, the collection, and what is told of both.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::event::Effect;
use super::request::{Reply, Request, RequestError, Usage};
use super::serve::{Proposer, Serving, Task, Work, fail};
use crate::id::RequestId;
use crate::keystore::manifest::Manifest;
use crate::ledger::command::Command;
use crate::ledger::name::Name;
use crate::limits::LIST_PAGE_MAX;
use crate::task::gc::{self, Gc};
use crate::task::sweep::{self, Sweep};
use crate::time::Now;

impl Serving {
    /// A name that means nothing is told at once; nothing needs to be written for that.
    pub(super) fn change(&mut self, now: Now, id: RequestId, request: Request, out: &mut Vec<Effect>) {
        if let Some(error) = self.write_error() {
            return fail(id, error, out);
        }
        let time = now.wall;
        let command = match request {
            Request::Delete { name, expect } => {
                if self.ledger().name(&name).is_none() && self.proposals.is_empty() {
                    return fail(id, RequestError::NotFound, out);
                }
                Command::Delete { time, name, expect }
            }
            Request::Purge { name, expect } => Command::Purge { time, name, expect },
            Request::Undelete { name, version, expect } => Command::Undelete { time, name, version, expect },
            Request::Clean { deep: false } => Command::Clean { time },
            Request::Clean { deep: true } => Command::DeepClean { time },
            other => unreachable!("{other:?} is no change"),
        };
        self.propose(Proposer::Change(id), Vec::new(), command);
    }

    pub(super) fn open_gc(&mut self, now: Now, id: RequestId, out: &mut Vec<Effect>) {
        assert_eq!(self.collecting, Some(id), "one collection at a time");
        if let Some(error) = self.write_error() {
            self.end_gc();
            return fail(id, error, out);
        }
        let gc = Gc::new(self.config.retain(), self.config.sweep_wait(), now);
        self.tasks.insert(id, Task::Gc(Box::new(gc)));
        self.work.push_back(Work::Gc(id, gc::Event::Wake));
    }

    /// Begins the walk of a sweep over the ledger as it is now, and over what is being read.
    pub(super) fn open_sweep(&mut self, id: RequestId, epoch: u64) {
        let reads = self.tasks.values().filter_map(|task| match task {
            Task::Get(get) => Some(get.manifest().clone()),
            Task::Put(_) | Task::Verify(_) | Task::Gc(_) => None,
        });
        let extras: Vec<Manifest> = reads.collect();
        let (salt, expected) = (self.rng.bytes(), self.store.chunk_count());
        self.sweep = Some(Box::new(Sweep::new(epoch, salt, expected, self.ledger().clone(), extras)));
        self.work.push_back(Work::Sweep(id, sweep::Event::Wake));
    }

    /// Tells a sweep that waits for what is older, if that is over.
    pub(super) fn check_older(&mut self) {
        let Some((id, epoch)) = self.awaited else { return };
        let older = self.tasks.iter().any(|(id, task)| match task {
            Task::Put(put) => put.settled_lease() < epoch,
            Task::Verify(_) => self.verified_in.get(id).is_some_and(|began| *began < epoch),
            Task::Get(_) | Task::Gc(_) => false,
        });
        if !older {
            self.awaited = None;
            self.work.push_back(Work::Gc(id, gc::Event::OlderEnded));
        }
    }

    /// Ends verifications that began before an epoch: what they are about to read may go.
    pub(super) fn end_older(&mut self, epoch: u64, out: &mut Vec<Effect>) {
        self.awaited = None;
        let older: Vec<RequestId> =
            self.verified_in.iter().filter(|(_, began)| **began < epoch).map(|(id, _)| *id).collect();
        for id in older {
            self.end(id);
            fail(id, RequestError::Busy, out);
        }
    }

    pub(super) fn tombstones(
        &self,
        id: RequestId,
        prefix: &str,
        after: Option<(&Name, u64)>,
        limit: u32,
        out: &mut Vec<Effect>,
    ) {
        if let Some(damage) = self.journal_damage() {
            return fail(id, RequestError::LedgerDamaged(Box::new(damage)), out);
        }
        let mut tombstones = self.ledger().tombstones(prefix, after);
        let entries = tombstones.by_ref().take(limit.min(LIST_PAGE_MAX) as usize).collect();
        let reply = Reply::Tombstones { entries, more: tombstones.next().is_some() };
        out.push(Effect::Reply { id, reply: Ok(reply), last: true });
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            names: self.ledger().name_count(),
            contents: self.ledger().content_count(),
            content_bytes: self.ledger().live_bytes(),
            tombstones: self.ledger().tombstone_count(),
            tombstone_bytes: self.ledger().tombstone_bytes(),
            volumes: self.store.usage(),
            volume_count: self.store.index().volumes().count() as u64,
            damaged_chunks: self.store.index().damaged(),
            epoch: self.ledger().epoch(),
            reserve_bytes: self.reserve.bytes(),
            available_bytes: self.reserve.available(),
        }
    }
}
