//! A put that a sweep has overtaken.

use super::*;
use crate::id::ChunkId;
use crate::keystore::ChunkFault;
use alloc::collections::BTreeSet;

fn touches(effects: &[Effect]) -> Vec<(u64, ChunkId)> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Touch { ticket, chunk } = effect { Some((*ticket, *chunk)) } else { None })
        .collect()
}

fn loads(effects: &[Effect]) -> Vec<(u64, ChunkId)> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Load { ticket, chunk } = effect { Some((*ticket, *chunk)) } else { None })
        .collect()
}

/// A put of so many chunks of 8 bytes that has proposed under lease 0, and what it has stored.
fn proposed(chunks: u64) -> (Scene, BTreeMap<ChunkId, VerifiedChunk>) {
    let bytes = counted(8 * chunks);
    let (blocks, digest) = cut(&bytes, Some(8 * chunks));
    let mut scene = Scene::open(Some(8 * chunks));
    let mut heard = 0;
    for block in blocks {
        let asked = asks(&scene.said[heard..]);
        heard = scene.said.len();
        for bytes in asked {
            scene.tell(0, Event::Granted { bytes });
        }
        scene.tell(0, Event::Chunk(block));
        scene.store_all();
    }
    scene.tell(0, Event::Commit(digest));
    scene.store_all();
    assert!(proposal(&scene.said).is_some());
    let events = scene.told.iter().filter_map(|(_, event)| match event {
        Event::Chunk(chunk) => Some((chunk.id(), chunk.clone())),
        _ => None,
    });
    let stored = events.chain(stores(&scene.said).into_iter().map(|(_, chunk)| (chunk.id(), chunk))).collect();
    (scene, stored)
}

#[test]
fn every_chunk_is_touched_again_under_the_lease_of_now() {
    for chunks in [1_u64, 2, 3, 9, 30] {
        let (mut scene, stored) = proposed(chunks);
        let before = proposal(&scene.said).unwrap();
        let from = scene.said.len();
        scene.tell(1, Event::Stale { epoch: 4 });
        assert_eq!(scene.put.lease(), 4);
        assert_eq!(scene.put.settled_lease(), 0, "a sweep still waits for it");
        let (mut touched, mut answered) = (BTreeSet::new(), 0);
        while proposal(&scene.said[from..]).is_none() {
            let said = scene.said[from..].to_vec();
            let (touches, loads) = (touches(&said), loads(&said));
            assert!(touches.len() + loads.len() > answered, "{chunks}: it goes on by itself");
            for (ticket, chunk) in touches {
                if touched.insert((ticket, chunk)) {
                    answered += 1;
                    scene.tell(1, Event::Stored { ticket, result: Ok(place(2, 100 + ticket)) });
                }
            }
            for (ticket, chunk) in loads {
                if touched.insert((ticket, chunk)) {
                    answered += 1;
                    scene.tell(1, Event::Loaded { ticket, result: Ok(stored[&chunk].clone()) });
                }
            }
        }
        assert_eq!(scene.put.settled_lease(), 4);
        let again = proposal(&scene.said[from..]).unwrap();
        assert_eq!((&again.name, &again.manifest), (&before.name, &before.manifest));
        assert!(again.volumes.iter().any(|(volume, position)| *volume == 2 && *position > 100), "where they are now");
        // All data chunks, and all manifest chunks of the tree.
        let ids: BTreeSet<ChunkId> = touches(&scene.said[from..]).into_iter().map(|(_, chunk)| chunk).collect();
        assert_eq!(ids, stored.keys().copied().collect(), "{chunks} chunks");
        let result = Ok(stat(&again.manifest, 1));
        scene.tell(2, Event::Committed { result });
        assert!(matches!(scene.said.last(), Some(Effect::Reply { reply: Ok(Reply::Stored(_)), last: true })));
    }
}

#[test]
fn what_the_sweep_has_taken_ends_the_put() {
    let (mut scene, _) = proposed(2);
    let from = scene.said.len();
    scene.tell(1, Event::Stale { epoch: 1 });
    let touches = touches(&scene.said[from..]);
    scene.tell(1, Event::Stored { ticket: touches[0].0, result: Err(StoreError::Missing) });
    assert!(!matches!(scene.said.last(), Some(Effect::Reply { .. })), "the other touch is on its way");
    scene.tell(1, Event::Stored { ticket: touches[1].0, result: Ok(place(1, 9)) });
    assert_eq!(scene.said.last(), Some(&Effect::Reply { reply: Err(RequestError::Swept), last: true }));
    assert!(proposal(&scene.said[from..]).is_none());
}

#[test]
fn a_manifest_chunk_that_is_gone_or_bad_ends_the_put() {
    let faults = [ChunkFault::Missing { lost_volumes: vec![] }, ChunkFault::Mismatch(place(1, 1).place)];
    for (fault, swept) in faults.into_iter().zip([true, false]) {
        let (mut scene, _) = proposed(9);
        let from = scene.said.len();
        scene.tell(1, Event::Stale { epoch: 1 });
        let (ticket, chunk) = loads(&scene.said[from..])[0];
        scene.tell(1, Event::Loaded { ticket, result: Err(fault.clone()) });
        let (chunk, fault) = (Box::new(chunk), Box::new(fault));
        let error = if swept { RequestError::Swept } else { RequestError::BadChunk { index: None, chunk, fault } };
        assert_eq!(scene.said.last(), Some(&Effect::Reply { reply: Err(error), last: true }));
    }
}

#[test]
fn it_can_be_cancelled_and_is_never_listed_then() {
    let (mut scene, _) = proposed(3);
    let from = scene.said.len();
    scene.tell(1, Event::Stale { epoch: 1 });
    scene.tell(1, Event::Cancel);
    let (touches, loads) = (touches(&scene.said[from..]), loads(&scene.said[from..]));
    for (ticket, _) in touches {
        scene.tell(1, Event::Stored { ticket, result: Ok(place(1, 9)) });
    }
    for (ticket, _) in loads {
        scene.tell(1, Event::Loaded { ticket, result: Err(ChunkFault::Missing { lost_volumes: vec![] }) });
    }
    assert_eq!(scene.said.last(), Some(&Effect::Reply { reply: Ok(Reply::Cancelled), last: true }));
    assert!(proposal(&scene.said[from..]).is_none());
}

#[test]
fn content_of_the_ledger_itself_is_proposed_at_once() {
    let bytes = counted(3);
    let (blocks, digest) = cut(&bytes, Some(3));
    let mut scene = Scene::granted(Some(3));
    for block in blocks {
        scene.tell(0, Event::Chunk(block));
    }
    scene.tell(0, Event::Commit(digest));
    let from = scene.said.len();
    scene.tell(0, Event::Stale { epoch: 2 });
    assert!(proposal(&scene.said[from..]).is_some());
    scene.tell(0, Event::Stale { epoch: 3 });
    assert_eq!(scene.put.lease(), 3);
}
