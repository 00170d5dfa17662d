//! CQ: what a leader counts of a follower is what that has said to it: in the leader's term, and in no earlier start of
//! the follower than the leader has had an answer of.

use std::collections::BTreeMap;

use dps_core::id::NodeId;
use dps_core::raft::Raft;
use dps_core::raft::message::{Appended, Body, Message};

use crate::check::Findings;

/// What followers have said.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The last index that a start of a follower has acknowledged to a leader in a term.
    said: BTreeMap<(NodeId, u64, NodeId, u64), u64>,
    /// The last session that a leader has with a follower in a term.
    sessions: BTreeMap<(NodeId, NodeId, u64), u64>,
    /// The newest start of a follower that has answered a leader's host in its session.
    answered: BTreeMap<(NodeId, NodeId), u64>,
}

impl Counted {
    /// A member is about to say something.
    pub(crate) fn sent(&mut self, message: &Message) {
        let Message { from, incarnation, to, term, ref body } = *message;
        if let Body::AppendReply { result: Appended::Matched { index }, .. } = body {
            let said = self.said.entry((from, incarnation, to, term)).or_default();
            *said = (*index).max(*said);
        }
        if let Body::Append { session, .. } | Body::Heartbeat { session, .. } | Body::Install { session, .. } = body {
            let last = self.sessions.entry((from, to, term)).or_default();
            *last = (*session).max(*last);
        }
    }

    /// A member is about to hear something.
    pub(crate) fn hears(&mut self, message: &Message, term: u64) {
        let (Body::AppendReply { session, .. } | Body::HeartbeatReply { session, .. }) = message.body else { return };
        let last = self.sessions.get(&(message.to, message.from, term));
        if last == Some(&session) && message.term == term {
            let answered = self.answered.entry((message.to, message.from)).or_default();
            *answered = message.incarnation.max(*answered);
        }
    }

    /// A member was started, and has heard nothing.
    pub(crate) fn started(&mut self, member: NodeId) {
        self.answered.retain(|(hearer, _), _| *hearer != member);
    }

    /// A member after a step in which it heard a follower.
    pub(crate) fn look(&self, at: u64, host: u32, raft: &Raft, follower: NodeId, findings: &mut Findings) {
        let Some(matched) = raft.matched(&follower).filter(|matched| *matched > 0) else { return };
        let start = self.answered.get(&(raft.id(), follower)).copied().unwrap_or(0);
        let said = self.said.get(&(follower, start, raft.id(), raft.term())).copied().unwrap_or(0);
        if matched > said {
            let text = format!(
                "host {host} counts entries up to {matched} of {follower}, which said {said} in term {} since start {start}",
                raft.term()
            );
            findings.correctness("CQ", at, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::setup::node_id;
    use super::*;

    #[test]
    fn what_another_start_or_term_said_is_told_apart() {
        let mut counted = Counted::default();
        let result = Appended::Matched { index: 7 };
        let body = Body::AppendReply { session: 1, result, counts: true, clock: 0 };
        let mut message = Message { from: node_id(1), incarnation: 3, to: node_id(0), term: 5, body };
        counted.sent(&message);
        let round = Body::Heartbeat { session: 1, commit: 0, round: 1 };
        counted.sent(&Message { from: node_id(0), incarnation: 1, to: node_id(1), term: 5, body: round });
        message.incarnation = 4;
        counted.hears(&message, 5);
        message.incarnation = 9;
        counted.hears(&message, 6);
        assert_eq!(counted.answered[&(node_id(0), node_id(1))], 4);
        assert_eq!(counted.said.get(&(node_id(1), 3, node_id(0), 5)), Some(&7));
        counted.started(node_id(0));
        assert!(counted.answered.is_empty());
    }
}
