//! Rule R4: a member whose disk is an old copy, or an empty one under its old name, is found out by those who remember more.
//!
//! Such a member may vote twice in one term, or stand for entries that it has acknowledged and lost. By itself it can't know:
//! its disk is whole. So every start introduces itself to each member, and nobody takes a message of a start that it does
//! not know. Who hears of a new start gives it a *nonce* to echo, so that nothing is ever concluded from a message that was
//! under way for long, and then compares with what it remembers of earlier starts: their number, which grows, the log
//! that they acknowledged, and the terms that they spoke of. What is new is durable in both slots before the start is told that it
//! is known; so it is still known after the next start of the witness, and messages need no more than a lookup.
//!
//! An end of a log is compared by (accepted term, index): a leader may have cut it, but then the accepted term is a later one
//! (rule R1). A start that knows that it may have lost something says so, and is not judged by its end but by rule R2; what it
//! acknowledged before is forgotten. What is remembered of acknowledgements is what this member heard, as leader, in its
//! own present start, and what a start said of itself before that.
//!
//! A start that is told, by its own random bytes, that it was rolled back, must not go on. It puts that into its own memory
//! first: a service manager starts it again and again, each start has a larger number, and after a few of them nobody could
//! tell any more by that.

pub mod memory;
mod words;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::words::{Because, Drawn, Start, Verdict, Words};

use self::memory::{Memory, Record, STAGE};
use super::note::{Note, Reason};
use crate::disk::boot::BootRecord;
use crate::disk::{DiskRequest, DiskResult, File};
use crate::id::NodeId;
use crate::limits::WITNESSED_MAX;
use crate::machine::Machine;
use crate::raft::entry::Position;
use crate::raft::membership::Membership;
use crate::rng::Rng;
use crate::time::{Instant, Now};

/// No member was ever started more often.
pub const INCARNATION_MAX: u64 = u64::MAX / 2;

/// What happens to a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed.
    Wake,
    /// Who takes part, from now on.
    Members(Arc<Membership>),
    /// Somebody says this.
    Received {
        /// Who.
        from: NodeId,
        /// In which start.
        incarnation: u64,
        /// What.
        words: Words,
    },
    /// A message of something else came of a start that is not known, and was dropped.
    Dropped {
        /// Who sent it.
        from: NodeId,
        /// In which start.
        incarnation: u64,
    },
    /// The disk request that was asked for has ended.
    DiskDone(DiskResult),
}

/// What a witness wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Say this. It may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        words: Words,
    },
    /// Perform this and answer with [`Event::DiskDone`].
    Disk(DiskRequest),
    /// This member must not go on: its disk is an old one. That is durable, or can't be written.
    RolledBack(Verdict),
    /// Something worth knowing.
    Note(Note),
}

/// What is known of the start that a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the newest, and durably known.
    Known,
    /// A later one is known.
    Older,
    /// It is not known.
    Unknown,
}

/// What was given to a start to be echoed.
#[derive(Clone, Copy, Debug)]
struct Challenged {
    start: u64,
    nonce: Drawn,
    /// When it was sent last.
    at: Instant,
}

/// Who a member is, and what it remembers of the others.
#[derive(Debug)]
pub struct Witness {
    id: NodeId,
    incarnation: u64,
    store: [u8; 16],
    start: Start,
    /// How often a start introduces itself.
    period: Duration,
    rng: Rng,
    members: Arc<Membership>,
    /// Members that have not said that they know this start.
    strangers: BTreeSet<NodeId>,
    /// Who has said so.
    met: BTreeSet<NodeId>,
    introduce_at: Instant,
    /// What is durable, but for what was heard of known starts since.
    memory: Memory,
    /// Starts that were proven, and are not durably known.
    proven: BTreeMap<NodeId, Record>,
    /// Those of them that are being written.
    writing: BTreeMap<NodeId, Record>,
    /// What this start was told of itself, and what of that is being written.
    verdict: Option<Verdict>,
    writing_verdict: Option<Verdict>,
    /// What is left to be done so that all that is remembered; the first was asked for.
    requests: VecDeque<DiskRequest>,
    /// Whether a staged file may be in the way.
    staged: bool,
    challenged: BTreeMap<NodeId, Challenged>,
}

impl Witness {
    /// The witness of a start with this boot record that says this of itself. `rng` is its own stream, `period` how often
    /// it introduces itself.
    #[must_use]
    pub fn new(
        id: NodeId,
        boot: &BootRecord,
        start: Start,
        members: Arc<Membership>,
        memory: Memory,
        period: Duration,
        rng: Rng,
    ) -> Self {
        let mut witness = Self {
            id,
            incarnation: boot.boot,
            store: boot.store,
            start,
            period,
            rng,
            members: Arc::clone(&members),
            strangers: BTreeSet::new(),
            met: BTreeSet::new(),
            introduce_at: Instant::ZERO,
            memory,
            proven: BTreeMap::new(),
            writing: BTreeMap::new(),
            verdict: None,
            writing_verdict: None,
            requests: VecDeque::new(),
            staged: false,
            challenged: BTreeMap::new(),
        };
        witness.meet(members);
        witness
    }

    /// What is known of this start.
    #[must_use]
    pub fn standing(&self, node: &NodeId, incarnation: u64) -> Standing {
        match self.memory.nodes.get(node).map(|record| record.boot) {
            Some(boot) if boot == incarnation => Standing::Known,
            Some(boot) if boot > incarnation => Standing::Older,
            Some(_) | None => Standing::Unknown,
        }
    }

    /// Whether this start was told that it must not go on.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.verdict.is_some()
    }

    /// A known start has spoken of this term.
    pub fn spoke_in(&mut self, node: &NodeId, term: u64) {
        if let Some(record) = self.memory.nodes.get_mut(node) {
            record.term = record.term.max(term);
        }
    }

    /// A known start has acknowledged the log up to here.
    pub fn acknowledged(&mut self, node: &NodeId, position: Position) {
        if let Some(record) = self.memory.nodes.get_mut(node) {
            record.end = record.end.max(position);
        }
    }

    /// These take part from now on, and are to know this start.
    fn meet(&mut self, members: Arc<Membership>) {
        let left = |node: &NodeId| *node != self.id && !self.met.contains(node);
        self.strangers = members.members().into_iter().filter(left).collect();
        self.members = members;
    }

    fn introduce(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.strangers.is_empty() || self.introduce_at > now.mono {
            return;
        }
        let words = Words::Introduction { start: self.start, nonce: None };
        out.extend(self.strangers.iter().map(|to| Effect::Send { to: *to, words }));
        self.introduce_at = now.mono + self.period;
    }

    fn received(&mut self, now: Now, from: NodeId, incarnation: u64, words: Words, out: &mut Vec<Effect>) {
        if from == self.id || incarnation == 0 || incarnation > INCARNATION_MAX {
            return out.push(Effect::Note(Note::Rejected { from, reason: Reason::AbsurdStart }));
        }
        match words {
            Words::Introduction { start, nonce } => self.introduced(now, from, incarnation, start, nonce, out),
            Words::Challenge { start, .. } if start != self.incarnation => {
                out.push(Effect::Note(Note::Rejected { from, reason: Reason::OtherStart }));
            }
            Words::Challenge { nonce, .. } => {
                let words = Words::Introduction { start: self.start, nonce: Some(nonce) };
                out.push(Effect::Send { to: from, words });
            }
            Words::Known { random } => {
                if random == self.start.random {
                    self.met.insert(from);
                    self.strangers.remove(&from);
                }
            }
            Words::RolledBack { random, because } => {
                if random == self.start.random {
                    self.verdict = self.verdict.or(Some(Verdict { by: from, because }));
                } else {
                    out.push(Effect::Note(Note::Rejected { from, reason: Reason::OtherStart }));
                }
            }
        }
    }

    /// A start says who it is. Nothing is concluded from that unless it echoes the nonce that it was given.
    fn introduced(
        &mut self,
        now: Now,
        from: NodeId,
        incarnation: u64,
        start: Start,
        nonce: Option<Drawn>,
        out: &mut Vec<Effect>,
    ) {
        let is_it = |record: &&Record| (record.boot, record.random) == (incarnation, start.random);
        if self.memory.nodes.get(&from).filter(is_it).is_some() {
            return out.push(Effect::Send { to: from, words: Words::Known { random: start.random } });
        }
        if [&self.proven, &self.writing].iter().any(|under_way| under_way.get(&from).filter(is_it).is_some()) {
            // It hears when that is durable.
            return;
        }
        let given = self.challenged.get(&from).filter(|given| given.start == incarnation).map(|given| given.nonce);
        if nonce.is_none() || nonce != given {
            return self.challenge(now, from, incarnation, out);
        }
        self.challenged.remove(&from);
        match self.judge(&from, incarnation, &start) {
            Ok(record) => _ = self.proven.insert(from, record),
            Err(because) => {
                out.push(Effect::Note(Note::RolledBack { node: from, start: incarnation, because }));
                out.push(Effect::Send { to: from, words: Words::RolledBack { random: start.random, because } });
            }
        }
    }

    fn challenge(&mut self, now: Now, from: NodeId, incarnation: u64, out: &mut Vec<Effect>) {
        // One nonce for a start, so that a repeated question does not make its answer void.
        let nonce = match self.challenged.get(&from) {
            Some(given) if given.start == incarnation => given.nonce,
            Some(_) | None => self.rng.bytes(),
        };
        if self.challenged.len() >= WITNESSED_MAX && !self.challenged.contains_key(&from) {
            // Whoever takes part asks again.
            self.challenged.pop_first();
        }
        self.challenged.insert(from, Challenged { start: incarnation, nonce, at: now.mono });
        out.push(Effect::Send { to: from, words: Words::Challenge { start: incarnation, nonce } });
    }

    /// A message of an unknown start was dropped: it hears so, but not for each message.
    fn dropped(&mut self, now: Now, from: NodeId, incarnation: u64, out: &mut Vec<Effect>) {
        let proven = [&self.proven, &self.writing];
        let is_under_way = proven.iter().any(|some| some.get(&from).is_some_and(|record| record.boot == incarnation));
        let asked = |given: &Challenged| given.start == incarnation && now.mono < given.at + self.period;
        let is_asked = self.challenged.get(&from).is_some_and(asked);
        if from != self.id && (1..=INCARNATION_MAX).contains(&incarnation) && !is_under_way && !is_asked {
            self.challenge(now, from, incarnation, out);
        }
    }

    /// What is remembered of a start that was proven, or how it is known that its disk is an old one.
    fn judge(&self, node: &NodeId, incarnation: u64, start: &Start) -> Result<Record, Because> {
        let Start { random, end, term, whole } = *start;
        // What is being written counts as well: another start of the same number must not come after it.
        let newest = [&self.memory.nodes, &self.writing, &self.proven].into_iter().filter_map(|some| some.get(node));
        let Some(before) = newest.max_by_key(|record| record.boot) else {
            return Ok(Record { boot: incarnation, random, end, term });
        };
        if incarnation <= before.boot {
            return Err(Because::EarlierStart { known: before.boot });
        }
        if !whole {
            return Ok(Record { boot: incarnation, random, end, term });
        }
        if end < before.end {
            return Err(Because::ShorterLog { acknowledged: before.end });
        }
        if term < before.term {
            return Err(Because::EarlierTerm { told: before.term });
        }
        Ok(Record { boot: incarnation, random, end, term })
    }

    /// Writes what was proven, twice, unless a write is under way.
    fn remember(&mut self, out: &mut Vec<Effect>) {
        let is_old = self.proven.is_empty() && self.verdict == self.memory.verdict;
        if is_old || !self.requests.is_empty() {
            return;
        }
        self.writing = core::mem::take(&mut self.proven);
        let mut next = self.memory.clone();
        for (node, record) in &self.writing {
            next.nodes.insert(*node, *record);
        }
        (self.writing_verdict, next.verdict) = (self.verdict, self.verdict);
        self.forget_strangers(&mut next);
        next.number += 1;
        let first = next.publication(&self.store);
        next.number += 1;
        let second = next.publication(&self.store);
        if self.staged {
            self.requests.push_back(DiskRequest::Remove { file: File::Stage(STAGE) });
        }
        self.requests.extend(first.into_iter().chain(second));
        out.extend(self.requests.front().cloned().map(Effect::Disk));
    }

    fn disk_done(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        self.requests.pop_front().expect("a request was asked for");
        if let Err(error) = result {
            // Those who introduce themselves again are tried again.
            (self.staged, self.requests, self.writing_verdict) = (true, VecDeque::new(), None);
            self.writing.clear();
            out.push(Effect::Note(Note::NotRemembered(*error)));
            // The next start will hear it again.
            return out.extend(self.verdict.map(Effect::RolledBack));
        }
        if let Some(request) = self.requests.front() {
            return out.push(Effect::Disk(request.clone()));
        }
        self.staged = false;
        self.memory.number += 2;
        for (node, record) in core::mem::take(&mut self.writing) {
            self.memory.nodes.insert(node, record);
            out.push(Effect::Note(Note::Met { node, start: record.boot }));
            out.push(Effect::Send { to: node, words: Words::Known { random: record.random } });
        }
        let mut memory = core::mem::take(&mut self.memory);
        self.forget_strangers(&mut memory);
        self.memory = memory;
        self.memory.verdict = self.writing_verdict.take();
        out.extend(self.memory.verdict.map(Effect::RolledBack));
    }

    /// Of more nodes than are remembered, those go that take no part.
    fn forget_strangers(&self, memory: &mut Memory) {
        while memory.nodes.len() > WITNESSED_MAX {
            let stranger = memory.nodes.keys().find(|node| !self.members.is_member(node)).copied();
            memory.nodes.remove(&stranger.expect("no group has so many members"));
        }
    }
}

impl Machine for Witness {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Wake => {}
            Event::Members(members) => self.meet(members),
            Event::Received { from, incarnation, words } => self.received(now, from, incarnation, words, out),
            Event::Dropped { from, incarnation } => self.dropped(now, from, incarnation, out),
            Event::DiskDone(result) => self.disk_done(&result, out),
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.introduce(now, out);
        self.remember(out);
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.strangers.is_empty()).then_some(self.introduce_at)
    }

    fn check(&self) {
        assert!(self.memory.nodes.len() <= WITNESSED_MAX, "what is remembered is bounded");
        assert!(self.challenged.len() <= WITNESSED_MAX, "what was asked is bounded");
        let writes = !self.writing.is_empty() || self.writing_verdict.is_some();
        assert!(self.requests.is_empty() != writes, "a write is of something");
    }
}

#[cfg(test)]
mod tests;
