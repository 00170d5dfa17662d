//! What is run: a member of a group, or something that stands in for it.

use dps_core::ledger::state::State;
use dps_core::machine::Machine;
use dps_core::raft::Raft;
use dps_core::replica::Peer;
use dps_core::replica::event::{Effect, Event};
use dps_core::replica::witness::Witness;

/// What checkers may see of a member.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Its part in the group.
    pub raft: &'a Raft,
    /// What it applied.
    pub ledger: &'a State,
    /// The last index that it applied.
    pub applied: u64,
    /// What it knows of the starts of others.
    pub witness: &'a Witness,
    /// Whether it writes nothing any more until its next start.
    pub stopped: bool,
}

/// A machine that takes a member's events, and lets checkers look inside.
pub trait Member: Machine<Event = Event, Effect = Effect> {
    /// What it is like; `None` while it reads its disk.
    fn look(&self) -> Option<Look<'_>>;
}

impl Member for Peer {
    fn look(&self) -> Option<Look<'_>> {
        // One that has lost its ledger has nothing to be compared.
        let replica = self.replica().filter(|replica| !replica.raft().lacks_state())?;
        let stopped = replica.failed().is_some();
        let (raft, ledger, witness) = (replica.raft(), replica.ledger(), replica.witness());
        Some(Look { raft, ledger, applied: replica.applied(), witness, stopped })
    }
}
