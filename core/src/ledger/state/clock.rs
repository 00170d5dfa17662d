//! Ledger time and when it is to be doubted (rule L3).
//!
//! Ledger time follows the times of commands and never goes backwards. A wrong clock may take it far ahead, and a large
//! step is taken all the same: it may as well be right, after a long pause. But where [`Command::SetClockRule`] says
//! so, the clock is then *doubtful*, and whatever takes something away by time waits: reaps, sweeps, the end of
//! sessions. That ends when somebody confirms the clock, or when it has gone on for a day by small steps, since a
//! person had that long to notice.
//!
//! Only [`Command::ResetClock`] sets the clock back. What was written under the later time keeps it: a tombstone may be
//! reaped later than it could, and no later one before it.
//!
//! [`Command::SetClockRule`]: crate::ledger::command::Command::SetClockRule
//! [`Command::ResetClock`]: crate::ledger::command::Command::ResetClock

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::value::{KEY_CLOCK, Value};
use super::{Bounds, State};
use crate::layout::{Reader, Truncated};
use crate::ledger::command::Outcome;
use crate::time::WallTime;

/// What is known of the clock besides the time. The default is what a ledger has that never used any of it: no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// Whether a large step is doubted.
    ruled: bool,
    /// Where the newest large step led to. Invariant: `ruled`, and less than a large step ago.
    doubtful_since: Option<WallTime>,
    /// The largest ledger time that the clock was ever set back from.
    peak: Option<WallTime>,
}

impl Clock {
    /// `u8 ruled | u8 doubtful: 0, or 1 and u64 since | u8 set back: 0, or 1 and u64 peak`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.ruled));
        for time in [self.doubtful_since, self.peak] {
            out.push(u8::from(time.is_some()));
            if let Some(time) = time {
                out.extend_from_slice(&time.as_nanos().to_le_bytes());
            }
        }
    }

    /// What [`Clock::encode`] wrote; `None` for what it never writes.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, Truncated> {
        let ruled = reader.u8()?;
        let mut times = [None, None];
        for time in &mut times {
            *time = match reader.u8()? {
                0 => None,
                1 => Some(WallTime::from_nanos(reader.u64()?)),
                _ => return Ok(None),
            };
        }
        let [doubtful_since, peak] = times;
        Ok((ruled <= 1).then_some(Self { ruled: ruled == 1, doubtful_since, peak }))
    }

    /// Whether this can be what is known of a clock that says `now`.
    pub(super) fn is_sound(&self, now: WallTime) -> bool {
        *self != Self::default() && self.doubtful_since.is_none_or(|since| self.ruled && since <= now)
    }

    /// The largest ledger time that there ever was, where it is `now`.
    pub(super) fn latest(&self, now: WallTime) -> WallTime {
        self.peak.map_or(now, |peak| peak.max(now))
    }

    pub(super) const fn is_doubtful(&self) -> bool {
        self.doubtful_since.is_some()
    }

    pub(super) const fn was_set_back(&self) -> bool {
        self.peak.is_some()
    }

    /// What is known once ledger time has gone on from `from` to `to`.
    fn stepped(mut self, from: WallTime, to: WallTime, bounds: &Bounds) -> Self {
        let far = |since: WallTime| since.saturating_add(bounds.clock_step);
        if self.ruled && to > far(from) {
            self.doubtful_since = Some(to);
        } else if self.doubtful_since.is_some_and(|since| far(since) <= to) {
            self.doubtful_since = None;
        }
        self
    }
}

impl State {
    /// Where the step led to that makes ledger time doubtful; `None` if it is not.
    #[must_use]
    pub fn doubtful_since(&self) -> Option<WallTime> {
        self.clock().doubtful_since
    }

    pub(super) fn clock(&self) -> Clock {
        self.tree.get(KEY_CLOCK).map_or_else(Clock::default, |value| *value.as_clock())
    }

    /// What will be known of the clock once ledger time is `time`, which is not before now.
    pub(super) fn clock_at(&self, time: WallTime, bounds: &Bounds) -> Clock {
        self.clock().stepped(self.time, time, bounds)
    }

    /// Ledger time follows `time`, but not backwards.
    pub(super) fn step_clock(&mut self, time: WallTime, bounds: &Bounds) {
        if time > self.time {
            let clock = self.clock_at(time, bounds);
            self.time = time;
            self.set_clock(clock);
        }
    }

    pub(super) fn set_clock_rule(&mut self, on: bool) -> Outcome {
        let clock = self.clock();
        let doubtful_since = clock.doubtful_since.filter(|_| on);
        self.set_clock(Clock { ruled: on, doubtful_since, ..clock });
        Outcome::ClockSet
    }

    pub(super) fn confirm_clock(&mut self) -> Outcome {
        let clock = self.clock();
        self.set_clock(Clock { doubtful_since: None, ..clock });
        Outcome::ClockSet
    }

    pub(super) fn reset_clock(&mut self, time: WallTime) -> Outcome {
        let mut clock = self.clock();
        if time < self.time {
            clock.peak = clock.peak.max(Some(self.time));
        }
        clock.doubtful_since = None;
        self.time = time;
        self.set_clock(clock);
        Outcome::ClockSet
    }

    /// The largest ledger time that there ever was.
    pub(super) fn latest(&self) -> WallTime {
        self.clock().latest(self.time)
    }

    fn set_clock(&mut self, clock: Clock) {
        if clock == self.clock() {
            return;
        }
        if clock == Clock::default() {
            self.tree.remove(KEY_CLOCK);
        } else {
            self.tree.insert(KEY_CLOCK, Value::Clock(Box::new(clock)));
        }
    }

    /// Asserts what the fields of the clock say.
    pub(super) fn check_clock(&self, bounds: &Bounds) {
        let stored = self.tree.get(KEY_CLOCK).map(|value| *value.as_clock());
        assert_ne!(stored, Some(Clock::default()), "what was never used is not there");
        let clock = self.clock();
        let Some(since) = clock.doubtful_since else { return };
        assert!(clock.ruled, "without the rule no clock is doubtful");
        assert!(since <= self.time, "the step was taken");
        assert!(self.time < since.saturating_add(bounds.clock_step) || since == self.time, "a doubt ends");
    }
}
