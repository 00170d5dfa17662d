//! Epochs, sweeps, and what is given up without one.
//!
//! A sweep looks for what the ledger refers to at the moment it starts, and lets go whatever else is stored. A put may
//! be on its way then, whose chunks are stored but not yet referred to. So each sweep begins an *epoch*, each put holds
//! a *lease*: the epoch in which it began to store; and a put with a lease of an earlier epoch is refused (rules L5,
//! C1).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::State;
use super::value::{KEY_CLOCK, KEY_FLOOR, KEY_SWEEPS, Value};
use crate::crypto::hash::HASH_LEN;
use crate::layout::{Reader, Truncated};
use crate::ledger::command::Outcome;
use crate::ledger::tree::Tree;
use crate::time::WallTime;

/// A sweep that was started and neither completed nor superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sweep {
    /// The epoch it began.
    pub epoch: u64,
    /// When, in ledger time.
    pub started_at: WallTime,
}

/// A sweep that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompletedSweep {
    /// The epoch it began.
    pub epoch: u64,
    /// When it was completed, in ledger time.
    pub completed_at: WallTime,
    /// SHA-256 of its filter.
    pub filter_hash: [u8; HASH_LEN],
    /// Whether a person asked for it.
    pub by_person: bool,
}

/// What is known of sweeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sweeps {
    /// How many were started.
    epoch: u64,
    /// Invariant: of the newest epoch.
    open: Option<Sweep>,
    /// The newest one. Invariant: of the newest epoch or an earlier one.
    completed: Option<CompletedSweep>,
}

impl Sweeps {
    /// `u64 epoch | u8 open: 0, or 1 and u64 started at | u8 completed: 0, or 1 and u64 epoch, u64 completed at,
    /// 32-byte filter hash, u8 by person`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.push(u8::from(self.open.is_some()));
        if let Some(Sweep { epoch: _, started_at }) = self.open {
            out.extend_from_slice(&started_at.as_nanos().to_le_bytes());
        }
        out.push(u8::from(self.completed.is_some()));
        if let Some(CompletedSweep { epoch, completed_at, filter_hash, by_person }) = self.completed {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&completed_at.as_nanos().to_le_bytes());
            out.extend_from_slice(&filter_hash);
            out.push(u8::from(by_person));
        }
    }

    /// What [`Sweeps::encode`] wrote; `None` for what it never writes.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, Truncated> {
        let epoch = reader.u64()?;
        let open = match reader.u8()? {
            0 => None,
            1 => Some(Sweep { epoch, started_at: WallTime::from_nanos(reader.u64()?) }),
            _ => return Ok(None),
        };
        let completed = match reader.u8()? {
            0 => None,
            1 => {
                let (epoch, completed_at) = (reader.u64()?, WallTime::from_nanos(reader.u64()?));
                let (filter_hash, by_person) = (reader.array()?, reader.u8()?);
                if by_person > 1 {
                    return Ok(None);
                }
                Some(CompletedSweep { epoch, completed_at, filter_hash, by_person: by_person == 1 })
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { epoch, open, completed }))
    }

    /// Whether [`Sweeps::check`] finds nothing, and there is an index for every epoch up to `applied`.
    pub(super) fn is_sound(&self, now: WallTime, applied: u64) -> bool {
        let open = self.open.is_none_or(|open| open.epoch == self.epoch && open.started_at <= now);
        let completed = self.completed.is_none_or(|completed| {
            (1..=self.epoch).contains(&completed.epoch)
                && completed.completed_at <= now
                && self.open.is_none_or(|open| open.epoch > completed.epoch)
        });
        (1..=applied).contains(&self.epoch) && open && completed
    }

    /// Asserts what the fields say.
    pub(super) fn check(&self, now: WallTime) {
        assert!(self.epoch > 0, "nothing is kept of sweeps before the first");
        if let Some(Sweep { epoch, started_at }) = self.open {
            assert_eq!(epoch, self.epoch, "only the newest sweep is open");
            assert!(started_at <= now, "the open sweep was started before now");
        }
        if let Some(CompletedSweep { epoch, completed_at, .. }) = self.completed {
            assert!((1..=self.epoch).contains(&epoch), "a completed sweep was started");
            assert!(completed_at <= now, "the completed sweep was completed before now");
            assert!(self.open.is_none_or(|open| open.epoch > epoch), "a sweep is completed or open");
        }
    }
}

impl State {
    /// How many sweeps were started: the lease that a put gets which begins now, and the least that is taken.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.sweeps().map_or(0, |sweeps| sweeps.epoch)
    }

    /// The sweep that was started last, unless it is completed.
    #[must_use]
    pub fn open_sweep(&self) -> Option<Sweep> {
        self.sweeps()?.open
    }

    /// The sweep that was completed last.
    #[must_use]
    pub fn completed_sweep(&self) -> Option<CompletedSweep> {
        self.sweeps()?.completed
    }

    /// Index of the newest clean, 0 before the first: contents that were not put since are missing.
    #[must_use]
    pub fn clean_floor(&self) -> u64 {
        self.tree.get(KEY_FLOOR).map_or(0, Value::as_floor)
    }

    pub(super) fn sweeps(&self) -> Option<&Sweeps> {
        self.tree.get(KEY_SWEEPS).map(Value::as_sweeps)
    }

    pub(super) fn sweep_start(&mut self) -> Outcome {
        let mut sweeps = self.sweeps().cloned().unwrap_or_default();
        sweeps.epoch = sweeps.epoch.checked_add(1).expect("every epoch has an index of its own");
        let epoch = sweeps.epoch;
        sweeps.open = Some(Sweep { epoch, started_at: self.time });
        self.tree.insert(KEY_SWEEPS, Value::Sweeps(Box::new(sweeps)));
        assert_eq!(self.epoch(), epoch, "leases of earlier epochs are refused from now on");
        Outcome::SweepStarted { epoch }
    }

    pub(super) fn sweep_complete(&mut self, epoch: u64, filter_hash: [u8; HASH_LEN], by_person: bool) -> Outcome {
        let Some(mut sweeps) = self.sweeps().cloned() else { return Outcome::Superseded };
        if sweeps.open.is_none_or(|open| open.epoch != epoch) {
            return Outcome::Superseded;
        }
        sweeps.open = None;
        sweeps.completed = Some(CompletedSweep { epoch, completed_at: self.time, filter_hash, by_person });
        self.tree.insert(KEY_SWEEPS, Value::Sweeps(Box::new(sweeps)));
        Outcome::SweepCompleted
    }

    /// Raises the clean floor above all contents at once. None of them weighs anything from then on.
    pub(super) fn clean(&mut self, index: u64) -> Outcome {
        assert!(index > self.clean_floor(), "the floor only rises");
        self.tree.insert(KEY_FLOOR, Value::Floor(index));
        self.counts.live_bytes = 0;
        self.counts.tombstone_bytes = 0;
        Outcome::Cleaned
    }

    /// Forgets everything but the clock and sweeps. They go on as they are: an open one keeps what was there when it
    /// started, which is too much and never too little.
    pub(super) fn deep_clean(&mut self) -> Outcome {
        let kept = [KEY_SWEEPS, KEY_CLOCK].map(|key| (key, self.tree.remove(key)));
        self.tree = Tree::new();
        self.counts = super::Counts::default();
        for (key, value) in kept {
            if let Some(value) = value {
                self.tree.insert(key, value);
            }
        }
        Outcome::Cleaned
    }
}
