//! A verify on its own: events in, effects out.

use super::*;
use crate::config::{Config, RawConfig};
use crate::disk::damage::{Damage, DamageKind};
use crate::disk::{DiskError, File};
use crate::keystore::Place;
use crate::keystore::ingest::Ingest;
use crate::keystore::manifest::{Entry, Tree};
use crate::keystore::manifest_builder::ManifestBuilder;
use crate::keystore::manifest_node::ManifestNode;
use crate::ledger::command::Command;
use crate::ledger::file::{Expect, Target};
use crate::time::WallTime;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use bytes::Bytes;
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

/// A ledger and a disk, on which any chunk may be bad.
#[derive(Default)]
struct Store {
    state: State,
    chunks: BTreeMap<ChunkId, Result<VerifiedChunk, ChunkFault>>,
}

impl Store {
    /// Stores `len` bytes of a pattern of its own for each `pattern`; gives the manifest.
    fn put(&mut self, name: &str, pattern: u8, len: usize) -> Manifest {
        let config = Config::new(TINY).unwrap();
        let mut ingest = Ingest::new(config.geometry(), Some(len as u64));
        let bytes: Vec<u8> = (0..len).map(|i| (i / 8) as u8 ^ (i as u8).wrapping_mul(pattern)).collect();
        let mut blocks = Vec::new();
        ingest.push(Bytes::from(bytes.clone()), &mut blocks).unwrap();
        let digest = ingest.finish(&mut blocks).unwrap();
        let manifest = if len <= 4 {
            Manifest::inline(digest.file, &bytes)
        } else {
            let block_bytes = blocks[0].len() as u32;
            let (mut builder, mut chunks) = (ManifestBuilder::new(config.geometry()), Vec::new());
            for block in blocks {
                let chunk = VerifiedChunk::new(block);
                let entry = Entry { chunk: chunk.id(), bytes: chunk.bytes().len() as u32 };
                builder.push(entry, &mut chunks).unwrap();
                chunks.push(chunk);
            }
            let manifest = builder.finish(digest, block_bytes, &mut chunks);
            self.chunks.extend(chunks.into_iter().map(|chunk| (chunk.id(), Ok(chunk))));
            manifest
        };
        self.name(name, manifest.clone());
        manifest
    }

    fn name(&mut self, name: &str, manifest: Manifest) {
        let command =
            Command::Put { time: WallTime::default(), lease: 0, name: called(name), expect: Expect::Any, manifest };
        self.state.apply(self.state.applied() + 1, &command);
    }

    fn verify(&self, scope: VerifyScope, damages: Vec<Damage>) -> Scene<'_> {
        let at_start = damages.into_iter().map(Finding::Damage).collect();
        let verify = Verify::new(scope, self.state.clone(), at_start);
        assert_eq!(verify.deadline(), Some(Instant::ZERO));
        verify.check();
        let mut scene = Scene { store: self, verify, told: vec![], said: vec![], loaded: 0 };
        scene.tell(Event::Wake);
        scene
    }

    fn all(&self) -> Scene<'_> {
        self.verify(VerifyScope::All, vec![])
    }
}

struct Scene<'a> {
    store: &'a Store,
    verify: Verify,
    told: Vec<Event>,
    said: Vec<Effect>,
    loaded: u64,
}

impl Scene<'_> {
    fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.verify.step(Now::default(), event.clone(), &mut out);
        self.verify.check();
        self.told.push(event);
        self.said.extend(out.iter().cloned());
        out
    }

    fn loads(&self) -> Vec<(u64, ChunkId)> {
        let load = |effect: &Effect| match effect {
            Effect::Load { ticket, chunk } => Some((*ticket, *chunk)),
            Effect::Reply { .. } => None,
        };
        self.said.iter().filter_map(load).collect()
    }

    /// Answers the oldest load; returns whether there was one.
    fn load(&mut self) -> bool {
        let Some((ticket, chunk)) = self.loads().get(self.loaded as usize).copied() else { return false };
        self.loaded += 1;
        self.tell(Event::Loaded { ticket, result: self.store.chunks[&chunk].clone() });
        true
    }

    /// Answers loads and due wakes until only the client can bring it further.
    fn run(&mut self) {
        while self.load() || self.verify.deadline().is_some() {
            if self.verify.deadline().is_some() {
                self.tell(Event::Wake);
            }
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let finding = |effect: &Effect| match effect {
            Effect::Reply { reply: Ok(Reply::Finding(finding)), last: false } => Some((**finding).clone()),
            Effect::Reply { .. } | Effect::Load { .. } => None,
        };
        self.said.iter().filter_map(finding).collect()
    }

    fn summary(&self) -> VerifySummary {
        let Some(Effect::Reply { reply: Ok(Reply::Verified(summary)), last: true }) = self.said.last() else {
            panic!("{:?}", self.said.last())
        };
        assert_eq!(summary.findings, self.findings().len() as u64);
        *summary
    }
}

fn called(name: &str) -> Name {
    Name::new(name.as_bytes()).unwrap()
}

fn damage(number: u64) -> Damage {
    Damage { file: File::Volume(number), offset: 0, first: 1, last: 2, kind: DamageKind::Broken }
}

fn unreadable() -> ChunkFault {
    ChunkFault::Unreadable(Place { volume: 1, offset: 2, position: 3 }, DiskError::Io(5))
}

#[test]
fn an_empty_store_is_sound() {
    let store = Store::default();
    let scene = store.all();
    assert_eq!(scene.summary(), VerifySummary::default());
}

#[test]
fn every_chunk_and_manifest_chunk_is_read_once() {
    let mut store = Store::default();
    store.put("empty", 1, 0);
    store.put("inline", 1, 4);
    store.put("one chunk", 1, 7);
    store.put("two chunks", 3, 16);
    store.put("tree", 5, 100);
    let mut scene = store.all();
    scene.run();
    let mut read: Vec<_> = scene.loads().into_iter().map(|(_, chunk)| chunk).collect();
    read.sort_unstable();
    assert_eq!(read, store.chunks.keys().copied().collect::<Vec<_>>());
    let bytes = store.chunks.values().map(|chunk| chunk.as_ref().unwrap().bytes().len() as u64).sum();
    let chunks = store.chunks.len() as u64;
    assert_eq!(scene.summary(), VerifySummary { names: 5, chunks, bytes, findings: 0 });
}

#[test]
fn a_content_with_several_names_is_read_once() {
    let mut store = Store::default();
    for name in ["a", "c", "e"] {
        store.put(name, 1, 7);
    }
    for name in ["b", "d"] {
        store.put(name, 3, 7);
    }
    let mut scene = store.all();
    scene.run();
    assert_eq!(scene.summary(), VerifySummary { names: 5, chunks: 2, bytes: 14, findings: 0 });
}

#[test]
fn what_is_remembered_of_shared_contents_is_bounded() {
    let mut shared = Shared::default();
    let id = |number: usize| FileId::from_bytes(*ChunkId::of(&number.to_le_bytes()).as_bytes());
    for number in 0..=VERIFY_SHARED_MAX {
        assert!(shared.insert(id(number)));
    }
    assert!(!shared.insert(id(1)));
    assert!(shared.insert(id(0)), "the oldest was forgotten");
    assert_eq!(shared.known.len(), VERIFY_SHARED_MAX);
}

#[test]
fn findings_wait_for_the_client_and_hold_up_few_loads() {
    let mut store = Store::default();
    for number in 0..20_u8 {
        store.put(&format!("{number:02}"), 2 * number + 1, 7);
    }
    store.chunks.values_mut().for_each(|chunk| *chunk = Err(unreadable()));
    let mut scene = store.verify(VerifyScope::All, vec![damage(1), damage(2)]);
    scene.run();
    assert_eq!(scene.loads().len(), VERIFY_LOADS_MAX, "nothing is dropped, so nothing more is read");
    assert_eq!(scene.findings(), []);
    scene.tell(Event::More { findings: 3 });
    scene.run();
    assert_eq!(scene.findings()[..2], [Finding::Damage(damage(1)), Finding::Damage(damage(2))]);
    assert!(matches!(&scene.findings()[2], Finding::Chunk { name, .. } if *name == Some(called("00"))));
    assert_eq!(scene.loads().len(), VERIFY_LOADS_MAX + 1);
    scene.tell(Event::More { findings: 100 });
    scene.run();
    assert_eq!(scene.findings().len(), 22);
    assert_eq!(scene.summary().names, 20);
}

#[test]
fn a_file_is_named_with_its_bad_chunk() {
    let mut store = Store::default();
    let manifest = store.put("file", 3, 16);
    let Body::Entries(entries) = &manifest.body else { panic!("two entries") };
    store.chunks.insert(entries[1].chunk, Err(unreadable()));
    for (scope, name) in [
        (VerifyScope::All, Some(called("file"))),
        (VerifyScope::One(Target::Name(called("file"))), Some(called("file"))),
        (VerifyScope::One(Target::Content(manifest.file)), None),
    ] {
        let names = u64::from(name.is_some());
        let mut scene = store.verify(scope, vec![]);
        scene.tell(Event::More { findings: 1 });
        scene.run();
        let (file, chunk, fault) = (manifest.file, entries[1].chunk, unreadable());
        assert_eq!(scene.findings(), [Finding::Chunk { name, file, index: Some(1), chunk, fault }]);
        assert_eq!(scene.summary(), VerifySummary { names, chunks: 1, bytes: 8, findings: 1 });
    }
}

#[test]
fn a_scope_of_one_tells_nothing_of_other_files() {
    let mut store = Store::default();
    store.put("good", 1, 20);
    let other = store.put("other", 3, 7);
    store.chunks.insert(ChunkId::from_bytes(*other.file.as_bytes()), Err(unreadable()));
    let mut scene = store.verify(VerifyScope::One(Target::Name(called("good"))), vec![damage(1)]);
    scene.tell(Event::More { findings: 9 });
    scene.run();
    assert_eq!(scene.findings(), []);
    assert_eq!(scene.summary().names, 1);
}

#[test]
fn a_file_that_does_not_exist_is_not_found() {
    let store = Store::default();
    for target in [Target::Name(called("none")), Target::Content(FileId::from_bytes([1; 32]))] {
        let scene = store.verify(VerifyScope::One(target), vec![]);
        assert_eq!(scene.said, [Effect::Reply { reply: Err(RequestError::NotFound), last: true }]);
    }
}

#[test]
fn what_a_clean_has_given_up_is_counted_and_not_looked_for() {
    let mut store = Store::default();
    store.put("a", 1, 30);
    store.put("b", 2, 30);
    store.state.apply(store.state.applied() + 1, &Command::Clean { time: WallTime::default() });
    store.chunks.clear();
    store.put("b", 2, 30);
    let mut scene = store.all();
    scene.run();
    assert_eq!(scene.findings(), []);
    let summary = scene.summary();
    assert_eq!((summary.names, summary.bytes >= 30), (2, true), "what was stored again is read");
    let scene = store.verify(VerifyScope::One(Target::Name(called("a"))), vec![]);
    assert_eq!(scene.said, [Effect::Reply { reply: Err(RequestError::Missing), last: true }], "as a get is answered");
}

#[test]
fn what_a_bad_manifest_chunk_does_not_hide_is_still_read() {
    let mut store = Store::default();
    let manifest = store.put("tree", 5, 100);
    let Body::Tree(tree) = manifest.body else { panic!("a tree") };
    let root = ManifestNode::decode(store.chunks[&tree.root].as_ref().unwrap().bytes()).unwrap();
    let bad = root.entry(0).chunk;
    store.chunks.insert(bad, Err(unreadable()));
    let mut scene = store.all();
    scene.tell(Event::More { findings: 9 });
    scene.run();
    let (name, file, fault) = (Some(called("tree")), manifest.file, unreadable());
    assert_eq!(scene.findings(), [Finding::Chunk { name, file, index: None, chunk: bad, fault }]);
    assert_eq!(scene.summary().chunks, 3, "the root, the second leaf, the chunk under it");
}

#[test]
fn manifests_that_were_made_wrong_are_findings() {
    let mut store = Store::default();
    let chunk = VerifiedChunk::new(Bytes::from_static(b"seven b"));
    store.chunks.insert(chunk.id(), Ok(chunk.clone()));
    let file = FileId::from_bytes([7; 32]);
    let entries = vec![Entry { chunk: chunk.id(), bytes: 8 }, Entry { chunk: chunk.id(), bytes: 7 }];
    store.name("length", Manifest { file, size: 15, block_bytes: 8, body: Body::Entries(entries) });
    let file = FileId::from_bytes([8; 32]);
    let tree = Tree { root: chunk.id(), levels: 1, fanout: 3 };
    store.name("node", Manifest { file, size: 24, block_bytes: 8, body: Body::Tree(tree) });
    let file = FileId::from_bytes([9; 32]);
    store.name("shape", Manifest { file, size: 24, block_bytes: 8, body: Body::Entries(vec![]) });
    let mut scene = store.all();
    scene.tell(Event::More { findings: 9 });
    scene.run();
    let found = scene.findings().into_iter().map(|finding| {
        let Finding::Chunk { name, index, fault, .. } = finding else { panic!("{finding:?}") };
        assert_eq!(fault, ChunkFault::Malformed);
        (name.unwrap(), index)
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found, [(called("length"), Some(0)), (called("node"), None), (called("shape"), None)]);
}

#[test]
fn many_names_without_chunks_take_several_steps() {
    let mut store = Store::default();
    for number in 0..=2 * STEP_ITEMS_MAX {
        store.name(&format!("{number}"), Manifest::inline(FileId::from_bytes(crate::crypto::hash::sha256(b"")), b""));
    }
    let mut scene = store.all();
    assert_eq!(scene.verify.deadline(), Some(Instant::ZERO), "cut short: it goes on at once");
    assert_eq!(scene.verify.summary.names, STEP_ITEMS_MAX as u64);
    scene.tell(Event::Wake);
    assert_eq!(scene.verify.summary.names, 2 * STEP_ITEMS_MAX as u64);
    scene.tell(Event::Wake);
    assert_eq!(scene.summary().names, 2 * STEP_ITEMS_MAX as u64 + 1);
    assert_eq!(scene.verify.deadline(), None);
}

#[test]
fn a_cancel_waits_for_the_loads_on_their_way() {
    let mut store = Store::default();
    store.put("file", 3, 16);
    let mut scene = store.all();
    assert_eq!(scene.loads().len(), 2);
    assert_eq!(scene.tell(Event::Cancel), []);
    assert!(scene.load());
    assert!(scene.load());
    assert_eq!(scene.said.last(), Some(&Effect::Reply { reply: Ok(Reply::Cancelled), last: true }));
    assert_eq!(scene.verify.deadline(), None);
}

#[test]
fn more_findings_than_may_be_outstanding_are_misuse() {
    let mut store = Store::default();
    store.put("file", 3, 16);
    for grants in [&[FINDINGS_MAX, 1][..], &[u32::MAX], &[1, u32::MAX]] {
        let mut scene = store.all();
        for findings in grants {
            scene.tell(Event::More { findings: *findings });
        }
        scene.run();
        let reply = Err(RequestError::Misuse("more findings were asked for than may be outstanding"));
        assert_eq!(scene.said.last(), Some(&Effect::Reply { reply, last: true }));
    }
}

proptest! {
    /// Files of any size, chunks bad at random, completions and grants in any order: what is found is what is bad.
    #[test]
    fn any_order_of_things_finds_what_is_bad(
        lens in prop::collection::vec(0_usize..200, 0..12),
        bad in prop::collection::vec(0_u8..5, 1..20),
        dice in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let mut store = Store::default();
        for (number, len) in (0..).zip(lens) {
            store.put(&format!("{number}"), 2 * number + 1, len);
        }
        let mut rolls = bad.iter().cycle();
        let leaves = |chunk: &VerifiedChunk| ManifestNode::decode(chunk.bytes()).is_err();
        let mut broken = BTreeSet::new();
        for (id, chunk) in &mut store.chunks {
            if rolls.next() == Some(&0) && chunk.as_ref().is_ok_and(leaves) {
                *chunk = Err(unreadable());
                broken.insert(*id);
            }
        }
        let mut scene = store.all();
        let mut waiting = scene.loads();
        for round in 0.. {
            prop_assert!(round < 10_000, "a verification comes to its end");
            if matches!(scene.said.last(), Some(Effect::Reply { last: true, .. })) {
                break;
            }
            let die = usize::from(dice[round % dice.len()]);
            let out = if waiting.is_empty() || (die % 5 == 0 && scene.verify.granted < 9) {
                scene.tell(Event::More { findings: 1 + die as u32 % 2 })
            } else {
                let (ticket, chunk) = waiting.swap_remove(die % waiting.len());
                scene.tell(Event::Loaded { ticket, result: store.chunks[&chunk].clone() })
            };
            waiting.extend(out.iter().filter_map(|effect| match effect {
                Effect::Load { ticket, chunk } => Some((*ticket, *chunk)),
                Effect::Reply { .. } => None,
            }));
            prop_assert!(waiting.len() <= VERIFY_LOADS_MAX);
        }
        let mut found = BTreeSet::new();
        for finding in scene.findings() {
            let Finding::Chunk { chunk, .. } = finding else { panic!("{finding:?}") };
            found.insert(chunk);
        }
        prop_assert_eq!(found, broken);
        prop_assert_eq!(scene.summary().names, store.state.name_count());

        let (mut again, mut out) = (Verify::new(VerifyScope::All, store.state.clone(), vec![]), Vec::new());
        for event in scene.told {
            again.step(Now::default(), event, &mut out);
        }
        prop_assert_eq!(out, scene.said, "the same events give the same effects");
    }
}
