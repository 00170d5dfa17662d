//! What is run: the node, or something that stands in for it.

use dps_core::machine::Machine;
use dps_core::node::{Effect, Event, Holdings, Node};

/// A machine that takes a node's events, and lets checkers look inside if it has something to show.
pub trait Subject: Machine<Event = Event, Effect = Effect> {
    /// What it holds; `None` while it can't tell, and from what never can. It is not judged by it then.
    fn holdings(&self) -> Option<Holdings<'_>> {
        None
    }
}

impl Subject for Node {
    fn holdings(&self) -> Option<Holdings<'_>> {
        Self::holdings(self)
    }
}
