//! Where a [`Verify`] lives: a ledger of a few files, a client that takes findings, a store that mostly has the chunks.

use std::collections::BTreeMap;

use dps_core::disk::File;
use dps_core::disk::damage::{Damage, DamageKind};
use dps_core::id::{ChunkId, VerifiedChunk};
use dps_core::ledger::command::Command;
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::ledger::state::State;
use dps_core::node::{Finding, VerifyScope};
use dps_core::rng::Rng;
use dps_core::task::verify::{Effect, Event, Verify};
use dps_core::time::WallTime;
use dps_tests::laws::Habitat;

use crate::files::{Source, index};
use crate::get::load;

pub(crate) struct Round {
    ledger: State,
    stored: BTreeMap<ChunkId, VerifiedChunk>,
    scope: VerifyScope,
    loading: Vec<(u64, ChunkId)>,
    over: bool,
}

impl Round {
    pub(crate) fn new(seed: u64) -> Self {
        let (mut ledger, mut stored) = (State::new(), BTreeMap::new());
        // More names than one step visits where the scope is everything: empty files cost nothing else.
        let names = if seed.is_multiple_of(4) { 1_500 } else { 12 };
        for number in 0..names {
            let (manifest, chunks) = Source::new(if number < 12 { number } else { 0 }, false).stored();
            stored.extend(chunks.into_iter().map(|chunk| (chunk.id(), chunk)));
            let (time, name) = (WallTime::default(), name(number));
            ledger.apply(number + 1, &Command::Put { time, lease: 0, name, expect: Expect::Any, manifest });
        }
        let scope = match seed % 3 {
            0 => VerifyScope::One(Target::Name(name(seed % 12))),
            _ => VerifyScope::All,
        };
        Self { ledger, stored, scope, loading: Vec::new(), over: false }
    }
}

fn name(number: u64) -> Name {
    Name::new(format!("{number:04}").as_bytes()).expect("digits are a name")
}

impl Habitat for Round {
    type Machine = Verify;

    fn machine(&self) -> Verify {
        let damage = |first| {
            let (file, offset, last) = (File::Volume(1), first * 100, first + 1);
            Finding::Damage(Damage { file, offset, first, last, kind: DamageKind::Broken })
        };
        Verify::new(self.scope.clone(), self.ledger.clone(), vec![damage(3), damage(9)])
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        // A machine that has given its last reply is dropped.
        if self.over {
            return None;
        }
        match rng.below(300) {
            0 => return Some(Event::Cancel),
            1 => return Some(Event::More { findings: u32::MAX }),
            _ => {}
        }
        if self.loading.is_empty() || rng.chance(1, 4) {
            return Some(Event::More { findings: 1 });
        }
        let (ticket, chunk) = self.loading.remove(index(rng, self.loading.len()));
        Some(Event::Loaded { ticket, result: load(&self.stored, chunk, rng) })
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Load { ticket, chunk } => self.loading.push((*ticket, *chunk)),
                Effect::Reply { last, .. } => self.over |= *last,
            }
        }
    }

    fn bytes(_effect: &Effect) -> usize {
        // It names chunks and findings; the bytes are read and hashed elsewhere.
        0
    }
}
