//! The only place that reads a clock.

use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use dps_core::time::{Instant, Now, WallTime};

/// Monotonic time since the clock was made, and wall time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: StdInstant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: StdInstant::now() }
    }

    /// What the clocks say.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { mono: Instant::from_nanos(nanos(self.origin.elapsed())), wall: WallTime::from_nanos(nanos(wall)) }
    }

    /// How long it is until `at`; zero when that has passed.
    #[must_use]
    pub fn until(&self, at: Instant) -> Duration {
        at.since(self.now().mono)
    }
}

/// Saturates after 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_not_waited_for() {
        let clock = Clock::start();
        let now = clock.now();
        assert_eq!(clock.until(Instant::ZERO), Duration::ZERO);
        let hour = Duration::from_secs(3_600);
        assert!(clock.until(now.mono + hour) <= hour);
        assert!(clock.now().mono >= now.mono);
    }
}
