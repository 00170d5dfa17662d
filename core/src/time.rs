//! Time as data: monotonic instants, wall time, and queues of deadlines. Nothing here reads a clock.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in monotonic time: nanoseconds since the driver's start. Never goes backwards, says nothing about dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The driver's start.
    pub const ZERO: Self = Self(0);

    /// The instant `nanos` nanoseconds after the driver's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the driver's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time (584 years after the start) instead of wrapping.
    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Same as [`Instant::since`].
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Wall time: nanoseconds since 1970-01-01T00:00:00Z. May jump in either direction.
///
/// Used only where a person, a file format or ledger time needs a date; every timeout runs on [`Instant`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// The wall time `nanos` nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The wall time `span` earlier; the earliest there is for what would be before 1970.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The wall time `span` later; the latest there is for what would be after 2554.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What the driver's clocks say at the start of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time; never smaller than at an earlier step.
    pub mono: Instant,
    /// Wall time; may jump.
    pub wall: WallTime,
}

/// Deadlines of many things of one kind, at most one each, ordered by time and then by key.
///
/// Invariant: `by_key` and `by_time` hold the same pairs.
#[derive(Clone, Debug)]
pub struct DeadlineQueue<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for DeadlineQueue<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> DeadlineQueue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline of `key`, replacing an earlier one.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Forgets the deadline of `key`; returns whether there was one.
    pub fn clear(&mut self, key: &K) -> bool {
        match self.by_key.remove(key) {
            Some(at) => self.by_time.remove(&(at, key.clone())),
            None => false,
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one key whose deadline is not after `now`, the earliest first; keys with equal deadlines in key order.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no deadline is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_and_never_wrap() {
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Instant::ZERO.since(end), Duration::ZERO);
        assert_eq!(Instant::from_nanos(1_500_000_000).since(Instant::ZERO), Duration::from_millis(1500));
    }

    #[test]
    fn a_deadline_replaces_the_earlier_one_of_its_key() {
        let mut queue = DeadlineQueue::new();
        queue.set('a', Instant::from_nanos(5));
        queue.set('b', Instant::from_nanos(3));
        queue.set('a', Instant::from_nanos(1));
        assert_eq!(queue.next(), Some(Instant::from_nanos(1)));
        assert_eq!(queue.pop_due(Instant::from_nanos(4)), Some('a'));
        assert_eq!(queue.pop_due(Instant::from_nanos(4)), Some('b'));
        assert_eq!(queue.pop_due(Instant::from_nanos(9)), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn equal_deadlines_pop_in_key_order_and_only_when_due() {
        let mut queue = DeadlineQueue::new();
        for key in [3, 1, 2] {
            queue.set(key, Instant::from_nanos(7));
        }
        assert!(queue.clear(&2));
        assert!(!queue.clear(&2));
        assert_eq!(queue.pop_due(Instant::from_nanos(6)), None);
        assert_eq!(queue.pop_due(Instant::from_nanos(7)), Some(1));
        assert_eq!(queue.pop_due(Instant::from_nanos(7)), Some(3));
        assert_eq!(queue.len(), 0);
    }
}
