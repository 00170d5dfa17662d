//! raft-rs (the `raft` crate) in the same loop: entries and hard state go to its in-memory storage at once.

use std::collections::VecDeque;

use raft::eraftpb::{Entry, EntryType, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, ReadOnlyOption, StateRole};
use sim::bench::{COMPACT_AFTER, PAYLOAD_BYTES};
use slog::{Discard, Logger, o};

use crate::Group;

struct Host {
    raw: RawNode<MemStorage>,
    inbox: VecDeque<Message>,
    applied: u64,
    compacted: u64,
}

/// The group.
pub struct Peer {
    hosts: Vec<Host>,
    leader: usize,
    payload: Vec<u8>,
    messages: u64,
    committed: u64,
    confirmed: u64,
}

impl Peer {
    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.messages += 1;
            self.hosts[message.to as usize - 1].inbox.push_back(message);
        }
    }

    fn apply(&mut self, at: usize, entries: Vec<Entry>) {
        for entry in entries {
            let host = &mut self.hosts[at];
            host.applied = entry.index;
            if at == self.leader && entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                self.committed += 1;
            }
            if host.applied >= host.compacted + COMPACT_AFTER {
                host.compacted = host.applied;
                let through = host.applied - 16;
                host.raw.mut_store().wl().compact(through).expect("it is in the log");
            }
        }
    }

    fn turn(&mut self) {
        for at in 0..self.hosts.len() {
            while let Some(message) = self.hosts[at].inbox.pop_front() {
                self.hosts[at].raw.step(message).expect("messages make sense");
            }
            while self.hosts[at].raw.has_ready() {
                let mut ready = self.hosts[at].raw.ready();
                self.send(ready.take_messages());
                let reads = ready.take_read_states().len() as u64;
                self.confirmed += if at == self.leader { reads } else { 0 };
                let committed = ready.take_committed_entries();
                self.apply(at, committed);
                let store = self.hosts[at].raw.mut_store();
                if !ready.entries().is_empty() {
                    store.wl().append(ready.entries()).expect("entries follow");
                }
                if let Some(state) = ready.hs() {
                    store.wl().set_hardstate(state.clone());
                }
                self.send(ready.take_persisted_messages());
                let mut light = self.hosts[at].raw.advance(ready);
                if let Some(commit) = light.commit_index() {
                    self.hosts[at].raw.mut_store().wl().mut_hard_state().set_commit(commit);
                }
                self.send(light.take_messages());
                let committed = light.take_committed_entries();
                self.apply(at, committed);
                self.hosts[at].raw.advance_apply();
            }
        }
    }
}

impl Group for Peer {
    fn new() -> Self {
        let logger = Logger::root(Discard, o!());
        let host = |id: u64| {
            let config = Config {
                id,
                election_tick: 10,
                heartbeat_tick: 3,
                max_size_per_msg: 256 << 10,
                max_inflight_msgs: 256,
                batch_append: true,
                read_only_option: ReadOnlyOption::Safe,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
            let raw = RawNode::new(&config, storage, &logger).expect("the configuration works");
            Host { raw, inbox: VecDeque::new(), applied: 0, compacted: 0 }
        };
        let hosts = (1..=3).map(host).collect();
        let payload = vec![7; PAYLOAD_BYTES];
        let mut group = Self { hosts, leader: 0, payload, messages: 0, committed: 0, confirmed: 0 };
        group.hosts[0].raw.campaign().expect("it may");
        for _ in 0..20 {
            group.turn();
        }
        assert_eq!(group.hosts[0].raw.raft.state, StateRole::Leader);
        group
    }

    fn commit(&mut self, count: u64, in_flight: u64) {
        let until = self.committed + count;
        let mut proposed = self.committed;
        while self.committed < until {
            while proposed < until && proposed - self.committed < in_flight {
                proposed += 1;
                let (leader, data) = (self.leader, self.payload.clone());
                self.hosts[leader].raw.propose(vec![], data).expect("it leads");
            }
            self.turn();
        }
    }

    fn read(&mut self, count: u64, in_flight: u64) {
        let until = self.confirmed + count;
        let mut asked = self.confirmed;
        while self.confirmed < until {
            while asked < until && asked - self.confirmed < in_flight {
                asked += 1;
                let leader = self.leader;
                self.hosts[leader].raw.read_index(asked.to_le_bytes().to_vec());
            }
            self.turn();
        }
    }

    fn messages(&self) -> u64 {
        self.messages
    }
}
