//! Handing leadership over (Ongaro 2014, section 3.10).

use alloc::vec::Vec;

use super::entry::Position;
use super::message::Body;
use super::{Effect, Raft, Reason, Role, reject};
use crate::id::NodeId;
use crate::time::{Instant, Now};

/// A hand-over under way. It ends by a newer term, or expires.
#[derive(Debug)]
pub(super) struct Transfer {
    to: NodeId,
    expires_at: Instant,
    /// Whether the target was told.
    told: bool,
}

impl Transfer {
    /// When the leader gives up and takes proposals again.
    pub(super) const fn expires_at(&self) -> Instant {
        self.expires_at
    }
}

impl Raft {
    /// Somebody wants another voter to lead. Nothing happens if it is none, or this node does not lead.
    pub(super) fn transfer(&mut self, now: Now, to: NodeId) {
        let is_voter = self.membership().voters().contains(&to);
        let expires_at = now.mono + self.settings.election_timeout_max;
        let Role::Leader(leader) = &mut self.role else { return };
        if is_voter && to != self.id && leader.transfer.is_none() {
            leader.transfer = Some(Transfer { to, expires_at, told: false });
        }
    }

    /// Tells the target once it has everything.
    pub(super) fn hand_over(&mut self, out: &mut Vec<Effect>) {
        let last = self.log.last();
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let has_all = leader.progress.get(&transfer.to).is_some_and(|progress| progress.matched == last.index);
        if has_all && !transfer.told {
            transfer.told = true;
            let to = transfer.to;
            self.send(to, Body::TimeoutNow { last }, 0, out);
        }
    }

    /// The leader wants this node to take over.
    pub(super) fn take_over(&mut self, now: Now, from: NodeId, last: Position, out: &mut Vec<Effect>) {
        if !self.may_elect(self.log.last()) {
            return reject(from, Reason::InDoubt, out);
        }
        if self.lacks_state {
            return reject(from, Reason::NoState, out);
        }
        let is_voter = self.membership().voters().contains(&self.id);
        if self.leader() != Some(from) || !is_voter || self.log.last() < last {
            return reject(from, Reason::Unasked, out);
        }
        self.ask_for_votes(now, true, out);
    }
}
