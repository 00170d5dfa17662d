//! A node that answers requests: its machines, and the conversations that are open.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::boot::Started;
use super::event::{Effect, HaltReason};
use super::request::{Finding, Reply, Request, RequestError, VerifyScope};
use crate::config::Config;
use crate::disk::damage::Damage;
use crate::disk::ops::Ops;
use crate::disk::reserve::{self, Purpose, Reserve};
use crate::disk::stray::Strays;
use crate::disk::{DiskError, File};
use crate::id::{OpId, RequestId};
use crate::keystore::store::{self, Store, Token};
use crate::ledger::command::Command;
use crate::ledger::file::{Expect, Target};
use crate::ledger::name::Name;
use crate::ledger::state::State as Ledger;
use crate::limits::{LIST_PAGE_MAX, REQUESTS_MAX, STRAYS_TOLD_MAX};
use crate::machine::Machine as _;
use crate::note::Note;
use crate::replica::{self, Replica};
use crate::rng::Rng;
use crate::task::credit::Credit;
use crate::task::gc::{self, Gc};
use crate::task::get::{self, Get, resolve};
use crate::task::put::{self, Put};
use crate::task::sweep::{self, Sweep};
use crate::task::verify::{self, Verify};
use crate::time::{DeadlineQueue, Instant, Now};

/// Who waits for a disk request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Store(Token),
    Replica(OpId),
    Reserve,
}

/// A conversation in several steps.
#[derive(Debug)]
pub(super) enum Task {
    Put(Box<Put>),
    Get(Box<Get>),
    Verify(Box<Verify>),
    Gc(Box<Gc>),
}

/// An event for one of the machines, on its way there.
#[derive(Debug)]
pub(super) enum Work {
    Store(store::Event),
    Replica(replica::Event),
    Put(RequestId, put::Event),
    Get(RequestId, get::Event),
    Verify(RequestId, verify::Event),
    Gc(RequestId, gc::Event),
    Sweep(RequestId, sweep::Event),
    Reserve(reserve::Event),
}

/// Who waits for the ledger.
#[derive(Clone, Debug)]
pub(super) enum Proposer {
    Put(RequestId),
    Change(RequestId),
    Gc(RequestId),
}

/// How far a close is.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) asked_by: Option<RequestId>,
    pub(super) store_closed: bool,
    pub(super) log_closed: bool,
    /// Whether the machines were told.
    told: bool,
}

/// A node that answers requests. The machines know nothing of each other; [`super::route`] connects them.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) config: Config,
    pub(super) boot: u64,
    pub(super) replica: Replica,
    /// What can be read of a ledger that has lost something.
    readable: Option<Box<Ledger>>,
    /// Entries that were read from the journal; until the ledger has them, nobody is served.
    starting: Option<u64>,
    /// Why the node can't go on.
    pub(super) halted: Option<HaltReason>,
    pub(super) store: Store,
    pub(super) reserve: Reserve,
    /// Requests that wait for room, or for how much there is.
    pub(super) held: BTreeMap<RequestId, Request>,
    pub(super) damages: Vec<Damage>,
    pub(super) strays: Strays,
    pub(super) ops: Ops<Owner>,
    pub(super) tasks: BTreeMap<RequestId, Task>,
    pub(super) deadlines: DeadlineQueue<RequestId>,
    pub(super) credit: Credit,
    pub(super) proposals: BTreeMap<u64, Proposer>,
    pub(super) next_proposal: u64,
    pub(super) closing: Option<Closing>,
    /// The collection under way, or the store's part of one that nobody waits for any more.
    pub(super) collecting: Option<RequestId>,
    /// Whether the store has its part of it to do.
    pub(super) store_part: bool,
    /// Its walk.
    pub(super) sweep: Option<Box<Sweep>>,
    /// The sweep that waits for what is older.
    pub(super) awaited: Option<(RequestId, u64)>,
    /// In which epoch each verification began.
    pub(super) verified_in: BTreeMap<RequestId, u64>,
    pub(super) rng: Rng,
    pub(super) work: VecDeque<Work>,
}

impl Serving {
    pub(super) fn new(config: Config, started: Started) -> Self {
        let Started { record, replica, readable, entries, store, reserve, reserve_taken, rng, damages, strays } =
            started;
        let writable = replica.failed().or(store.failed()).is_none();
        let reserve = Reserve::new(&config, reserve, writable);
        Self {
            config,
            boot: record.boot,
            replica,
            readable,
            starting: Some(entries),
            halted: None,
            store,
            reserve: if reserve_taken { reserve.taken() } else { reserve },
            held: BTreeMap::new(),
            damages,
            strays,
            ops: Ops::new(record.boot),
            tasks: BTreeMap::new(),
            deadlines: DeadlineQueue::new(),
            credit: Credit::new(config.ingest_bytes_max()),
            proposals: BTreeMap::new(),
            next_proposal: 1,
            closing: None,
            collecting: None,
            store_part: false,
            sweep: None,
            awaited: None,
            verified_in: BTreeMap::new(),
            rng,
            work: VecDeque::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let sweep = self.sweep.as_ref().and_then(|sweep| sweep.deadline());
        [self.deadlines.next(), self.replica.deadline(), self.store.deadline(), sweep].into_iter().flatten().min()
    }

    /// Wakes whatever is due.
    pub(super) fn fire(&mut self, now: Now) {
        while let Some(id) = self.deadlines.pop_due(now.mono) {
            match self.tasks.get(&id).expect("only open conversations have deadlines") {
                Task::Put(_) => self.work.push_back(Work::Put(id, put::Event::Wake)),
                Task::Get(_) => self.work.push_back(Work::Get(id, get::Event::Wake)),
                Task::Verify(_) => self.work.push_back(Work::Verify(id, verify::Event::Wake)),
                Task::Gc(_) => self.work.push_back(Work::Gc(id, gc::Event::Wake)),
            }
        }
        if self.replica.deadline().is_some_and(|at| at <= now.mono) {
            self.work.push_back(Work::Replica(replica::Event::Wake));
        }
        if self.store.deadline().is_some_and(|at| at <= now.mono) {
            self.work.push_back(Work::Store(store::Event::Wake));
        }
        if let (Some(id), Some(sweep)) = (self.collecting, &self.sweep)
            && sweep.deadline().is_some_and(|at| at <= now.mono)
        {
            self.work.push_back(Work::Sweep(id, sweep::Event::Wake));
        }
    }

    /// What names mean.
    pub(super) fn ledger(&self) -> &Ledger {
        self.readable.as_deref().unwrap_or_else(|| self.replica.ledger())
    }

    /// Whether clients are served: the ledger has all that the journal had.
    pub(super) const fn is_ready(&self) -> bool {
        self.starting.is_none()
    }

    /// Serves clients from now on, if the ledger has all that the journal had.
    pub(super) fn look_whether_ready(&mut self, out: &mut Vec<Effect>) {
        if self.readable.is_none() && !self.replica.is_caught_up() {
            return;
        }
        if let Some(entries) = self.starting.take() {
            let chunks = self.store.chunk_count();
            out.push(Effect::Note(Note::Serving { boot: self.boot, entries, chunks }));
        }
    }

    /// A client opens a conversation or goes on with one.
    pub(super) fn request(&mut self, now: Now, id: RequestId, request: Request, out: &mut Vec<Effect>) {
        let opens = matches!(
            request,
            Request::PutOpen { .. }
                | Request::GetOpen { .. }
                | Request::VerifyOpen(_)
                | Request::Gc
                | Request::Delete { .. }
                | Request::Purge { .. }
                | Request::Undelete { .. }
                | Request::Clean { .. }
        );
        if !self.is_ready() {
            return fail(id, RequestError::Starting, out);
        }
        if opens && (self.open_requests() >= REQUESTS_MAX || self.tasks.contains_key(&id)) {
            return fail(id, RequestError::Busy, out);
        }
        if opens && self.closing.is_some() {
            return fail(id, RequestError::Closing, out);
        }
        match request {
            Request::PutOpen { name, expect, size } => self.open_put(now, id, name, expect, size, out),
            Request::GetOpen { target, range } => self.open_get(id, &target, range, out),
            Request::VerifyOpen(scope) => self.open_verify(id, scope, out),
            Request::Gc => self.hold(id, request, Purpose::Collection, out),
            Request::Delete { .. } | Request::Purge { .. } | Request::Undelete { .. } | Request::Clean { .. } => {
                self.hold(id, request, Purpose::Change, out);
            }
            Request::Usage => self.hold(id, request, Purpose::Question, out),
            Request::Cancel if self.held.contains_key(&id) => self.cancel_held(id, out),
            Request::PutChunk(_)
            | Request::PutCommit(_)
            | Request::GetMore { .. }
            | Request::VerifyMore { .. }
            | Request::Cancel => self.go_on(id, request),
            Request::List { prefix, after, limit } => self.list(id, &prefix, after.as_ref(), limit, out),
            Request::Tombstones { prefix, after, limit } => {
                let after = after.as_ref().map(|(name, version)| (name, *version));
                self.tombstones(id, &prefix, after, limit, out);
            }
            Request::Stat(target) => {
                let stat = self.look_up(&target).map(|(stat, _)| Reply::Stat(Box::new(stat)));
                out.push(Effect::Reply { id, reply: stat, last: true });
            }
            Request::Close => {
                self.closing.get_or_insert_default().asked_by = Some(id);
            }
        }
    }

    /// Conversations and one-shot requests that are not answered.
    pub(super) fn open_requests(&self) -> usize {
        self.tasks.len() + self.proposals.len() + self.held.len()
    }

    /// A message within a conversation. One that crosses the conversation's end, or does not belong to its kind, has no
    /// addressee and is dropped.
    fn go_on(&mut self, id: RequestId, request: Request) {
        let Some(task) = self.tasks.get(&id) else { return };
        let work = match (task, request) {
            (Task::Put(_), Request::PutChunk(chunk)) => Work::Put(id, put::Event::Chunk(chunk)),
            (Task::Put(_), Request::PutCommit(digest)) => Work::Put(id, put::Event::Commit(digest)),
            (Task::Put(_), Request::Cancel) => Work::Put(id, put::Event::Cancel),
            (Task::Get(_), Request::GetMore { bytes }) => Work::Get(id, get::Event::More { bytes }),
            (Task::Get(_), Request::Cancel) => Work::Get(id, get::Event::Cancel),
            (Task::Verify(_), Request::VerifyMore { findings }) => Work::Verify(id, verify::Event::More { findings }),
            (Task::Verify(_), Request::Cancel) => Work::Verify(id, verify::Event::Cancel),
            (Task::Gc(_), Request::Cancel) => Work::Gc(id, gc::Event::Cancel),
            (Task::Put(_) | Task::Get(_) | Task::Verify(_) | Task::Gc(_), _) => return,
        };
        self.work.push_back(work);
    }

    fn open_put(
        &mut self,
        now: Now,
        id: RequestId,
        name: Name,
        expect: Expect,
        size: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(error) = self.write_error() {
            return fail(id, error, out);
        }
        let put = Put::new(&self.config, name, expect, size, now).under(self.ledger().epoch());
        self.tasks.insert(id, Task::Put(Box::new(put)));
        self.admit(id, 0, self.credit.out());
    }

    fn open_get(
        &mut self,
        id: RequestId,
        target: &Target,
        range: Option<super::request::ByteRange>,
        out: &mut Vec<Effect>,
    ) {
        let opened = self.look_up(target).and_then(|(stat, manifest)| {
            if stat.missing {
                return Err(RequestError::Missing);
            }
            let (first, bytes) = resolve(range, stat.size)?;
            Ok(Get::new(stat, manifest, first, bytes))
        });
        match opened {
            Ok(get) => {
                self.tasks.insert(id, Task::Get(Box::new(get)));
                self.work.push_back(Work::Get(id, get::Event::Wake));
            }
            Err(error) => fail(id, error, out),
        }
    }

    fn open_verify(&mut self, id: RequestId, scope: VerifyScope, out: &mut Vec<Effect>) {
        if let VerifyScope::One(target) = &scope
            && let Err(error) = self.look_up(target)
        {
            return fail(id, error, out);
        }
        let damages = self.damages.iter().copied().map(Finding::Damage);
        let strays = self.strays.iter().copied().map(Finding::Stray).take(STRAYS_TOLD_MAX);
        let verify = Verify::new(scope, self.ledger().clone(), damages.chain(strays).collect());
        self.verified_in.insert(id, self.ledger().epoch());
        self.tasks.insert(id, Task::Verify(Box::new(verify)));
        self.work.push_back(Work::Verify(id, verify::Event::Wake));
    }

    pub(super) fn propose(&mut self, proposer: Proposer, volumes: Vec<(u64, u64)>, command: Command) {
        let ticket = self.next_proposal;
        self.next_proposal += 1;
        self.proposals.insert(ticket, proposer);
        self.work.push_back(Work::Replica(replica::Event::Propose { ticket, volumes, command }));
    }

    fn list(&self, id: RequestId, prefix: &str, after: Option<&Name>, limit: u32, out: &mut Vec<Effect>) {
        if let Some(damage) = self.journal_damage() {
            return fail(id, RequestError::LedgerDamaged(Box::new(damage)), out);
        }
        let limit = limit.min(LIST_PAGE_MAX) as usize;
        let mut names = self.ledger().names(prefix, after).map(|(name, _)| name);
        let stat = |name| self.ledger().stat(&Target::Name(name)).expect("a listed name has a meaning").0;
        let entries = names.by_ref().take(limit).map(stat).collect();
        let reply = Reply::Page { entries, more: names.next().is_some() };
        out.push(Effect::Reply { id, reply: Ok(reply), last: true });
    }

    fn look_up(
        &self,
        target: &Target,
    ) -> Result<(crate::ledger::file::FileStat, &crate::keystore::manifest::Manifest), RequestError> {
        // A lost entry may have given the name another meaning. A content is what its hash says in any case.
        if let (Target::Name(_), Some(damage)) = (target, self.journal_damage()) {
            return Err(RequestError::LedgerDamaged(Box::new(damage)));
        }
        self.ledger().stat(target).ok_or(RequestError::NotFound)
    }

    pub(super) fn journal_damage(&self) -> Option<Damage> {
        self.damages.iter().copied().find(|damage| matches!(damage.file, File::Journal(_) | File::Snapshot(_)))
    }

    /// Why nothing can be written, if that is known.
    pub(super) fn write_error(&self) -> Option<RequestError> {
        if let Some(damage) = self.journal_damage() {
            return Some(RequestError::LedgerDamaged(Box::new(damage)));
        }
        self.replica.failed().or(self.store.failed()).map(|(file, error)| match error {
            DiskError::Full => RequestError::DiskFull,
            DiskError::NotFound | DiskError::Exists | DiskError::ReadOnly | DiskError::Denied | DiskError::Io(_) => {
                RequestError::WriteFailed { file, error }
            }
        })
    }

    /// Whether writes are refused until the next start.
    pub(super) fn is_read_only(&self) -> bool {
        self.write_error().is_some()
    }

    /// Ends reads and closes the files once no put is open.
    pub(super) fn close_when_idle(&mut self, out: &mut Vec<Effect>) {
        let Some(closing) = &mut self.closing else { return };
        let puts = self.tasks.values().any(|task| matches!(task, Task::Put(_)));
        // Its last proposal is waited for like any other.
        self.sweep = None;
        if puts || !self.proposals.is_empty() || !self.held.is_empty() || closing.told {
            return;
        }
        // What it asked of the disk ends, or nothing would bring its answer.
        if self.reserve.is_busy() {
            return;
        }
        closing.told = true;
        for (id, _) in core::mem::take(&mut self.tasks) {
            fail(id, RequestError::Closing, out);
        }
        self.work.push_back(Work::Reserve(reserve::Event::Close));
        self.work.push_back(Work::Store(store::Event::Close));
        self.work.push_back(Work::Replica(replica::Event::Close));
    }

    pub(super) fn check(&self) {
        self.replica.check();
        self.store.check();
        self.credit.check();
        self.reserve.check();
        assert!(self.work.is_empty(), "all work of a turn is done in it");
        for task in self.tasks.values() {
            match task {
                Task::Put(put) => put.check(),
                Task::Get(get) => get.check(),
                Task::Verify(verify) => verify.check(),
                Task::Gc(gc) => gc.check(),
            }
        }
    }
}

/// Ends a conversation with an error.
pub(super) fn fail(id: RequestId, error: RequestError, out: &mut Vec<Effect>) {
    out.push(Effect::Reply { id, reply: Err(error), last: true });
}
