//! A member of a group: [Raft](crate::raft), its journal, the ledger that comes of the log, and snapshots of it on disk.
//!
//! Composition only, like a node: the machines know nothing of each other, and what one wants the other hears by
//! routing. `Peer` is a member from power on; `Replica` is one whose disk was read.

pub mod event;

use alloc::sync::Arc;

use crate::id::NodeId;
use crate::raft::membership::Membership;
use crate::raft::settings::Settings as RaftSettings;

/// How a member keeps its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bounds and timeouts of Raft.
    pub raft: RaftSettings,
    /// Entries that are applied after one snapshot before the next is made.
    pub snapshot_entries: u64,
}

impl Settings {
    /// What every real member uses.
    pub const STANDARD: Self = Self { raft: RaftSettings::STANDARD, snapshot_entries: 100_000 };
}

/// What a member must be told, since its disk can't tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Who it is.
    pub id: NodeId,
    /// Who takes part before the first entry of the log: the founders, with those who will join later not among them.
    /// The same for all members, for ever.
    pub members: Arc<Membership>,
    /// How it keeps its part.
    pub settings: Settings,
}
