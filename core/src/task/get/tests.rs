//! A get on its own: events in, effects out.

use super::*;
use crate::config::{Config, RawConfig};
use crate::crypto::hash::sha256;
use crate::disk::DiskError;
use crate::id::FileId;
use crate::keystore::Place;
use crate::keystore::ingest::Ingest;
use crate::keystore::manifest::{Body, Entry};
use crate::keystore::manifest_builder::ManifestBuilder;
use crate::keystore::manifest_node::ManifestNode;
use crate::time::WallTime;
use alloc::collections::BTreeMap;
use alloc::vec;
use proptest::prelude::*;

/// Files up to 32 bytes have chunks of 8 bytes, up to 128 bytes of 32, longer ones of 8.
const TINY: RawConfig = RawConfig {
    block_bytes_min: 8,
    block_bytes_max: 32,
    blocks_target: 100,
    large_file_blocks: 4,
    inline_bytes_max: 4,
    manifest_entries_max: 2,
    manifest_fanout: 3,
    ..RawConfig::STANDARD
};

type Stored = BTreeMap<ChunkId, VerifiedChunk>;

fn counted(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 32) as u8).collect()
}

/// A file with its manifest, and everything that would be on disk.
fn file(bytes: &[u8]) -> (Manifest, Stored) {
    let config = Config::new(TINY).unwrap();
    let mut ingest = Ingest::new(config.geometry(), Some(bytes.len() as u64));
    let mut blocks = Vec::new();
    ingest.push(Bytes::copy_from_slice(bytes), &mut blocks).unwrap();
    let digest = ingest.finish(&mut blocks).unwrap();
    if bytes.len() <= 4 {
        return (Manifest::inline(digest.file, bytes), Stored::new());
    }
    let block_bytes = blocks[0].len() as u32;
    let (mut builder, mut chunks) = (ManifestBuilder::new(config.geometry()), Vec::new());
    for block in blocks {
        let chunk = VerifiedChunk::new(block);
        builder.push(Entry { chunk: chunk.id(), bytes: chunk.bytes().len() as u32 }, &mut chunks).unwrap();
        chunks.push(chunk);
    }
    let manifest = builder.finish(digest, block_bytes, &mut chunks);
    (manifest, chunks.into_iter().map(|chunk| (chunk.id(), chunk)).collect())
}

fn stat(manifest: &Manifest) -> FileStat {
    FileStat {
        name: None,
        version: 0,
        stored_at: WallTime::default(),
        file: manifest.file,
        size: manifest.size,
        block_bytes: manifest.block_bytes,
        chunks: 0,
        names: 1,
        missing: false,
    }
}

fn get(manifest: &Manifest, first: u64, bytes: u64) -> Get {
    Get::new(stat(manifest), manifest, first, bytes)
}

fn tell(get: &mut Get, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    get.step(Now::default(), event, &mut out);
    get.check();
    assert_eq!(get.deadline(), None, "only events bring it further");
    out
}

fn opened(manifest: &Manifest, first: u64, bytes: u64) -> Effect {
    Effect::Reply { reply: Ok(Reply::Opened { stat: Box::new(stat(manifest)), first, bytes }), last: false }
}

fn data(bytes: &[u8]) -> Effect {
    Effect::Reply { reply: Ok(Reply::Data(Bytes::copy_from_slice(bytes))), last: false }
}

fn last(reply: Result<Reply, RequestError>) -> Effect {
    Effect::Reply { reply, last: true }
}

fn loads(effects: &[Effect]) -> Vec<(u64, ChunkId)> {
    let load =
        |effect: &Effect| if let Effect::Load { ticket, chunk } = effect { Some((*ticket, *chunk)) } else { None };
    effects.iter().filter_map(load).collect()
}

#[test]
fn ranges_are_resolved_as_http_does() {
    let from = |first| Some(ByteRange::From { first });
    let between = |first, last| Some(ByteRange::FromTo { first, last });
    let end = |bytes| Some(ByteRange::Last { bytes });
    let outside = |size| Err(RequestError::RangeOutside { size });
    let misuse = || Err(RequestError::Misuse("the range ends before it begins"));
    for (range, size, expected) in [
        (None, 0, Ok((0, 0))),
        (None, 10, Ok((0, 10))),
        (from(0), 10, Ok((0, 10))),
        (from(9), 10, Ok((9, 1))),
        (from(10), 10, outside(10)),
        (from(0), 0, outside(0)),
        (from(u64::MAX), u64::MAX, outside(u64::MAX)),
        (between(0, 0), 10, Ok((0, 1))),
        (between(2, 4), 10, Ok((2, 3))),
        (between(2, 100), 10, Ok((2, 8))),
        (between(0, u64::MAX), u64::MAX, Ok((0, u64::MAX))),
        (between(10, 12), 10, outside(10)),
        (between(0, 0), 0, outside(0)),
        (between(4, 2), 10, misuse()),
        (between(40, 20), 10, misuse()),
        (end(3), 10, Ok((7, 3))),
        (end(100), 10, Ok((0, 10))),
        (end(0), 10, outside(10)),
        (end(3), 0, outside(0)),
    ] {
        assert_eq!(resolve(range, size), expected, "{range:?} of {size}");
    }
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let (manifest, _) = file(b"");
    let mut empty = get(&manifest, 0, 0);
    assert_eq!(empty.deadline(), Some(Instant::ZERO));
    empty.check();
    assert_eq!(tell(&mut empty, Event::Wake), [opened(&manifest, 0, 0), last(Ok(Reply::Complete))]);
}

#[test]
fn inline_content_needs_no_load() {
    let (manifest, _) = file(b"abcd");
    let mut inline = get(&manifest, 1, 3);
    assert_eq!(tell(&mut inline, Event::Wake), [opened(&manifest, 1, 3)]);
    assert_eq!(tell(&mut inline, Event::More { bytes: 2 }), [data(b"bc")]);
    assert_eq!(tell(&mut inline, Event::More { bytes: u64::MAX }), [data(b"d"), last(Ok(Reply::Complete))]);
}

#[test]
fn loads_go_no_further_ahead_than_the_grant_and_four_chunks() {
    let bytes = counted(200);
    let (manifest, stored) = file(&bytes);
    let Body::Tree(tree) = manifest.body else { panic!("a tree") };
    let mut whole = get(&manifest, 0, 200);
    assert_eq!(loads(&tell(&mut whole, Event::Wake)), [], "nothing is granted");
    let mut asked = loads(&tell(&mut whole, Event::More { bytes: 9 }));
    assert_eq!(asked, [(1, tree.root)], "a node first, and nothing ahead of it");
    for level in 1..tree.levels {
        let (ticket, chunk) = asked[0];
        asked = loads(&tell(&mut whole, Event::Loaded { ticket, result: Ok(stored[&chunk].clone()) }));
        assert_eq!(asked.len(), 1, "level {level}");
    }
    let (ticket, leaf) = asked[0];
    let asked = loads(&tell(&mut whole, Event::Loaded { ticket, result: Ok(stored[&leaf].clone()) }));
    assert_eq!(asked.len(), 2, "nine bytes are in two chunks");
    let more = tell(&mut whole, Event::More { bytes: 1_000 });
    assert_eq!(loads(&more).len(), 2, "the third chunk and the next leaf");
    let second = Event::Loaded { ticket: asked[1].0, result: Ok(stored[&asked[1].1].clone()) };
    assert_eq!(tell(&mut whole, second), [], "data comes in order");
    let first = Event::Loaded { ticket: asked[0].0, result: Ok(stored[&asked[0].1].clone()) };
    assert_eq!(tell(&mut whole, first), [data(&bytes[..8]), data(&bytes[8..16])]);
}

#[test]
fn data_before_a_bad_chunk_is_sent_and_then_its_fault() {
    let bytes = counted(100);
    let (manifest, stored) = file(&bytes);
    let place = Place { volume: 3, offset: 77, position: 5 };
    for fault in [
        ChunkFault::Mismatch(place),
        ChunkFault::Missing { lost_volumes: vec![3] },
        ChunkFault::Unreadable(place, DiskError::Io(5)),
    ] {
        let mut part = get(&manifest, 10, 80);
        tell(&mut part, Event::Wake);
        let (root, leaf) = {
            let root = loads(&tell(&mut part, Event::More { bytes: 1_000 }))[0];
            let out = tell(&mut part, Event::Loaded { ticket: root.0, result: Ok(stored[&root.1].clone()) });
            (root, loads(&out)[0])
        };
        assert_ne!(root, leaf);
        let chunks = loads(&tell(&mut part, Event::Loaded { ticket: leaf.0, result: Ok(stored[&leaf.1].clone()) }));
        assert_eq!(chunks.len(), 3);
        let bad = Event::Loaded { ticket: chunks[1].0, result: Err(fault.clone()) };
        assert_eq!(tell(&mut part, bad), [], "the chunk before it may be good");
        let good = Event::Loaded { ticket: chunks[0].0, result: Ok(stored[&chunks[0].1].clone()) };
        assert_eq!(tell(&mut part, good), [data(&bytes[10..32])], "a load is still on its way");
        let third = Event::Loaded { ticket: chunks[2].0, result: Ok(stored[&chunks[2].1].clone()) };
        let error = bad_chunk(Some(1), chunks[1].1, fault);
        assert_eq!(tell(&mut part, third), [last(Err(error))]);
    }
}

#[test]
fn a_bad_manifest_chunk_ends_the_get() {
    let (manifest, stored) = file(&counted(100));
    let mut whole = get(&manifest, 0, 100);
    tell(&mut whole, Event::Wake);
    let (ticket, root) = loads(&tell(&mut whole, Event::More { bytes: 1 }))[0];
    let fault = ChunkFault::Missing { lost_volumes: vec![] };
    let out = tell(&mut whole, Event::Loaded { ticket, result: Err(fault.clone()) });
    assert_eq!(out, [last(Err(bad_chunk(None, root, fault)))]);

    // A manifest chunk that is what its name says, but lists nonsense.
    let node = ManifestNode::encode(1, &[Entry { chunk: ChunkId::of(b""), bytes: 1 }]);
    let Body::Tree(tree) = manifest.body.clone() else { panic!("a tree") };
    assert!(stored.contains_key(&tree.root));
    let wrong = Manifest { body: Body::Tree(crate::keystore::manifest::Tree { root: node.id(), ..tree }), ..manifest };
    let mut whole = get(&wrong, 0, 100);
    tell(&mut whole, Event::Wake);
    let (ticket, root) = loads(&tell(&mut whole, Event::More { bytes: 1 }))[0];
    let out = tell(&mut whole, Event::Loaded { ticket, result: Ok(node) });
    assert_eq!(out, [last(Err(bad_chunk(None, root, ChunkFault::Malformed)))]);
}

#[test]
fn a_chunk_of_another_length_than_its_manifest_says_is_bad() {
    let chunk = VerifiedChunk::new(Bytes::from_static(b"seven b"));
    let entries = vec![Entry { chunk: chunk.id(), bytes: 8 }, Entry { chunk: chunk.id(), bytes: 7 }];
    let file = FileId::from_bytes(sha256(b"whatever"));
    let manifest = Manifest { file, size: 15, block_bytes: 8, body: Body::Entries(entries) };
    let mut whole = get(&manifest, 0, 15);
    tell(&mut whole, Event::Wake);
    assert_eq!(loads(&tell(&mut whole, Event::More { bytes: 8 })), [(1, chunk.id())]);
    let out = tell(&mut whole, Event::Loaded { ticket: 1, result: Ok(chunk.clone()) });
    assert_eq!(out, [last(Err(bad_chunk(Some(0), chunk.id(), ChunkFault::Malformed)))]);
}

#[test]
fn a_manifest_that_contradicts_itself_is_an_error_and_no_panic() {
    let (good, _) = file(&counted(20));
    let whole = ChunkId::from_bytes(*good.file.as_bytes());
    let wrong = Manifest { block_bytes: 0, ..good };
    let error = bad_chunk(None, whole, ChunkFault::Malformed);
    assert_eq!(tell(&mut get(&wrong, 0, 20), Event::Wake), [last(Err(error))]);
}

#[test]
fn a_cancel_waits_for_the_loads_on_their_way() {
    let (manifest, stored) = file(&counted(20));
    let (mut part, mut unopened) = (get(&manifest, 0, 20), get(&manifest, 0, 20));
    assert_eq!(tell(&mut unopened, Event::Cancel), [opened(&manifest, 0, 20), last(Ok(Reply::Cancelled))]);
    tell(&mut part, Event::Wake);
    let root = loads(&tell(&mut part, Event::More { bytes: 20 }))[0];
    assert_eq!(tell(&mut part, Event::Cancel), []);
    assert_eq!(tell(&mut part, Event::More { bytes: 20 }), []);
    let out = tell(&mut part, Event::Loaded { ticket: root.0, result: Ok(stored[&root.1].clone()) });
    assert_eq!(out, [last(Ok(Reply::Cancelled))]);
}

proptest! {
    /// Grants of any size and completions in any order give the bytes of the range, never more than was granted.
    #[test]
    fn any_order_of_things_returns_the_range(
        len in 0_u64..500,
        (from, to) in (any::<u64>(), any::<u64>()),
        dice in prop::collection::vec(any::<u8>(), 1..60),
        cancel in prop::option::weighted(0.2, 0_usize..40),
    ) {
        let bytes = counted(len);
        let (manifest, stored) = file(&bytes);
        let first = from % (len + 1);
        let range = to % (len - first + 1);
        let mut part = get(&manifest, first, range);
        let (mut told, mut said) = (vec![Event::Wake], tell(&mut part, Event::Wake));
        let (mut granted, mut loaded, mut found) = (0, Vec::new(), Vec::new());
        for round in 0.. {
            prop_assert!(round < 10_000, "a get comes to its end");
            found.clear();
            for effect in &said {
                if let Effect::Reply { reply: Ok(Reply::Data(data)), .. } = effect {
                    found.extend_from_slice(data);
                }
            }
            prop_assert!(found.len() as u64 <= granted);
            if matches!(said.last(), Some(Effect::Reply { last: true, .. })) {
                break;
            }
            let die = usize::from(dice[round % dice.len()]);
            let waiting: Vec<_> = loads(&said).into_iter().filter(|(ticket, _)| !loaded.contains(ticket)).collect();
            let event = if cancel == Some(round) {
                Event::Cancel
            } else if waiting.is_empty() || (die % 4 == 0 && round % 3 > 0) {
                granted += die as u64 + 1;
                Event::More { bytes: die as u64 + 1 }
            } else {
                let (ticket, chunk) = waiting[die % waiting.len()];
                loaded.push(ticket);
                Event::Loaded { ticket, result: Ok(stored[&chunk].clone()) }
            };
            said.extend(tell(&mut part, event.clone()));
            told.push(event);
        }
        let wanted = &bytes[first as usize..(first + range) as usize];
        match said.last() {
            Some(Effect::Reply { reply: Ok(Reply::Complete), .. }) => prop_assert_eq!(&found[..], wanted),
            Some(Effect::Reply { reply: Ok(Reply::Cancelled), .. }) => {
                prop_assert!(cancel.is_some() && wanted.starts_with(&found));
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let (mut again, mut out) = (get(&manifest, first, range), Vec::new());
        for event in told {
            again.step(Now::default(), event, &mut out);
        }
        prop_assert_eq!(out, said, "the same events give the same effects");
    }
}
