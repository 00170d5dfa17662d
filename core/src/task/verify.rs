//! Reads and hashes every chunk of some files, or of all of them, and tells what is wrong. Changes nothing.
//!
//! It walks a frozen state of the ledger, so that files which come and go meanwhile do not matter. Findings are held
//! back until the client takes them; what is held back is part of the few chunks that are looked at together.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::id::{ChunkId, FileId, VerifiedChunk};
use crate::keystore::ChunkFault;
use crate::keystore::manifest::{Body, Manifest};
use crate::keystore::manifest_walk::{ManifestWalk, Step};
use crate::ledger::name::Name;
use crate::ledger::state::State;
use crate::limits::{DAMAGES_MAX, FINDINGS_MAX, STEP_ITEMS_MAX, STRAYS_TOLD_MAX, VERIFY_LOADS_MAX, VERIFY_SHARED_MAX};
use crate::machine::Machine;
use crate::node::{Finding, Reply, RequestError, VerifyScope, VerifySummary};
use crate::time::{Instant, Now};

/// What a verification hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed, or the verification is stepped for the first time.
    Wake,
    /// The client takes more findings.
    More {
        /// Findings on top of what was granted before; at most [`FINDINGS_MAX`] in all.
        findings: u32,
    },
    /// A chunk was read and proven, or could not be. Comes once for each load.
    Loaded {
        /// The load.
        ticket: u64,
        /// The chunk that was asked for.
        result: Result<VerifiedChunk, ChunkFault>,
    },
    /// The client gave up.
    Cancel,
}

/// What a verification wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read a chunk and hash it.
    Load {
        /// To be echoed; dense from 1.
        ticket: u64,
        /// The chunk.
        chunk: ChunkId,
    },
    /// Answer the client.
    Reply {
        /// The answer.
        reply: Result<Reply, RequestError>,
        /// Whether it is the last one.
        last: bool,
    },
}

/// How far the verification is.
#[derive(Debug)]
enum Stage {
    /// Nothing was done yet.
    Opening,
    /// Chunks are read.
    Reading,
    /// Nothing more is told but this; loads are on their way.
    Ending(Result<Reply, RequestError>),
    /// The last reply was given.
    Over,
}

/// Which names are still to be visited.
#[derive(Debug)]
enum Rest {
    /// Those after this one.
    After(Option<Name>),
    /// None.
    Nothing,
}

/// The file whose chunks are asked for at present.
#[derive(Debug)]
struct Walking {
    name: Option<Name>,
    file: FileId,
    walk: ManifestWalk,
    /// The load of the manifest chunk that the walk waits for.
    node: Option<u64>,
}

/// A chunk that is looked at.
#[derive(Debug)]
struct Look {
    ticket: u64,
    name: Option<Name>,
    file: FileId,
    /// The chunk's number in the file; `None` for a manifest chunk.
    index: Option<u32>,
    chunk: ChunkId,
    /// The length it must have, where that is known.
    bytes: Option<u32>,
    state: Progress,
}

#[derive(Debug)]
enum Progress {
    Loading,
    Good,
    Bad(ChunkFault),
}

/// Contents with several names that were read, the newest [`VERIFY_SHARED_MAX`] of them.
///
/// Invariant: both hold the same.
#[derive(Debug, Default)]
struct Shared {
    known: BTreeSet<FileId>,
    by_age: VecDeque<FileId>,
}

impl Shared {
    /// Remembers `file`; returns whether it was not known.
    fn insert(&mut self, file: FileId) -> bool {
        if !self.known.insert(file) {
            return false;
        }
        self.by_age.push_back(file);
        if self.by_age.len() > VERIFY_SHARED_MAX {
            let oldest = self.by_age.pop_front().expect("it is not empty");
            self.known.remove(&oldest);
        }
        assert_eq!(self.known.len(), self.by_age.len(), "both hold the same");
        true
    }
}

/// One verification.
#[derive(Debug)]
pub struct Verify {
    scope: VerifyScope,
    frozen: State,
    /// What the start has found, to be told first.
    at_start: VecDeque<Finding>,
    stage: Stage,
    rest: Rest,
    walking: Option<Walking>,
    /// Chunks in the order in which they are told of. Invariant: at most [`VERIFY_LOADS_MAX`].
    looks: VecDeque<Look>,
    shared: Shared,
    /// Findings the client takes. Invariant: at most [`FINDINGS_MAX`].
    granted: u32,
    summary: VerifySummary,
    tickets_made: u64,
    /// Set when a step was cut short: it goes on at once.
    resume: Option<Instant>,
}

impl Verify {
    /// A verification of `scope` as `frozen` knows it. `at_start` is what the start has found; it is told when the scope is
    /// everything. To be stepped at once with [`Event::Wake`].
    ///
    /// # Panics
    /// When there are more than [`DAMAGES_MAX`] and [`STRAYS_TOLD_MAX`] of them.
    #[must_use]
    pub fn new(scope: VerifyScope, frozen: State, at_start: Vec<Finding>) -> Self {
        assert!(at_start.len() <= DAMAGES_MAX + STRAYS_TOLD_MAX, "what a start finds is bounded");
        Self {
            scope,
            frozen,
            at_start: at_start.into(),
            stage: Stage::Opening,
            rest: Rest::Nothing,
            walking: None,
            looks: VecDeque::new(),
            shared: Shared::default(),
            granted: 0,
            summary: VerifySummary::default(),
            tickets_made: 0,
            resume: None,
        }
    }

    fn open(&mut self) {
        if !matches!(self.stage, Stage::Opening) {
            return;
        }
        self.stage = Stage::Reading;
        match &self.scope {
            VerifyScope::All => self.rest = Rest::After(None),
            VerifyScope::One(target) => {
                self.at_start.clear();
                let Some((stat, manifest)) = self.frozen.stat(target) else {
                    return self.end(Err(RequestError::NotFound));
                };
                if stat.missing {
                    return self.end(Err(RequestError::Missing));
                }
                let manifest = manifest.clone();
                self.summary.names = u64::from(stat.name.is_some());
                self.visit(stat.name, &manifest);
            }
        }
    }

    fn more(&mut self, findings: u32) {
        match self.granted.checked_add(findings) {
            Some(granted) if granted <= FINDINGS_MAX => self.granted = granted,
            Some(_) | None => {
                self.end(Err(RequestError::Misuse("more findings were asked for than may be outstanding")))
            }
        }
    }

    fn loaded(&mut self, ticket: u64, result: Result<VerifiedChunk, ChunkFault>) {
        let is_it = |look: &&mut Look| look.ticket == ticket;
        let look = self.looks.iter_mut().find(is_it).expect("only what was asked for is loaded");
        assert!(matches!(look.state, Progress::Loading), "what was asked for is loaded once");
        let mut result = result;
        if let Ok(chunk) = &result {
            assert_eq!(chunk.id(), look.chunk, "another chunk was asked for");
            self.summary.chunks += 1;
            self.summary.bytes += chunk.bytes().len() as u64;
            if look.bytes.is_some_and(|bytes| bytes as usize != chunk.bytes().len()) {
                result = Err(ChunkFault::Malformed);
            }
        }
        if let Some(walking) = self.walking.as_mut().filter(|walking| walking.node == Some(ticket)) {
            result = walking.node_loaded(result);
        }
        look.state = result.map_or_else(Progress::Bad, |_| Progress::Good);
    }

    /// Ends the verification with `reply`, which goes out once no load is on its way any more. The first reason stays.
    fn end(&mut self, reply: Result<Reply, RequestError>) {
        match self.stage {
            Stage::Opening | Stage::Reading => {}
            Stage::Ending(_) | Stage::Over => return,
        }
        self.stage = Stage::Ending(reply);
        self.rest = Rest::Nothing;
        self.walking = None;
        self.at_start.clear();
    }

    /// Goes on as far as it can without a further event, or as far as one step may.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.resume = None;
        let mut visits = 0;
        while matches!(self.stage, Stage::Reading) {
            if self.tell(out) || self.look(out) {
                continue;
            }
            if self.looks.len() == VERIFY_LOADS_MAX || self.walking.is_some() {
                break;
            }
            if matches!(self.rest, Rest::Nothing) {
                if self.looks.is_empty() && self.at_start.is_empty() {
                    self.end(Ok(Reply::Verified(self.summary)));
                }
                break;
            }
            if visits == STEP_ITEMS_MAX {
                self.resume = Some(now.mono);
                break;
            }
            visits += 1;
            self.visit_next();
        }
        if matches!(self.stage, Stage::Ending(_)) {
            self.looks.retain(|look| matches!(look.state, Progress::Loading));
            if self.looks.is_empty() {
                let stage = core::mem::replace(&mut self.stage, Stage::Over);
                let Stage::Ending(reply) = stage else { unreachable!("just matched") };
                out.push(Effect::Reply { reply, last: true });
            }
        }
    }

    /// Tells the next finding, or passes a chunk that is good; returns whether there was either.
    fn tell(&mut self, out: &mut Vec<Effect>) -> bool {
        let finding = if let Some(found) = self.at_start.front() {
            found.clone()
        } else {
            let Some(look) = self.looks.front() else { return false };
            match &look.state {
                Progress::Loading => return false,
                Progress::Good => {
                    self.looks.pop_front();
                    return true;
                }
                Progress::Bad(fault) => {
                    let (name, fault) = (look.name.clone(), fault.clone());
                    Finding::Chunk { name, file: look.file, index: look.index, chunk: look.chunk, fault }
                }
            }
        };
        if self.granted == 0 {
            return false;
        }
        if self.at_start.pop_front().is_none() {
            self.looks.pop_front();
        }
        self.granted -= 1;
        self.summary.findings += 1;
        out.push(Effect::Reply { reply: Ok(Reply::Finding(Box::new(finding))), last: false });
        true
    }

    /// Asks for the next chunk of the file at hand; returns whether it went on.
    fn look(&mut self, out: &mut Vec<Effect>) -> bool {
        let Some(walking) = &mut self.walking else { return false };
        if self.looks.len() == VERIFY_LOADS_MAX || walking.node.is_some() {
            return false;
        }
        let ticket = self.tickets_made + 1;
        let (index, chunk, bytes) = match walking.walk.step() {
            Step::Node(chunk) => {
                walking.node = Some(ticket);
                (None, chunk, None)
            }
            Step::Chunk { index, chunk, bytes, .. } => (Some(index), chunk, Some(bytes)),
            // Inline content is part of the ledger, whose records were proven when they were read.
            Step::Inline(_) => return true,
            Step::Done => {
                self.walking = None;
                return true;
            }
        };
        let (name, file) = (walking.name.clone(), walking.file);
        self.looks.push_back(Look { ticket, name, file, index, chunk, bytes, state: Progress::Loading });
        self.tickets_made = ticket;
        out.push(Effect::Load { ticket, chunk });
        true
    }

    /// Goes on to the next name.
    fn visit_next(&mut self) {
        let Rest::After(after) = &self.rest else { return };
        let Some((name, entry)) = self.frozen.names("", after.as_ref()).next() else {
            self.rest = Rest::Nothing;
            return;
        };
        let content = self.frozen.content(&entry.file).expect("what a name means exists");
        self.rest = Rest::After(Some(name.clone()));
        self.summary.names += 1;
        // The chunks of what a clean has given up are gone on purpose.
        if self.frozen.is_missing(content) || matches!(content.manifest.body, Body::Inline(_)) {
            return;
        }
        if content.names == 1 || self.shared.insert(entry.file) {
            let manifest = content.manifest.clone();
            self.visit(Some(name), &manifest);
        }
    }

    fn visit(&mut self, name: Option<Name>, manifest: &Manifest) {
        assert!(self.walking.is_none(), "one file at a time");
        assert!(self.looks.len() < VERIFY_LOADS_MAX, "there is room for a finding");
        let file = manifest.file;
        match ManifestWalk::new(manifest, 0, manifest.size) {
            Ok(walk) => self.walking = Some(Walking { name, file, walk, node: None }),
            Err(_) => {
                self.tickets_made += 1;
                let (ticket, chunk) = (self.tickets_made, ChunkId::from_bytes(*file.as_bytes()));
                let state = Progress::Bad(ChunkFault::Malformed);
                self.looks.push_back(Look { ticket, name, file, index: None, chunk, bytes: None, state });
            }
        }
    }
}

impl Walking {
    /// Hands the walk the manifest chunk it waits for. If that can't be had, what lies under it is passed: the rest is
    /// still looked at.
    fn node_loaded(&mut self, result: Result<VerifiedChunk, ChunkFault>) -> Result<VerifiedChunk, ChunkFault> {
        self.node = None;
        let fed = result.and_then(|chunk| match self.walk.feed(&chunk) {
            Ok(()) => Ok(chunk),
            Err(_) => Err(ChunkFault::Malformed),
        });
        if fed.is_err() {
            self.walk.skip_node();
        }
        fed
    }
}

impl Machine for Verify {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.open();
        match event {
            Event::Wake => {}
            Event::More { findings } => self.more(findings),
            Event::Loaded { ticket, result } => self.loaded(ticket, result),
            Event::Cancel => self.end(Ok(Reply::Cancelled)),
        }
        self.settle(now, out);
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening => Some(Instant::ZERO),
            Stage::Reading => self.resume,
            Stage::Ending(_) | Stage::Over => None,
        }
    }

    fn check(&self) {
        assert!(self.looks.len() <= VERIFY_LOADS_MAX, "few chunks are looked at together");
        assert!(self.granted <= FINDINGS_MAX, "a client may have few findings outstanding");
        assert!(self.shared.by_age.len() <= VERIFY_SHARED_MAX, "few contents are remembered");
        let waiting = self.walking.as_ref().and_then(|walking| walking.node);
        let is_it = |look: &Look| Some(look.ticket) == waiting && matches!(look.state, Progress::Loading);
        assert!(waiting.is_none() || self.looks.iter().any(is_it), "a walk waits for what is on its way");
        let loading = self.looks.iter().any(|look| matches!(look.state, Progress::Loading));
        match self.stage {
            Stage::Opening => assert_eq!(self.tickets_made, 0, "nothing was done"),
            Stage::Reading => {
                let held_back = self.granted == 0 && (!self.at_start.is_empty() || !self.looks.is_empty());
                assert!(loading || held_back || self.resume.is_some(), "something or someone brings it further");
            }
            Stage::Ending(_) => assert!(loading, "it waits for loads alone"),
            Stage::Over => assert!(self.looks.is_empty() && self.walking.is_none(), "nothing is left behind"),
        }
    }
}

#[cfg(test)]
mod tests;
