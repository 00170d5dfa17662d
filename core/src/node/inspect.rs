//! A read-only view of a node. Checkers, the status display and metrics use nothing else.

use super::{Node, Stage};
use crate::keystore::store::Store;
use crate::ledger::state::State as Ledger;

/// How far a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading its disk; every request is refused with [`super::RequestError::Starting`].
    Booting,
    /// Answering requests.
    Serving,
    /// Stopped by [`super::Effect::Halt`].
    Halted,
}

/// What checkers, status and metrics may know of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// How far the node has come.
    pub phase: Phase,
    /// The boot counter, 0 until it is known.
    pub boot: u64,
    /// Whether writes are refused until the next start, because the disk failed or damage was found.
    pub read_only: bool,
    /// Names in the ledger.
    pub names: u64,
    /// Chunks that can be read.
    pub chunks: u64,
    /// Conversations that are open.
    pub requests: usize,
    /// Disk requests without a result yet.
    pub disk_requests: usize,
    /// Stretches of files that have lost records.
    pub damages: usize,
}

/// What a node that serves holds.
#[derive(Clone, Copy, Debug)]
pub struct Holdings<'a> {
    /// What every name means.
    pub ledger: &'a Ledger,
    /// The chunks.
    pub store: &'a Store,
    /// Whether space is being given back: a sweep walks, or the store collects or compacts.
    pub reclaiming: bool,
}

impl Node {
    /// What the node holds, for checkers; `None` unless it serves.
    #[must_use]
    pub fn holdings(&self) -> Option<Holdings<'_>> {
        let Stage::Serving(serving) = &self.stage else { return None };
        if !serving.is_ready() {
            return None;
        }
        let reclaiming = serving.sweep.is_some() || serving.store.is_reclaiming();
        Some(Holdings { ledger: serving.ledger(), store: &serving.store, reclaiming })
    }

    /// What checkers, status and metrics may know.
    #[must_use]
    pub fn inspect(&self) -> Inspect {
        let nothing = Inspect {
            phase: Phase::Booting,
            boot: 0,
            read_only: false,
            names: 0,
            chunks: 0,
            requests: 0,
            disk_requests: 0,
            damages: 0,
        };
        match &self.stage {
            Stage::Starting(starting) => Inspect { disk_requests: starting.outstanding(), ..nothing },
            Stage::Halted => Inspect { phase: Phase::Halted, ..nothing },
            Stage::Serving(serving) => Inspect {
                phase: if serving.is_ready() { Phase::Serving } else { Phase::Booting },
                boot: serving.boot,
                read_only: serving.is_read_only(),
                names: serving.ledger().name_count(),
                chunks: serving.store.chunk_count(),
                requests: serving.open_requests(),
                disk_requests: serving.ops.len(),
                damages: serving.damages.len(),
            },
        }
    }
}
