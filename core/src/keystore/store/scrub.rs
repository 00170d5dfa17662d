//! Scrub: every chunk is read and hashed once in a period, however little anybody asks for it.
//!
//! One chunk at a time in the order of identifiers, evenly over the period. A chunk that is found bad is told and no
//! longer believed: whoever puts it stores it anew. How far a round is survives a restart.

use core::time::Duration;

use super::{Effect, Read, Store, Token};
use crate::config::Config;
use crate::disk::scrub::ScrubPosition;
use crate::disk::{DiskReply, DiskRequest, DiskResult};
use crate::limits::{SCRUB_BYTES_PER_SECOND_MAX, SCRUB_UNSAVED_MAX};
use crate::note::Note;
use crate::time::Instant;

use alloc::vec::Vec;

/// The scrub of a store.
#[derive(Debug)]
pub(super) struct Scrub {
    pub(super) period: Duration,
    position: ScrubPosition,
    phase: Phase,
    /// When it last did something; it begins to count when the store is first flushed.
    last: Option<Instant>,
    /// Chunks read in this round, since the start at the most, and how many of them were bad.
    read: u64,
    bad: u64,
    /// Chunks read since the position was saved.
    pub(super) unsaved: u64,
    /// Whether the position can't be saved in this boot.
    unsavable: bool,
}

#[derive(Debug)]
enum Phase {
    /// Where an earlier boot was is not known yet.
    Fresh,
    /// That is being read.
    Recalling,
    Idle,
    /// A chunk is being read.
    Reading,
    /// The position is being saved; the second request, once the first is issued.
    Saving(Option<DiskRequest>),
}

impl Scrub {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            period: config.scrub_period(),
            position: ScrubPosition::default(),
            phase: Phase::Fresh,
            last: None,
            read: 0,
            bad: 0,
            unsaved: 0,
            unsavable: false,
        }
    }

    /// The chunk that it wanted was read.
    pub(super) fn read_done(&mut self, good: bool) {
        assert!(matches!(self.phase, Phase::Reading), "a read was asked for");
        self.phase = Phase::Idle;
        self.read += 1;
        self.bad += u64::from(!good);
        self.unsaved += 1;
    }
}

impl Store {
    /// When the next chunk is due: a round takes the period, but never more than so many bytes a second.
    pub(super) fn scrub_deadline(&self) -> Option<Instant> {
        let chunks = self.index.total().chunks;
        let due = matches!(self.scrub.phase, Phase::Fresh | Phase::Idle) && chunks > 0 && !self.closing;
        let last = self.scrub.last.filter(|_| due)?;
        let average = self.index.total().chunk_bytes / chunks;
        let fastest = u128::from(average) * 1_000_000_000 / u128::from(SCRUB_BYTES_PER_SECOND_MAX);
        let pause = (self.scrub.period.as_nanos() / u128::from(chunks)).max(fastest).max(1);
        Some(last + Duration::from_nanos(u64::try_from(pause).unwrap_or(u64::MAX)))
    }

    /// Does what is due.
    pub(super) fn scrub_on(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let last = *self.scrub.last.get_or_insert(now);
        if self.scrub_deadline().is_none_or(|due| due > now) {
            return;
        }
        match self.scrub.phase {
            Phase::Fresh => {
                self.scrub.phase = Phase::Recalling;
                out.push(Effect::Disk { token: Token::Scrub, request: ScrubPosition::read() });
            }
            Phase::Idle => {
                assert!(last <= now, "time goes forward");
                self.scrub.last = Some(now);
                self.scrub_next(out);
            }
            Phase::Recalling | Phase::Reading | Phase::Saving(_) => unreachable!("nothing is due meanwhile"),
        }
    }

    fn scrub_next(&mut self, out: &mut Vec<Effect>) {
        if self.scrub.unsaved >= SCRUB_UNSAVED_MAX && self.save_scrub(out) {
            return;
        }
        let next = self.index.walk(self.scrub.position.after).next();
        if let Some((chunk, located)) = next {
            self.scrub.position.after = Some(chunk);
            self.scrub.phase = Phase::Reading;
            return self.read(chunk, located, Read::Scrub { chunk, place: located.place }, out);
        }
        let (chunks, bad) = (core::mem::take(&mut self.scrub.read), core::mem::take(&mut self.scrub.bad));
        self.scrub.position = ScrubPosition { rounds: self.scrub.position.rounds.saturating_add(1), after: None };
        out.push(Effect::Note(Note::Scrubbed { chunks, bad }));
        self.save_scrub(out);
    }

    /// Begins to save the position; false if it can't be saved.
    fn save_scrub(&mut self, out: &mut Vec<Effect>) -> bool {
        if self.scrub.unsavable || self.failed.is_some() {
            return false;
        }
        let [append, publish] = self.scrub.position.publication(&self.boot.store);
        self.scrub.phase = Phase::Saving(Some(publish));
        out.push(Effect::Disk { token: Token::Scrub, request: append });
        true
    }

    /// Something that it asked the disk for, other than a chunk, is done.
    pub(super) fn scrub_done(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        match &mut self.scrub.phase {
            Phase::Recalling => {
                self.scrub.phase = Phase::Idle;
                if let Ok(DiskReply::Read(bytes)) = result {
                    self.scrub.position = ScrubPosition::decode(&self.boot.store, bytes).unwrap_or_default();
                }
            }
            Phase::Saving(next) => match (next.take(), result) {
                (Some(request), Ok(_)) => out.push(Effect::Disk { token: Token::Scrub, request }),
                (None, Ok(_)) => {
                    self.scrub.unsaved = 0;
                    self.scrub.phase = Phase::Idle;
                }
                // It is only remembered: without it, the next boot begins a round anew.
                (_, Err(_)) => {
                    self.scrub.unsavable = true;
                    self.scrub.phase = Phase::Idle;
                }
            },
            Phase::Fresh | Phase::Idle | Phase::Reading => panic!("nothing was asked for"),
        }
    }

    /// Whether nothing of the scrub stands in the way of a close: what was read since is saved first.
    pub(super) fn close_scrub(&mut self, out: &mut Vec<Effect>) -> bool {
        match self.scrub.phase {
            Phase::Saving(_) => false,
            Phase::Reading => self.scrub.unsaved == 0 || self.scrub.unsavable,
            Phase::Idle if self.scrub.unsaved > 0 => !self.save_scrub(out),
            Phase::Fresh | Phase::Recalling | Phase::Idle => true,
        }
    }

    pub(super) fn check_scrub(&self) {
        let reads = self.reads.values().filter(|read| matches!(read, Read::Scrub { .. })).count();
        assert_eq!(reads == 1, matches!(self.scrub.phase, Phase::Reading), "a scrub reads one chunk at a time");
        assert!(reads <= 1, "and only one");
    }
}
