//! Proposals, and changes of who takes part (Ongaro 2014, chapter 4).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::entry::{Payload, Position};
use super::membership::{Change, Membership};
use super::message::Body;
use super::progress::Progress;
use super::{Effect, Raft, Refusal, Role};
use crate::id::NodeId;
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, TICKETS_MAX};
use crate::time::Now;

/// Callers that wait until their entry is committed, or another one in its place: before that nobody can tell. By
/// index and term, ascending: nearly always the newest is the last.
#[derive(Debug, Default)]
pub(super) struct Tickets(VecDeque<((u64, u64), u64)>);

impl Tickets {
    fn insert(&mut self, position: Position, ticket: u64) {
        let key = (position.index, position.term);
        let is_last = self.0.back().is_none_or(|(last, _)| *last < key);
        let at = if is_last { self.0.len() } else { self.0.partition_point(|(before, _)| *before < key) };
        self.0.insert(at, (key, ticket));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A snapshot tells of everything up to `index`, but not what each entry was.
    pub(super) fn overtaken(&mut self, index: u64, out: &mut Vec<Effect>) {
        let gone = self.0.partition_point(|((at, _), _)| *at <= index);
        let unknown = |(_, ticket)| Effect::Answered { ticket, result: Err(Refusal::Overtaken) };
        out.extend(self.0.drain(..gone).map(unknown));
    }

    /// The entry at `position` is committed, and so nothing else with its index ever is.
    pub(super) fn committed(&mut self, position: Position, out: &mut Vec<Effect>) {
        let Position { term, index } = position;
        // Entries are handed out in their order, so nobody waits for one before it.
        while let Some(((_, of), ticket)) = self.0.pop_front_if(|((at, _), _)| *at == index) {
            let result = if of == term { Ok(position) } else { Err(Refusal::Superseded) };
            out.push(Effect::Answered { ticket, result });
        }
    }
}

impl Raft {
    /// Somebody has a command.
    pub(super) fn propose(&mut self, now: Now, ticket: u64, command: Bytes, out: &mut Vec<Effect>) {
        self.lead_alone(now, out);
        let too_large = (command.len() > ENTRY_PAYLOAD_BYTES_MAX).then_some(Refusal::TooLarge);
        match too_large.or_else(|| self.refusal()) {
            Some(refusal) => out.push(Effect::Answered { ticket, result: Err(refusal) }),
            None => {
                let position = self.push(Payload::Command(command));
                self.tickets.insert(position, ticket);
            }
        }
    }

    /// Why nothing can be appended now.
    fn refusal(&self) -> Option<Refusal> {
        let Role::Leader(leader) = &self.role else { return Some(self.not_leader()) };
        if leader.transfer.is_some() {
            return Some(Refusal::Transferring);
        }
        let full =
            leader.uncommitted_bytes >= self.settings.uncommitted_bytes_max || self.tickets.0.len() >= TICKETS_MAX;
        full.then_some(Refusal::Busy)
    }

    /// Somebody wants another membership.
    pub(super) fn change(&mut self, now: Now, ticket: u64, changes: &[Change], out: &mut Vec<Effect>) {
        self.lead_alone(now, out);
        match self.changed(changes) {
            Ok(membership) => {
                let position = self.adopt(membership);
                self.tickets.insert(position, ticket);
            }
            Err(refusal) => out.push(Effect::Answered { ticket, result: Err(refusal) }),
        }
    }

    /// The membership that `changes` would make, if they can be made now.
    fn changed(&self, changes: &[Change]) -> Result<Membership, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let Role::Leader(leader) = &self.role else { return Err(self.not_leader()) };
        let (index, membership) = self.log.membership();
        // Before an entry of its own term is committed, a leader does not know which membership is: two leaders could
        // each change one voter of the same set (Ongaro, raft-dev, 2015-07-10).
        if index > self.commit || self.commit < leader.first || membership.is_joint() {
            return Err(Refusal::ChangePending);
        }
        let has_all = |node: &NodeId| leader.progress.get(node).is_some_and(|progress| progress.matched >= self.commit);
        let behind = |change: &Change| matches!(change, Change::Promote(node) if !has_all(node));
        let next = membership.change(changes)?;
        if changes.iter().any(behind) { Err(Refusal::NotCaughtUp) } else { Ok(next) }
    }

    /// Appends a membership, which is in force from now on.
    fn adopt(&mut self, membership: Membership) -> Position {
        let position = self.push(Payload::Membership(Arc::new(membership.clone())));
        let Role::Leader(leader) = &mut self.role else { panic!("only a leader changes the membership") };
        for node in membership.members().into_iter().filter(|node| *node != self.id) {
            if !leader.progress.contains_key(&node) {
                leader.sessions += 1;
                leader.progress.insert(node, Progress::new(leader.sessions, position.index));
            }
        }
        position
    }

    /// More is committed, perhaps the membership in force: then a joint one is left, and who is not in it any more
    /// goes.
    pub(super) fn membership_committed(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (index, membership) = self.log.membership();
        let membership = Arc::clone(membership);
        let Role::Leader(leader) = &self.role else { return };
        if index > self.commit || self.commit < leader.first {
            return;
        }
        if membership.is_joint() {
            self.adopt(membership.leave());
            return;
        }
        let gone: Vec<NodeId> = leader.progress.keys().filter(|node| !membership.is_member(node)).copied().collect();
        for node in gone {
            self.dismiss(node, out);
        }
        if !membership.is_voter(&self.id) {
            // The others learn what is committed before they elect one of them.
            self.dismiss_all(out);
            self.follow(now, self.vote.term, None, out);
        }
    }

    /// A node that takes part no more learns so, as far as it has the log.
    fn dismiss(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { panic!("only a leader dismisses") };
        let progress = leader.progress.remove(&node).expect("it was listed");
        let (session, commit, round) = (progress.session, progress.matched.min(self.commit), leader.reads.round());
        self.send(node, Body::Heartbeat { session, commit, round }, 0, out);
    }

    fn dismiss_all(&mut self, out: &mut Vec<Effect>) {
        let Role::Leader(leader) = &self.role else { panic!("only a leader dismisses") };
        let nodes: Vec<NodeId> = leader.progress.keys().copied().collect();
        for node in nodes {
            self.dismiss(node, out);
        }
    }
}
