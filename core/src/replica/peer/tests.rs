//! A start, from its first event on.

use alloc::sync::Arc;
use alloc::vec;

use super::*;
use crate::config::RawConfig;
use crate::id::NodeId;
use crate::raft::membership::Membership;
use crate::replica::Settings;

fn peer() -> Peer {
    let id = NodeId::from_bytes([1; 20]);
    let members = Arc::new(Membership::new([id, NodeId::from_bytes([2; 20])]).unwrap());
    let founding = Founding { id, members, settings: Settings::STANDARD };
    Peer::new(Config::new(RawConfig::STANDARD).unwrap(), founding, Seed::new([1; 32]))
}

/// A server hands requests on as soon as it runs, perhaps before it has waked anybody.
#[test]
fn whatever_comes_first_begins_a_start() {
    let changes = vec![];
    for first in [
        Event::Wake,
        Event::Read { ticket: 1 },
        Event::Change { ticket: 1, changes },
        Event::Tight(false),
        Event::Close,
    ] {
        let mut peer = peer();
        assert!(peer.deadline().is_some(), "it is due");
        let mut out = vec![];
        peer.step(Now::default(), first.clone(), &mut out);
        let lists = |effect: &Effect| matches!(effect, Effect::Disk { request: DiskRequest::List, .. });
        assert_eq!(out.iter().filter(|effect| lists(effect)).count(), 1, "{first:?}");
        assert_eq!(peer.deadline(), None, "it waits for its disk");
        let mut more = vec![];
        peer.step(Now::default(), Event::Read { ticket: 2 }, &mut more);
        assert!(matches!(more[..], [Effect::Readable { ticket: 2, result: Err(Refusal::Starting) }]), "{more:?}");
    }
}
