//! Three nodes of [`dps_core::raft`] in memory, and callers that keep so many commands or reads under way.
//!
//! Each turn of a node takes all that is ready and flushes once, as a driver does. A write is durable when its node is
//! told so in its next turn, and what relies on it is held back until then. Entries go from node to node as they are,
//! without a codec.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use dps_core::id::NodeId;
use dps_core::machine::Machine;
use dps_core::raft::entry::Position;
use dps_core::raft::membership::Membership;
use dps_core::raft::settings::Settings;
use dps_core::raft::snapshot::Snapshot;
use dps_core::raft::{Base, Effect, Event, Raft, Start, Vote};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

use super::{COMPACT_AFTER, PAYLOAD_BYTES};

struct Host {
    raft: Raft,
    inbox: VecDeque<Event>,
    applied: Position,
    compacted: u64,
}

/// The group.
pub struct Trio {
    hosts: Vec<Host>,
    membership: Arc<Membership>,
    payload: Bytes,
    nanos: u64,
    messages: u64,
    tickets: u64,
    committed: u64,
    confirmed: u64,
    out: Vec<Effect>,
}

fn node(number: usize) -> NodeId {
    NodeId::from_bytes([number as u8; 20])
}

impl Trio {
    fn now(&self) -> Now {
        Now { mono: Instant::from_nanos(self.nanos), wall: WallTime::default() }
    }

    fn leader(&self) -> Option<usize> {
        self.hosts.iter().position(|host| host.raft.is_leader())
    }

    /// One turn of each node.
    fn turn(&mut self) {
        self.nanos += 1_000;
        let now = self.now();
        let mut out = std::mem::take(&mut self.out);
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            if host.inbox.is_empty() && host.raft.deadline().is_none_or(|due| due > now.mono) {
                continue;
            }
            if host.inbox.is_empty() {
                host.raft.step(now, Event::Wake, &mut out);
            }
            while let Some(event) = host.inbox.pop_front() {
                host.raft.step(now, event, &mut out);
            }
            host.raft.flush(now, &mut out);
            for effect in out.drain(..) {
                self.perform(at, effect);
            }
        }
        self.out = out;
    }

    fn perform(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Persist(write) => self.hosts[at].inbox.push_back(Event::Persisted { write: write.number }),
            Effect::Send(message) => {
                self.messages += 1;
                let to = usize::from(message.to.as_bytes()[0]) - 1;
                self.hosts[to].inbox.push_back(Event::Received(message));
            }
            Effect::Apply(entries) => {
                let host = &mut self.hosts[at];
                host.applied = entries.last().expect("something is applied").position;
                if host.applied.index >= host.compacted + COMPACT_AFTER {
                    host.compacted = host.applied.index;
                    let membership = Arc::clone(&self.membership);
                    let snapshot = Snapshot { last: host.applied, membership, digest: [0; 32], bytes: 0 };
                    host.inbox.push_back(Event::Snapshotted { snapshot, through: host.applied.index });
                }
            }
            Effect::Answered { result, .. } => {
                result.expect("a stable leader commits");
                self.committed += 1;
            }
            Effect::Readable { result, .. } => {
                result.expect("a stable leader confirms");
                self.confirmed += 1;
            }
            Effect::Restore(_) | Effect::Fetch { .. } => panic!("nobody falls behind"),
            Effect::Settled => panic!("nothing is in doubt"),
            Effect::Note(_) => {}
        }
    }
}

impl Default for Trio {
    fn default() -> Self {
        Self::new()
    }
}

impl Trio {
    /// A group with a leader.
    ///
    /// # Panics
    /// Never: three voters are a group.
    #[must_use]
    pub fn new() -> Self {
        let membership = Arc::new(Membership::new((1..=3).map(node)).expect("three voters"));
        let host = |number: usize| {
            let start = Start {
                id: node(number),
                incarnation: 1,
                vote: Vote::default(),
                base: Base { position: Position::ZERO, membership: Arc::clone(&membership) },
                snapshot: None,
                entries: Vec::new(),
                doubt: None,
                vote_certain: true,
                lacks_state: false,
                settings: Settings { trailing_entries: 16, ..Settings::STANDARD },
            };
            let rng = Seed::new([number as u8; 32]).rng();
            let raft = Raft::new(start, rng, Now::default());
            Host { raft, inbox: VecDeque::new(), applied: Position::ZERO, compacted: 0 }
        };
        let hosts = (1..=3).map(host).collect();
        let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
        let mut group = Self {
            hosts,
            membership,
            payload,
            nanos: 0,
            messages: 0,
            tickets: 0,
            committed: 0,
            confirmed: 0,
            out: Vec::new(),
        };
        while group.leader().is_none() {
            group.nanos += 1_000_000;
            group.turn();
        }
        for _ in 0..100 {
            group.turn();
        }
        group
    }

    /// Keeps `in_flight` commands under way until `count` more are committed.
    ///
    /// # Panics
    /// When a command is refused or nobody leads, which is a bug of the machine.
    pub fn commit(&mut self, count: u64, in_flight: u64) {
        let leader = self.leader().expect("one leads");
        let (first, until) = (self.committed, self.committed + count);
        let mut proposed = first;
        while self.committed < until {
            while proposed < until && proposed - self.committed < in_flight {
                proposed += 1;
                self.tickets += 1;
                let command = self.payload.clone();
                self.hosts[leader].inbox.push_back(Event::Propose { ticket: self.tickets, command });
            }
            self.turn();
        }
    }

    /// Keeps `in_flight` reads under way until `count` more are confirmed.
    ///
    /// # Panics
    /// When a read is refused or nobody leads, which is a bug of the machine.
    pub fn read(&mut self, count: u64, in_flight: u64) {
        let leader = self.leader().expect("one leads");
        let until = self.confirmed + count;
        let mut asked = self.confirmed;
        while self.confirmed < until {
            while asked < until && asked - self.confirmed < in_flight {
                asked += 1;
                self.tickets += 1;
                self.hosts[leader].inbox.push_back(Event::Read { ticket: self.tickets });
            }
            self.turn();
        }
    }

    /// Messages that were sent so far.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_committed_and_confirmed_as_were_asked_for() {
        let mut trio = Trio::new();
        for (round, in_flight) in (1..).zip([1, 7, 64, 256]) {
            trio.commit(1_000, in_flight);
            assert_eq!((trio.committed, trio.confirmed), (1_000 * round, 1_000 * (round - 1)));
            trio.read(1_000, in_flight);
            assert_eq!((trio.committed, trio.confirmed), (1_000 * round, 1_000 * round));
            assert_eq!(trio.tickets, 2_000 * round, "each is asked for once");
        }
        // One entry is the first of the leader's term.
        let applied: Vec<u64> = trio.hosts.iter().map(|host| host.applied.index).collect();
        assert_eq!(applied.iter().max(), Some(&4_001));
        trio.hosts.iter().for_each(|host| host.raft.check());
    }

    /// What is left of a log is bounded, whatever is committed.
    #[test]
    fn logs_are_compacted() {
        let mut trio = Trio::new();
        trio.commit(3 * COMPACT_AFTER, 64);
        for host in &trio.hosts {
            host.raft.check();
            assert!(host.raft.last().index - host.raft.base().index < 2 * COMPACT_AFTER);
        }
    }
}
