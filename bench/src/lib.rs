//! Parts of dps measured beside their peers, in one run: what a figure means depends on the machine.

pub mod ours;
pub mod peer;

/// Bytes of a command.
pub const PAYLOAD_BYTES: usize = 256;

/// Entries after which a log is compacted.
pub const COMPACT_AFTER: u64 = 8_192;

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
