//! A client that stores a file.

use std::sync::Arc;

use dps_core::id::{ChunkId, VerifiedChunk};
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::node::{Reply, Request, RequestError, StoredFile};

use super::desk::{Conversation, Desk, Outcome};
use crate::check::{conservation, crash, durable};
use crate::content::Content;
use crate::disk::FileClass;
use crate::model::{Change, Done, Mark, WriteId};

/// What to store and how.
#[derive(Clone, Debug)]
pub(crate) struct PutPlan {
    pub(crate) name: Name,
    pub(crate) content: Arc<Content>,
    pub(crate) expect: Expect,
    /// Whether the size is kept from the node.
    pub(crate) piped: bool,
    /// Cancel after so many chunks; one more than there are is right after the commit.
    pub(crate) cancel_at: Option<usize>,
    /// Nanoseconds of hesitation before each chunk.
    pub(crate) hesitation_ns: u64,
}

/// The conversation.
#[derive(Debug)]
pub(crate) struct Put {
    plan: PutPlan,
    next: usize,
    credit: u64,
    cancelled: bool,
    stored: bool,
    write: Option<WriteId>,
    version_known: Option<u64>,
    version_floor: u64,
    /// The lease of the put is no smaller than this.
    lease_floor: u64,
    since: Mark,
}

impl Put {
    pub(crate) fn new(plan: PutPlan) -> Self {
        Self {
            plan,
            next: 0,
            credit: 0,
            cancelled: false,
            stored: false,
            write: None,
            version_known: None,
            version_floor: 0,
            lease_floor: 0,
            since: 0,
        }
    }

    fn chunks(&self) -> usize {
        self.plan.content.cut(self.plan.piped).chunks.len()
    }

    /// Sends what credit allows, and the commit after the last chunk.
    fn pump(&mut self, desk: &mut Desk<'_>) {
        while !self.cancelled && self.write.is_none() {
            if self.plan.cancel_at == Some(self.next) {
                self.cancelled = true;
                desk.send_later(Request::Cancel, self.plan.hesitation_ns);
                return;
            }
            if self.next == self.chunks() {
                return self.commit(desk);
            }
            let chunk = self.plan.content.cut(self.plan.piped).chunks[self.next].clone();
            let bytes = chunk.bytes().len() as u64;
            if self.credit < bytes {
                return;
            }
            self.credit -= bytes;
            self.next += 1;
            desk.send_later(Request::PutChunk(chunk), self.plan.hesitation_ns);
        }
    }

    fn commit(&mut self, desk: &mut Desk<'_>) {
        let file = self.plan.content.file;
        self.version_known = desk.oracle.model.version(&self.plan.name);
        self.version_floor = desk.oracle.version_max;
        self.lease_floor = desk.epoch();
        self.write = Some(desk.oracle.model.begin(&self.plan.name, Change::Put(file), desk.view.incarnation));
        desk.send(Request::PutCommit(self.plan.content.cut(self.plan.piped).digest));
        if self.plan.cancel_at.is_some_and(|at| at > self.chunks()) {
            self.cancelled = true;
            desk.send_later(Request::Cancel, self.plan.hesitation_ns);
        }
    }

    fn stored(&mut self, desk: &mut Desk<'_>, stored: &StoredFile) {
        let Some(write) = self.write else { return desk.unexpected(stored) };
        let (name, content, at) = (&self.plan.name, &self.plan.content, desk.view.at);
        self.stored = true;
        if stored.stat.name.as_ref() != Some(name) || stored.stat.file != content.file {
            let found = format!("{:?} as {:?}", stored.stat.file, stored.stat.name);
            let expected = format!("{:?} as {name:?}", content.file);
            durable::differs("what a put stored", &found, &expected, at, desk.findings());
        }
        let version = stored.stat.version;
        durable::version(name, version, self.version_floor, at, desk.findings());
        self.check_condition(desk);
        let lease = desk.oracle.leases.entry(content.file).or_default();
        *lease = self.lease_floor.max(*lease);
        desk.oracle.version_max = desk.oracle.version_max.max(version);
        let done = Done { version: Some(version), file: Some(content.file), after: stored.stat.stored_at };
        desk.oracle.model.acknowledge(name, write, done);
        desk.check_stat(&stored.stat, self.since);
        // Content that is part of the ledger entry is no chunk, and heals none.
        let inline = content.bytes.len() as u64 <= u64::from(desk.oracle.geometry.inline_bytes_max());
        let cut = &content.cut(self.plan.piped).chunks;
        let chunks: Vec<ChunkId> = cut.iter().filter(|_| !inline).map(VerifiedChunk::id).collect();
        desk.oracle.damages.stored(content.file, &chunks, desk.opened_at, at);
    }

    /// Only this client writes the name, so what it meant at the commit is what it meant before.
    fn check_condition(&self, desk: &mut Desk<'_>) {
        let holds = match (self.plan.expect, self.version_known) {
            (Expect::Any, _) | (_, None) => true,
            (Expect::Absent, Some(_)) => false,
            (Expect::Version(expected), Some(known)) => expected == known,
        };
        if !holds {
            let condition = format!("{:?}", self.plan.expect);
            crash::condition(&self.plan.name, &condition, desk.view.at, desk.findings());
        }
    }
}

impl Conversation for Put {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        let size = (!self.plan.piped).then_some(self.plan.content.bytes.len() as u64);
        desk.send(Request::PutOpen { name: self.plan.name.clone(), expect: self.plan.expect, size });
        if self.chunks() == 0 {
            self.pump(desk);
        }
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Credit { bytes } if !last => {
                self.credit += bytes;
                let most = desk.oracle.ingest_bytes_max;
                conservation::within("unused credit", self.credit, most, desk.view.at, desk.findings());
                self.pump(desk);
            }
            Reply::Stored(stored) if last || self.cancelled => self.stored(desk, &stored),
            Reply::Cancelled if last && self.cancelled => {
                if let Some(write) = self.write
                    && !self.stored
                {
                    desk.refuse(&self.plan.name, write);
                }
            }
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        if let Some(write) = self.write {
            desk.not_done(&self.plan.name, write, error);
        }
        match error {
            RequestError::Conflict { current } if self.plan.expect != Expect::Any => {
                desk.conflict(&self.plan.name, *current);
                let holds = match self.plan.expect {
                    Expect::Any => true,
                    Expect::Absent => current.is_none(),
                    Expect::Version(version) => *current == Some(version),
                };
                if holds {
                    desk.unexpected(error);
                }
                Some(Outcome::Done)
            }
            RequestError::TooLarge if !desk.fits_manifest(self.chunks()) => Some(Outcome::Done),
            // A put that a collection has overtaken reads its manifest again.
            RequestError::BadChunk { .. } if desk.view.disk.is_class_harmed(FileClass::Volume, 0) => {
                Some(Outcome::Refused(error.code()))
            }
            _ => None,
        }
    }
}
