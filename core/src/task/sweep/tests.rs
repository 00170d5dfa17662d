//! A sweep on its own: events in, effects out, and a filter that has what a simple model says.

use super::*;
use crate::config::{Config, RawConfig};
use crate::crypto::hash::sha256;
use crate::disk::DiskError;
use crate::keystore::Place;
use crate::keystore::ingest::FileDigest;
use crate::keystore::manifest::{Entry, Tree};
use crate::keystore::manifest_builder::ManifestBuilder;
use crate::ledger::command::Command;
use crate::ledger::file::Expect;
use crate::ledger::name::Name;
use crate::limits::{MANIFEST_FANOUT_MAX, OVERWRITTEN_MAX, REQUESTS_MAX};
use crate::time::WallTime;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use bytes::Bytes;
use proptest::prelude::*;

const EPOCH: u64 = 5;
const SALT: [u8; SALT_LEN] = [3; SALT_LEN];
/// So much room that the filter has four parts.
const EXPECTED: u64 = 300_000;

/// A ledger, the manifest chunks on a disk, and what is known of both without looking at manifests.
#[derive(Debug, Default)]
struct Store {
    state: State,
    nodes: BTreeMap<ChunkId, Result<VerifiedChunk, ChunkFault>>,
    /// What each name means.
    names: BTreeMap<Name, FileId>,
    /// What tombstones of each name keep, the oldest first.
    buried: BTreeMap<Name, Vec<FileId>>,
    /// Every manifest that was ever made, and what it refers to: chunks and manifest chunks.
    known: BTreeMap<FileId, (Manifest, BTreeSet<ChunkId>)>,
}

impl Store {
    /// A file of `chunks` chunks of 8 bytes without real content: one of its own for each index and `pattern`, but for
    /// the first, which all files share.
    fn put(&mut self, name: &str, pattern: u32, chunks: u32) -> Manifest {
        self.put_in(name, pattern, chunks, 3)
    }

    fn put_in(&mut self, name: &str, pattern: u32, chunks: u32, fanout: u32) -> Manifest {
        let raw = RawConfig { manifest_entries_max: 2, manifest_fanout: fanout, ..RawConfig::STANDARD };
        let config = Config::new(raw).unwrap();
        let content = format!("{pattern} of {chunks}");
        let (mut builder, mut nodes) = (ManifestBuilder::new(config.geometry()), Vec::new());
        let mut refers = BTreeSet::new();
        for index in 0..chunks {
            let chunk = ChunkId::of(format!("{} {index}", pattern * index.min(1)).as_bytes());
            builder.push(Entry { chunk, bytes: 8 }, &mut nodes).unwrap();
            refers.insert(chunk);
        }
        let manifest = if chunks == 0 {
            Manifest::inline(FileId::from_bytes(sha256(content.as_bytes())), content.as_bytes())
        } else {
            // The file that is its only chunk has the same hash.
            let only = builder.only().map(|entry| *entry.chunk.as_bytes());
            let file = FileId::from_bytes(only.unwrap_or_else(|| sha256(content.as_bytes())));
            builder.finish(FileDigest { file, size: 8 * u64::from(chunks) }, 8, &mut nodes)
        };
        refers.extend(nodes.iter().map(VerifiedChunk::id));
        self.nodes.extend(nodes.into_iter().map(|node| (node.id(), Ok(node))));
        self.known.insert(manifest.file, (manifest.clone(), refers));
        self.name(name, manifest.clone());
        manifest
    }

    fn name(&mut self, name: &str, manifest: Manifest) {
        let name = Name::new(name.as_bytes()).unwrap();
        let kept = self.buried.entry(name.clone()).or_default();
        kept.extend(self.names.insert(name.clone(), manifest.file));
        kept.drain(..kept.len().saturating_sub(OVERWRITTEN_MAX));
        self.apply(&Command::Put { time: WallTime::default(), name, expect: Expect::Any, lease: 0, manifest });
    }

    /// A name goes, and nothing of it is kept.
    fn purge(&mut self, name: &str) {
        let name = Name::new(name.as_bytes()).unwrap();
        self.names.remove(&name);
        self.buried.remove(&name);
        self.apply(&Command::Purge { time: WallTime::default(), name, expect: Expect::Any });
    }

    fn delete(&mut self, name: &str) {
        let name = Name::new(name.as_bytes()).unwrap();
        let gone = self.names.remove(&name);
        self.buried.entry(name.clone()).or_default().extend(gone);
        self.apply(&Command::Delete { time: WallTime::default(), name, expect: Expect::Any });
    }

    fn apply(&mut self, command: &Command) {
        self.state.apply(self.state.applied() + 1, command);
    }

    /// Every chunk that must stay.
    fn live(&self, extras: &[Manifest]) -> BTreeSet<ChunkId> {
        let buried = self.buried.values().flatten().copied();
        let files = self.names.values().copied().chain(buried).chain(extras.iter().map(|manifest| manifest.file));
        files.flat_map(|file| self.known[&file].1.iter().copied()).collect()
    }

    fn filter_of(&self, extras: &[Manifest]) -> Filter {
        let mut builder = Filter::builder(EPOCH, SALT, EXPECTED);
        self.live(extras).iter().for_each(|chunk| builder.insert(chunk));
        builder.finish()
    }

    fn sweep(&self, extras: &[Manifest]) -> Scene<'_> {
        let sweep = Sweep::new(EPOCH, SALT, EXPECTED, self.state.clone(), extras.to_vec());
        assert_eq!(sweep.deadline(), Some(Instant::ZERO));
        sweep.check();
        let mut scene = Scene { store: self, sweep, told: vec![], said: vec![], waiting: vec![] };
        scene.tell(Event::Wake);
        scene
    }
}

struct Scene<'a> {
    store: &'a Store,
    sweep: Sweep,
    told: Vec<Event>,
    said: Vec<Effect>,
    /// Loads that were not answered.
    waiting: Vec<(u64, ChunkId)>,
}

impl Scene<'_> {
    /// Steps the sweep, and holds every step to its bounds.
    fn tell(&mut self, event: Event) {
        let (before, mut out) = (self.sweep.progress(), Vec::new());
        assert_eq!(self.result(), None, "after the result nothing is due");
        self.sweep.step(Now::default(), event.clone(), &mut out);
        self.sweep.flush(Now::default(), &mut out);
        self.sweep.check();
        let after = self.sweep.progress();
        let items = after.contents - before.contents + after.chunks - before.chunks;
        assert!(items <= STEP_ITEMS_MAX as u64, "{items} items in a step");
        assert!(after.parts - before.parts <= 1, "one part in a step");
        assert!(items == 0 || after.parts == before.parts, "not both in a step");
        for effect in &out {
            if let Effect::Load { ticket, chunk } = effect {
                self.waiting.push((*ticket, *chunk));
            }
        }
        assert!(self.waiting.len() <= SWEEP_LOADS_MAX, "{} loads at once", self.waiting.len());
        self.told.push(event);
        self.said.extend(out);
    }

    /// Answers the load at `at`, as the disk has it.
    fn load(&mut self, at: usize) {
        let (ticket, chunk) = self.waiting.remove(at);
        self.tell(Event::Loaded { ticket, result: self.store.nodes[&chunk].clone() });
    }

    /// Goes on until the end; gives the result and the number of steps.
    fn run(&mut self) -> (SweepResult, usize) {
        for steps in 0..100_000 {
            if let Some(result) = self.result() {
                assert_eq!(self.sweep.deadline(), None);
                return (result.clone(), steps);
            }
            if self.sweep.deadline().is_some() { self.tell(Event::Wake) } else { self.load(0) }
        }
        panic!("a sweep comes to its end")
    }

    fn result(&self) -> Option<&SweepResult> {
        match self.said.last() {
            Some(Effect::Done(result)) => Some(result),
            Some(Effect::Load { .. }) | None => None,
        }
    }
}

fn unreadable() -> ChunkFault {
    ChunkFault::Unreadable(Place { volume: 1, offset: 2, position: 3 }, DiskError::Io(5))
}

#[test]
fn an_empty_ledger_has_an_empty_filter() {
    let store = Store::default();
    let mut scene = store.sweep(&[]);
    let (result, _) = scene.run();
    let filter = result.unwrap();
    assert_eq!(filter, Filter::builder(EPOCH, SALT, EXPECTED).finish());
    assert_eq!(filter.epoch(), EPOCH);
    assert_eq!(scene.sweep.progress(), SweepProgress { contents: 0, chunks: 0, parts: 4 });
}

#[test]
fn every_kind_of_manifest_is_walked() {
    let mut store = Store::default();
    for (name, chunks) in [("inline", 0), ("one", 1), ("two", 2), ("leaf", 3), ("tree", 9), ("high", 30)] {
        store.put(name, chunks + 1, chunks);
    }
    let mut scene = store.sweep(&[]);
    let (result, _) = scene.run();
    assert_eq!(result, Ok(store.filter_of(&[])));
    // Chunks, and the nodes over 3, 9 and 30 chunks in threes.
    let chunks = 1 + 2 + 3 + 9 + 30 + 1 + (3 + 1) + (10 + 4 + 2 + 1);
    assert_eq!(scene.sweep.progress(), SweepProgress { contents: 6, chunks, parts: 4 });
}

#[test]
fn what_is_gone_is_not_in_the_filter_unless_it_is_read() {
    let mut store = Store::default();
    store.put("stays", 1, 9);
    let gone = store.put("goes", 2, 9);
    store.purge("goes");
    let (without, _) = store.sweep(&[]).run();
    let (with, _) = store.sweep(core::slice::from_ref(&gone)).run();
    let (without, with) = (without.unwrap(), with.unwrap());
    // All but the first chunk, which both have, are of the deleted file alone.
    let chunks = &store.known[&gone.file].1;
    assert_eq!(chunks.iter().filter(|chunk| without.contains(chunk)).count(), 1);
    assert!(chunks.iter().all(|chunk| with.contains(chunk)));
    assert_eq!(with, store.filter_of(&[gone]));
}

#[test]
fn what_can_be_undeleted_is_in_the_filter_and_what_a_clean_gave_up_is_not() {
    let mut store = Store::default();
    let deleted = store.put("deleted", 1, 9);
    store.delete("deleted");
    let overwritten = store.put("overwritten", 2, 9);
    store.put("overwritten", 3, 9);
    let filter = store.sweep(&[]).run().0.unwrap();
    for manifest in [&deleted, &overwritten] {
        assert!(store.known[&manifest.file].1.iter().all(|chunk| filter.contains(chunk)));
    }
    store.apply(&Command::Clean { time: WallTime::default() });
    let healed = store.put("overwritten", 2, 9);
    let filter = store.sweep(&[]).run().0.unwrap();
    assert!(store.known[&healed.file].1.iter().all(|chunk| filter.contains(chunk)));
    let given_up = store.known[&deleted.file].1.iter().filter(|chunk| filter.contains(chunk));
    assert_eq!(given_up.count(), 1, "only the chunk that both have");
}

#[test]
fn few_manifest_chunks_are_asked_for_at_once() {
    let mut store = Store::default();
    for number in 0..20 {
        store.put(&format!("{number}"), number, 9);
    }
    let mut scene = store.sweep(&[]);
    assert_eq!(scene.waiting.len(), SWEEP_LOADS_MAX, "of several files at once");
    assert_eq!(scene.sweep.deadline(), None, "only a load brings it further");
    assert_eq!(scene.run().0, Ok(store.filter_of(&[])));
}

#[test]
fn a_large_ledger_takes_many_short_steps() {
    let mut store = Store::default();
    let contents = 5 * STEP_ITEMS_MAX as u64 / 2;
    for number in 0..contents {
        store.put(&format!("{number}"), u32::try_from(number).unwrap(), 0);
    }
    let mut scene = store.sweep(&[]);
    let slice = STEP_ITEMS_MAX as u64;
    for seen in [slice, 2 * slice, contents] {
        assert_eq!(scene.sweep.progress().contents, seen);
        assert_eq!(scene.sweep.deadline(), Some(Instant::ZERO), "cut short: it goes on at once");
        scene.tell(Event::Wake);
    }
    assert_eq!(scene.run().0, Ok(store.filter_of(&[])));
}

#[test]
fn a_large_file_takes_many_short_steps() {
    let mut store = Store::default();
    let chunks = 4 * MANIFEST_FANOUT_MAX;
    store.put_in("large", 1, chunks, MANIFEST_FANOUT_MAX);
    let mut scene = store.sweep(&[]);
    let (result, steps) = scene.run();
    assert_eq!(result, Ok(store.filter_of(&[])));
    assert!(steps > chunks as usize / STEP_ITEMS_MAX, "{steps} steps");
}

#[test]
fn a_filter_is_hashed_one_part_a_step() {
    let store = Store::default();
    let mut scene = store.sweep(&[]);
    for parts in 0..4 {
        assert_eq!((scene.sweep.progress().parts, scene.result()), (parts, None));
        assert_eq!(scene.sweep.deadline(), Some(Instant::ZERO));
        scene.tell(Event::Wake);
    }
    assert!(scene.result().is_some());
}

#[test]
fn a_manifest_chunk_that_can_not_be_read_stops_the_sweep_and_is_named() {
    let mut store = Store::default();
    let manifest = store.put("tree", 5, 9);
    let Body::Tree(tree) = manifest.body else { panic!("a tree") };
    let nodes: Vec<ChunkId> = store.nodes.keys().copied().collect();
    assert!(nodes.len() == 4 && nodes.contains(&tree.root));
    for chunk in nodes {
        let good = store.nodes.insert(chunk, Err(unreadable())).unwrap();
        let (file, fault) = (manifest.file, unreadable());
        let error = SweepError::BadManifest { file, chunk: Some(chunk), fault };
        assert_eq!(store.sweep(&[]).run().0, Err(error));
        store.nodes.insert(chunk, good);
    }
}

#[test]
fn manifests_that_were_made_wrong_stop_the_sweep() {
    let chunk = VerifiedChunk::new(Bytes::from_static(b"no node"));
    let mut other = Store::default();
    let Body::Tree(leaf) = other.put("leaf", 1, 3).body else { panic!("a tree") };
    let file = FileId::from_bytes([7; 32]);
    let tree = |root, levels| Body::Tree(Tree { root, levels, fanout: 3 });
    for (body, named) in [
        (tree(chunk.id(), 1), Some(chunk.id())),
        (tree(leaf.root, 1), Some(leaf.root)),
        (tree(leaf.root, 2), None),
        (Body::Entries(vec![]), None),
    ] {
        let mut store = Store::default();
        store.nodes.extend(other.nodes.clone());
        store.nodes.insert(chunk.id(), Ok(chunk.clone()));
        // The leaf is one of three chunks, not of two.
        store.name("wrong", Manifest { file, size: 16, block_bytes: 8, body });
        let error = SweepError::BadManifest { file, chunk: named, fault: ChunkFault::Malformed };
        assert_eq!(store.sweep(&[]).run().0, Err(error.clone()));
        // As the last item that fits into a step, too.
        for number in 0..STEP_ITEMS_MAX - 1 {
            store.put(&format!("{number}"), u32::try_from(number).unwrap(), 0);
        }
        assert_eq!(store.sweep(&[]).run().0, Err(error));
    }
}

#[test]
fn a_sweep_that_ends_waits_for_its_loads() {
    let mut store = Store::default();
    for number in 0..9 {
        store.put(&format!("{number}"), number, 9);
    }
    let mut scene = store.sweep(&[]);
    scene.tell(Event::Cancel);
    for left in (0..SWEEP_LOADS_MAX).rev() {
        assert_eq!(scene.result(), None);
        scene.load(left / 2);
    }
    assert_eq!(scene.result(), Some(&Err(SweepError::Cancelled)));
    let loads = scene.said.iter().filter(|effect| matches!(effect, Effect::Load { .. })).count();
    assert_eq!(loads, SWEEP_LOADS_MAX, "nothing more was asked for");
    let mut out = Vec::new();
    scene.sweep.step(Now::default(), Event::Cancel, &mut out);
    scene.sweep.step(Now::default(), Event::Wake, &mut out);
    assert_eq!((out, scene.sweep.deadline()), (vec![], None), "it is over");
}

#[test]
fn the_first_reason_to_end_stays() {
    let mut store = Store::default();
    let trees = [store.put("a", 1, 9), store.put("b", 2, 9)];
    store.nodes.values_mut().for_each(|node| *node = Err(unreadable()));
    let mut scene = store.sweep(&[]);
    assert_eq!(scene.waiting.len(), 2);
    let first = scene.waiting[1].1;
    scene.load(1);
    scene.tell(Event::Cancel);
    let file = trees.iter().find(|manifest| store.known[&manifest.file].1.contains(&first)).unwrap().file;
    let error = SweepError::BadManifest { file, chunk: Some(first), fault: unreadable() };
    assert_eq!(scene.run().0, Err(error));
}

#[test]
fn a_sweep_can_be_cancelled_while_it_is_hashed() {
    let store = Store::default();
    let mut scene = store.sweep(&[]);
    scene.tell(Event::Wake);
    assert_eq!(scene.sweep.progress().parts, 1);
    scene.tell(Event::Cancel);
    assert_eq!(scene.result(), Some(&Err(SweepError::Cancelled)));
}

#[test]
#[should_panic(expected = "files are read at once")]
fn more_files_than_there_are_conversations_are_a_bug() {
    let manifest = Manifest::inline(FileId::from_bytes(sha256(b"")), b"");
    let _ = Sweep::new(EPOCH, SALT, 0, State::new(), vec![manifest; REQUESTS_MAX + 1]);
}

/// What happens to names before the sweep: a file of so many chunks under a name, or none.
fn any_store() -> impl Strategy<Value = Store> {
    prop::collection::vec((0_u8..8, 0_u32..5, prop::option::weighted(0.8, 0_u32..30)), 0..24).prop_map(|history| {
        let mut store = Store::default();
        for (name, pattern, chunks) in history {
            let name = format!("{name}");
            match chunks {
                Some(chunks) => _ = store.put(&name, pattern, chunks),
                None if pattern > 2 => store.purge(&name),
                None => store.delete(&name),
            }
        }
        store
    })
}

/// Some of the manifests that ever were, also of files that are gone.
fn some_extras(store: &Store, picks: &[prop::sample::Index]) -> Vec<Manifest> {
    let known: Vec<&Manifest> = store.known.values().map(|(manifest, _)| manifest).collect();
    picks.iter().filter(|_| !known.is_empty()).map(|pick| known[pick.index(known.len())].clone()).collect()
}

proptest! {
    /// Any ledger, any files being read, answers in any order: the filter has what must stay and nothing else, bit by
    /// bit. One that can't be read is named instead, if it must stay.
    #[test]
    fn everything_that_must_stay_is_in_the_filter(
        store in any_store(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        bad in prop::option::of(prop::collection::vec(prop::bool::weighted(0.1), 1..40)),
        dice in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let mut store = store;
        let extras = some_extras(&store, &picks);
        let live = store.live(&extras);
        let mut broken = BTreeSet::new();
        let mut rolls = bad.iter().flatten().cycle();
        for (id, node) in &mut store.nodes {
            if rolls.next() == Some(&true) {
                *node = Err(unreadable());
                broken.extend(live.contains(id).then_some(*id));
            }
        }
        let mut scene = store.sweep(&extras);
        for round in 0.. {
            prop_assert!(round < 10_000, "a sweep comes to its end");
            if scene.result().is_some() {
                break;
            }
            let die = usize::from(dice[round % dice.len()]);
            let due = scene.sweep.deadline().is_some();
            if !scene.waiting.is_empty() && (!due || die % 3 > 0) {
                scene.load(die % scene.waiting.len());
            } else {
                prop_assert!(due, "something brings it further");
                scene.tell(Event::Wake);
            }
        }
        prop_assert!(scene.waiting.is_empty(), "no load is on its way any more");
        match scene.result().expect("the loop ended with it") {
            Ok(filter) => {
                prop_assert!(broken.is_empty(), "what can't be read may hide something");
                prop_assert!(live.iter().all(|chunk| filter.contains(chunk)));
                prop_assert_eq!(filter, &store.filter_of(&extras));
            }
            Err(SweepError::BadManifest { file, chunk: Some(chunk), fault }) => {
                prop_assert!(broken.contains(chunk) && store.known[file].1.contains(chunk));
                prop_assert_eq!(fault, &unreadable());
            }
            Err(error) => prop_assert!(false, "{error}"),
        }

        let mut again = Sweep::new(EPOCH, SALT, EXPECTED, store.state.clone(), extras);
        let mut out = Vec::new();
        for event in scene.told {
            again.step(Now::default(), event, &mut out);
        }
        prop_assert_eq!(out, scene.said, "the same events give the same effects");
    }
}
