//! What a run exercised: which kinds of faults struck in which phases of the protocol.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::group::Rows;
use crate::plan::FaultKind;

/// What the node was doing when a fault struck. Several may hold at once, and then each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolPhase {
    /// It was reading its disk after a start.
    Booting,
    /// A chunk was being appended or synced.
    ChunkWrite,
    /// A journal record was being appended or synced.
    JournalWrite,
    /// A chunk was being read.
    Reading,
    /// A sweep, a collect or a compaction was under way.
    Collecting,
    /// None of these, or the node was down.
    Other,
}

impl ProtocolPhase {
    /// Every phase, in the order of the exercise table.
    pub const ALL: [Self; 6] =
        [Self::Booting, Self::ChunkWrite, Self::JournalWrite, Self::Reading, Self::Collecting, Self::Other];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::ChunkWrite => "chunk write",
            Self::JournalWrite => "journal write",
            Self::Reading => "reading",
            Self::Collecting => "collecting",
            Self::Other => "other",
        }
    }
}

/// What a run exercised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exercise {
    /// How often each kind of fault took effect in each phase.
    pub cells: BTreeMap<(FaultKind, ProtocolPhase), u64>,
    /// Faults that took effect while a write was pending.
    pub under_write: u64,
    /// Puts and deletes that were acknowledged.
    pub acknowledged_writes: u64,
    /// Operations of any kind that ended well.
    pub acknowledged: u64,
    /// Starts of the node.
    pub boots: u64,
    /// Whether the run could be judged live: the store was not damaged beyond what it can serve.
    pub judged_live: bool,
    /// What a group exercised; empty in the scenarios of one store.
    pub group: Rows,
}

impl Exercise {
    /// Acknowledged operations that a run needs in order to count.
    pub const ACKNOWLEDGED_MIN: u64 = 200;

    /// Whether the run counts in a swarm: enough operations, and a fault while a write was pending.
    #[must_use]
    pub const fn counts(&self) -> bool {
        self.acknowledged >= Self::ACKNOWLEDGED_MIN && self.under_write > 0
    }

    /// Whether a run of a group counts: enough operations, and a fault of the network or while a write was pending.
    #[must_use]
    pub const fn counts_as_group(&self) -> bool {
        self.acknowledged >= Self::ACKNOWLEDGED_MIN / 2 && self.group.is_faulty()
    }

    pub(crate) fn hit(&mut self, kind: FaultKind, phases: &[ProtocolPhase]) {
        for phase in phases {
            *self.cells.entry((kind, *phase)).or_default() += 1;
        }
        let writing = [ProtocolPhase::ChunkWrite, ProtocolPhase::JournalWrite];
        self.under_write += u64::from(phases.iter().any(|phase| writing.contains(phase)));
    }
}
