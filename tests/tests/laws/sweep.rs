//! Where a sweep lives: a ledger that takes several steps to walk, and a disk that answers in any order.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dps_core::config::{Config, RawConfig};
use dps_core::crypto::hash::sha256;
use dps_core::id::{ChunkId, FileId, VerifiedChunk};
use dps_core::keystore::ChunkFault;
use dps_core::keystore::ingest::FileDigest;
use dps_core::keystore::manifest::{Entry, Manifest};
use dps_core::keystore::manifest_builder::ManifestBuilder;
use dps_core::ledger::command::Command;
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::ledger::state::State;
use dps_core::limits::{FILTER_PART_BYTES_MAX, STEP_ITEMS_MAX};
use dps_core::machine::Machine;
use dps_core::rng::{Rng, Seed};
use dps_core::task::sweep::{Effect, Event, Sweep};
use dps_core::time::{Now, WallTime};
use dps_tests::laws::Habitat;

/// So much room that the filter has several parts.
const EXPECTED: u64 = 300_000;

/// Contents that are part of the ledger: more than one step takes.
const INLINE_COUNT: u32 = 3 * STEP_ITEMS_MAX as u32;

/// Contents with a tree of manifest chunks.
const TREE_COUNT: u32 = 20;

/// A ledger and the manifest chunks of its files.
struct Store {
    state: State,
    nodes: BTreeMap<ChunkId, VerifiedChunk>,
    /// A file that no name means any more and that is being read.
    read: Manifest,
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let mut state = State::new();
    let mut nodes = BTreeMap::new();
    for number in 0..INLINE_COUNT {
        let content = number.to_le_bytes();
        put(&mut state, Manifest::inline(FileId::from_bytes(sha256(&content)), &content));
    }
    for number in 0..TREE_COUNT {
        let manifest = tree(number, &mut nodes);
        put(&mut state, manifest);
    }
    let read = tree(TREE_COUNT, &mut nodes);
    Store { state, nodes, read }
});

fn put(state: &mut State, manifest: Manifest) {
    let index = state.applied() + 1;
    let name = Name::new(format!("file {index}").as_bytes()).expect("a good name");
    state.apply(index, &Command::Put { time: WallTime::default(), name, expect: Expect::Any, lease: 0, manifest });
}

/// A file of a few chunks in threes, without real content.
fn tree(number: u32, nodes: &mut BTreeMap<ChunkId, VerifiedChunk>) -> Manifest {
    let raw = RawConfig { manifest_entries_max: 2, manifest_fanout: 3, ..RawConfig::STANDARD };
    let config = Config::new(raw).expect("good numbers");
    let (mut builder, mut made) = (ManifestBuilder::new(config.geometry()), Vec::new());
    for index in 0..3 + number {
        let chunk = ChunkId::of(&[number.to_le_bytes(), index.to_le_bytes()].concat());
        builder.push(Entry { chunk, bytes: 8 }, &mut made).expect("few chunks");
    }
    let digest = FileDigest { file: FileId::from_bytes(sha256(&[0xff, number as u8])), size: builder.size() };
    let manifest = builder.finish(digest, 8, &mut made);
    nodes.extend(made.into_iter().map(|node| (node.id(), node)));
    manifest
}

/// Answers loads, rarely without the chunk, and rarely gives up.
pub(crate) struct Ground {
    waiting: Vec<(u64, ChunkId)>,
    over: bool,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self { waiting: Vec::new(), over: false }
    }
}

impl Habitat for Ground {
    type Machine = Sweep;

    fn machine(&self) -> Sweep {
        Sweep::new(7, [1; 16], EXPECTED, STORE.state.clone(), vec![STORE.read.clone()])
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        if self.over || rng.chance(1, 200) {
            return (!self.over).then_some(Event::Cancel);
        }
        let at = usize::try_from(rng.below(self.waiting.len().max(1) as u64)).expect("below a length");
        let (ticket, chunk) = (!self.waiting.is_empty()).then(|| self.waiting.swap_remove(at))?;
        let lost = Err(ChunkFault::Missing { lost_volumes: vec![1] });
        let result = if rng.chance(1, 300) { lost } else { Ok(STORE.nodes[&chunk].clone()) };
        Some(Event::Loaded { ticket, result })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Load { ticket, chunk } => self.waiting.push((*ticket, *chunk)),
                Effect::Done(_) => self.over = true,
            }
        }
    }

    fn bytes(effect: &Effect) -> usize {
        match effect {
            Effect::Load { .. } => 0,
            // The last part was hashed in the same step.
            Effect::Done(result) => result.as_ref().as_ref().map_or(0, |_| FILTER_PART_BYTES_MAX as usize),
        }
    }

    fn progress(sweep: &Sweep) -> u64 {
        let progress = sweep.progress();
        progress.contents + progress.chunks + u64::from(progress.parts)
    }
}

/// The laws say little of a machine that never does anything: most sweeps come to their end within a life.
#[test]
fn a_life_of_a_sweep_is_long_enough() {
    let root = Seed::new([1; 32]);
    let filters = (0..20).filter(|number| {
        let (mut ground, mut rng) = (Ground::new(), root.split("life", *number).rng());
        let (mut sweep, now) = (ground.machine(), Now::default());
        for _ in 0..10_000 {
            let due = sweep.deadline().map(|_| Event::Wake);
            let Some(event) = due.or_else(|| ground.event(&mut rng)) else { break };
            let mut out = Vec::new();
            sweep.step(now, event, &mut out);
            ground.observe(&out);
            if let Some(Effect::Done(result)) = out.last() {
                return result.is_ok();
            }
        }
        false
    });
    assert!(filters.count() >= 5, "several come to a filter");
}
