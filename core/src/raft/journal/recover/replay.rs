//! What the records of a journal come to, one after the other in the order of the files.
//!
//! An entry cuts the log where it goes, so a record that comes twice counts once. Behind something that was lost, what
//! follows is kept apart: an entry before the loss may be one that was replaced in it. A record that names an entry by
//! term and index ends that if the log has this entry, since then the two agree up to there (Ongaro 2014, section 3.5);
//! and so does a base, whose entries are committed.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::disk::record::Kind;
use crate::disk::scan::Record;
use crate::ledger::entry::Entry as OldEntry;
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::journal::codec::{self, BadBody, State};
use crate::raft::journal::terms::Terms;
use crate::raft::journal::{Doubt, raise};
use crate::raft::snapshot::INDEX_MAX;
use crate::raft::{Base, Cut, TERM_MAX, Vote};

/// Entries that follow each other.
#[derive(Debug)]
struct Run {
    /// The index before the first.
    start: u64,
    /// The term there, if that is known.
    term: Option<u64>,
    entries: VecDeque<Entry>,
}

impl Run {
    const fn new(start: u64, term: Option<u64>) -> Self {
        Self { start, term, entries: VecDeque::new() }
    }

    const fn at(position: Position) -> Self {
        Self::new(position.index, Some(position.term))
    }

    fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.start {
            return self.term;
        }
        let offset = index.checked_sub(self.start)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?).map(|entry| entry.position.term)
    }

    fn has(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// Cuts everything after `index`, which is not before its start.
    fn cut(&mut self, index: u64) {
        let keep = usize::try_from(index - self.start).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
    }

    /// Forgets everything up to `base`, which is not before its start and not after its end.
    fn trim(&mut self, base: Position) {
        let gone = usize::try_from(base.index - self.start).expect("entries fit into memory");
        self.entries.drain(..gone);
        (self.start, self.term) = (base.index, Some(base.term));
    }

    fn push(&mut self, entry: Entry) {
        assert_eq!(entry.position.index, self.end() + 1, "entries of a run follow each other");
        self.entries.push_back(entry);
    }
}

/// What was replayed so far.
#[derive(Debug)]
pub(super) struct Replay {
    vote: Vote,
    /// Whether a newer vote may be among what was lost here.
    vote_lost: bool,
    /// Whether whoever wrote the journal had lost one already, so that no vote that it wrote since says anything.
    vote_doubted: bool,
    accepted: u64,
    replicated: bool,
    /// Whether anything told of that.
    replicated_known: bool,
    doubt: Option<Doubt>,
    base: Base,
    /// What follows the base.
    log: Run,
    /// Behind something lost.
    beyond: Vec<Run>,
    /// Whether what comes goes there.
    astray: bool,
    /// The largest term that anything has.
    term: u64,
    volumes: BTreeMap<u64, u64>,
    /// The same, bounded, as the journal goes on with it.
    floors: BTreeMap<u64, u64>,
    /// By segment, the largest index of an entry in it.
    last_indexes: BTreeMap<u64, u64>,
}

impl Replay {
    /// Of a log that begins after `base` unless something says otherwise.
    pub(super) fn new(base: Base) -> Self {
        Self {
            vote: Vote::default(),
            vote_lost: false,
            vote_doubted: false,
            accepted: 0,
            replicated: base.membership.members().len() > 1,
            replicated_known: false,
            doubt: None,
            log: Run::at(base.position),
            term: base.position.term,
            base,
            beyond: Vec::new(),
            astray: false,
            volumes: BTreeMap::new(),
            floors: BTreeMap::new(),
            last_indexes: BTreeMap::new(),
        }
    }

    /// Records were lost here.
    pub(super) const fn lost(&mut self) {
        self.astray = true;
        self.vote_lost = true;
    }

    /// Whether something is missing in the log, or may be.
    pub(super) fn has_hole(&self) -> bool {
        self.astray || !self.beyond.is_empty()
    }

    /// Applies a record.
    ///
    /// # Errors
    /// It makes no sense, in itself or here, and changes nothing.
    pub(super) fn apply(&mut self, segment: u64, record: &Record) -> Result<(), BadBody> {
        let body = &record.covered;
        match record.header.kind {
            Kind::Vote => self.voted(codec::decode_vote(body)?),
            Kind::Cut => self.cut(codec::decode_cut(body)?),
            Kind::Log => self.entry(segment, codec::decode_entry(body)?),
            Kind::Base => self.based(codec::decode_base(body)?),
            Kind::Rely => {
                self.rely(codec::decode_rely(body)?);
                Ok(())
            }
            Kind::State => self.state(codec::decode_state(body)?),
            // As format 2 has them. Their directories were never replicated.
            Kind::Entry => {
                let OldEntry { term, index, volumes, command } = OldEntry::decode(body).map_err(|_| BadBody)?;
                let (position, payload) = (Position { term, index }, Payload::Command(command.into()));
                self.entry(segment, Entry { position, payload })?;
                self.replicated_known = true;
                self.rely(volumes);
                Ok(())
            }
            Kind::Head | Kind::Footer | Kind::Empty | Kind::Chunk | Kind::MarkedChunk | Kind::Mark | Kind::Drop => {
                Err(BadBody)
            }
        }
    }

    /// The larger term counts, and in one term a candidate never changes.
    fn voted(&mut self, vote: Vote) -> Result<(), BadBody> {
        if vote.term > TERM_MAX {
            return Err(BadBody);
        }
        if vote.term == self.vote.term {
            if self.vote.candidate.is_some() && vote.candidate.is_some() && self.vote.candidate != vote.candidate {
                return Err(BadBody);
            }
            self.vote.candidate = self.vote.candidate.or(vote.candidate);
        } else if vote.term > self.vote.term {
            self.vote = vote;
        }
        self.vote_lost &= vote.term < self.vote.term;
        self.term = self.term.max(vote.term);
        Ok(())
    }

    fn cut(&mut self, cut: Cut) -> Result<(), BadBody> {
        if cut.term > TERM_MAX || cut.after > INDEX_MAX {
            return Err(BadBody);
        }
        self.truncate(cut.after);
        self.accepted = self.accepted.max(cut.term);
        self.term = self.term.max(cut.term);
        Ok(())
    }

    /// Cuts everything after `index`, as far as the base allows.
    fn truncate(&mut self, index: u64) {
        self.beyond.retain(|run| run.start <= index);
        if let Some(run) = self.beyond.last_mut() {
            run.cut(index);
        }
        self.log.cut(index.max(self.log.start));
    }

    fn entry(&mut self, segment: u64, entry: Entry) -> Result<(), BadBody> {
        let Position { term, index } = entry.position;
        if !(1..=TERM_MAX).contains(&term) || !(1..=INDEX_MAX).contains(&index) {
            return Err(BadBody);
        }
        if index > self.base.position.index {
            // A base is committed, so that what follows it is what followed it.
            let follows = |log: &Run| log.end() + 1 >= index && (!self.astray || log.start + 1 == index);
            let run = if follows(&self.log) { Some(&self.log) } else { self.beyond.last() };
            if run.and_then(|run| run.term_at(index - 1)).is_some_and(|before| before > term) {
                return Err(BadBody);
            }
            let follows = follows(&self.log);
            self.truncate(index - 1);
            if follows {
                self.beyond.clear();
                self.astray = false;
                self.log.push(entry);
            } else {
                self.astray = true;
                if self.beyond.last().is_none_or(|run| run.end() + 1 != index) {
                    self.beyond.push(Run::new(index - 1, None));
                }
                self.beyond.last_mut().expect("one was just pushed").push(entry);
            }
        }
        let largest = self.last_indexes.entry(segment).or_default();
        *largest = index.max(*largest);
        self.accepted = self.accepted.max(term);
        self.term = self.term.max(term);
        Ok(())
    }

    /// The log begins later: what is up to there goes. All of it goes if it has another entry there.
    fn based(&mut self, base: Base) -> Result<(), BadBody> {
        let position = base.position;
        if position.term > TERM_MAX || position.index > INDEX_MAX {
            return Err(BadBody);
        }
        self.replicated |= base.membership.members().len() > 1;
        self.term = self.term.max(position.term);
        if position.index <= self.base.position.index {
            return Ok(());
        }
        self.base = base;
        let index = position.index;
        let runs = || [&self.log].into_iter().chain(&self.beyond);
        let differs = runs().any(|run| run.term_at(index).is_some_and(|term| term != position.term));
        let falls = runs().any(|run| run.term_at(index + 1).is_some_and(|term| term < position.term));
        if differs || falls {
            self.beyond.clear();
            self.log.entries.clear();
        }
        self.beyond.retain(|run| run.end() >= index);
        if self.log.end() > index {
            self.log.trim(position);
        } else {
            self.log = Run::at(position);
            if self.beyond.first().is_some_and(|run| run.start <= index) {
                self.log = self.beyond.remove(0);
                self.log.trim(position);
            }
            // Nothing that was lost matters any more, unless there is more of it behind this run.
            self.astray &= !self.beyond.is_empty();
        }
        Ok(())
    }

    fn state(&mut self, state: State) -> Result<(), BadBody> {
        let State { vote, vote_certain, accepted, replicated, last, doubt, base } = state;
        if accepted > TERM_MAX || last.term > TERM_MAX || !(base.position.index..=INDEX_MAX).contains(&last.index) {
            return Err(BadBody);
        }
        self.voted(vote)?;
        self.vote_doubted = !vote_certain;
        self.based(base)?;
        self.accepted = self.accepted.max(accepted);
        self.term = self.term.max(accepted).max(last.term).max(doubt.map_or(0, |doubt| doubt.term));
        self.replicated |= replicated;
        self.replicated_known = true;
        self.doubt = doubt;
        if last.index <= self.base.position.index {
            return Ok(());
        }
        if self.log.has(last) {
            // Both agree up to there.
            self.log.cut(last.index);
            self.astray = false;
        } else if self.beyond.iter().any(|run| run.has(last)) {
            self.truncate(last.index);
        } else {
            self.truncate(last.index - 1);
            self.beyond.push(Run::at(last));
            self.astray = true;
        }
        Ok(())
    }

    fn rely(&mut self, volumes: Vec<(u64, u64)>) {
        for (volume, position) in &volumes {
            let floor = self.volumes.entry(*volume).or_default();
            *floor = (*position).max(*floor);
        }
        raise(&mut self.floors, volumes);
    }

    /// Whether what was cut of the tail may have been acknowledged to others.
    pub(super) const fn may_be_replicated(&self, damaged: bool) -> bool {
        self.replicated || (damaged && !self.replicated_known)
    }

    /// What may follow was not read.
    pub(super) fn doubt(&mut self) {
        self.doubt = Some(Doubt { last: self.last(), term: self.term });
    }

    fn last(&self) -> Position {
        self.log.entries.back().map_or(self.base.position, |entry| entry.position)
    }

    /// What all of it comes to, but for entries.
    pub(super) fn to_state(&self) -> State {
        State {
            vote: self.vote(),
            vote_certain: !self.vote_lost && !self.vote_doubted,
            accepted: self.accepted,
            replicated: self.replicated,
            last: self.last(),
            doubt: self.doubt,
            base: self.base.clone(),
        }
    }

    /// A node has seen the terms of its entries, whatever was lost.
    fn vote(&self) -> Vote {
        let seen = self.last().term.max(self.base.position.term);
        if seen > self.vote.term { Vote { term: seen, candidate: None } } else { self.vote }
    }

    /// The positions that the journal goes on with.
    pub(super) const fn floors(&self) -> &BTreeMap<u64, u64> {
        &self.floors
    }

    /// Where the terms of the log begin.
    pub(super) fn terms(&self) -> Terms {
        let mut terms = Terms::new(self.base.position);
        for entry in &self.log.entries {
            terms.push(entry.position);
        }
        terms
    }

    /// The largest index of an entry in a segment, 0 for none.
    pub(super) fn last_index_of(&self, segment: u64) -> u64 {
        self.last_indexes.get(&segment).copied().unwrap_or(0)
    }

    /// Entries that count, those behind a loss, and volume positions.
    pub(super) fn into_parts(self) -> (Vec<Entry>, Vec<Entry>, BTreeMap<u64, u64>) {
        let beyond = self.beyond.into_iter().flat_map(|run| run.entries).collect();
        (self.log.entries.into(), beyond, self.volumes)
    }
}
