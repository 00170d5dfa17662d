//! Parts of dps measured beside their peers, in one run: what a figure means depends on the machine.

pub mod peer;

use sim::bench::Trio;

/// Three nodes in memory that commit commands.
pub trait Group {
    /// A group with a leader.
    fn new() -> Self;
    /// Keeps so many commands under way until so many more are committed.
    fn commit(&mut self, count: u64, in_flight: u64);
    /// Keeps so many reads under way until so many more are confirmed.
    fn read(&mut self, count: u64, in_flight: u64);
    /// Messages that were sent so far.
    fn messages(&self) -> u64;
}

/// Ours is the one of `sim bench`.
impl Group for Trio {
    fn new() -> Self {
        Self::new()
    }

    fn commit(&mut self, count: u64, in_flight: u64) {
        Self::commit(self, count, in_flight);
    }

    fn read(&mut self, count: u64, in_flight: u64) {
        Self::read(self, count, in_flight);
    }

    fn messages(&self) -> u64 {
        Self::messages(self)
    }
}
