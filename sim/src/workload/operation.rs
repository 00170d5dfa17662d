//! What a client does next.

use std::sync::Arc;

use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::limits::OVERWRITTEN_MAX;
use dps_core::node::{ByteRange, VerifyScope};
use dps_core::rng::Rng;

use super::desk::{Conversation, Oracle};
use super::gc::Gc;
use super::get::{Get, GetPlan};
use super::put::{Put, PutPlan};
use super::query::{Delete, List, Stat, Verify};
use super::restore::{Clean, Tombstones, Undelete};
use crate::content::Content;
use crate::draws::{below_power, index, pick};

/// One operation. In the end the same as the conversation that it becomes.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Put(PutPlan),
    Get(GetPlan),
    Delete { name: Name, expect: Expect },
    List { prefix: String, after: Option<Name>, limit: u32 },
    Stat(Target),
    Verify { scope: VerifyScope, grant: u32, cancel: bool },
    Purge(Name),
    Gc { cancel: bool },
    Undelete { name: Name, version: u64, expect: Expect },
    Tombstones { prefix: String, after: Option<(Name, u64)>, limit: u32 },
    Clean { deep: bool },
}

impl Operation {
    /// A plain put of a known size.
    pub(crate) fn store(name: Name, content: Arc<Content>) -> Self {
        Self::Put(PutPlan { name, content, expect: Expect::Any, piped: false, cancel_at: None, hesitation_ns: 0 })
    }

    /// A plain get of all bytes.
    pub(crate) fn load(name: Name) -> Self {
        let target = Target::Name(name);
        Self::Get(GetPlan { target, range: None, grant_bytes: 1 << 20, hesitation_ns: 0, cancel_at: None })
    }

    pub(crate) fn conversation(&self) -> Box<dyn Conversation> {
        match self.clone() {
            Self::Put(plan) => Box::new(Put::new(plan)),
            Self::Get(plan) => Box::new(Get::new(plan)),
            Self::Delete { name, expect } => Box::new(Delete::new(name, expect)),
            Self::List { prefix, after, limit } => Box::new(List::new(prefix, after, limit)),
            Self::Stat(target) => Box::new(Stat::new(target)),
            Self::Verify { scope, grant, cancel } => Box::new(Verify::new(scope, grant, cancel)),
            Self::Purge(name) => Box::new(Delete::for_good(name)),
            Self::Gc { cancel } => Box::new(Gc::new(cancel)),
            Self::Undelete { name, version, expect } => Box::new(Undelete::new(name, version, expect)),
            Self::Tombstones { prefix, after, limit } => Box::new(Tombstones::new(prefix, after, limit)),
            Self::Clean { deep } => Box::new(Clean::new(deep)),
        }
    }

    /// The same put once more, without haste and to its end, as somebody does who was not told that it is done.
    pub(crate) fn again(&self) -> Option<Self> {
        let Self::Put(plan) = self else { return None };
        Some(Self::Put(PutPlan { cancel_at: None, hesitation_ns: 0, expect: Expect::Any, ..plan.clone() }))
    }

    /// Whether an acknowledgement means that something was written.
    pub(crate) const fn is_write(&self) -> bool {
        match self {
            Self::Put(_) | Self::Delete { .. } | Self::Purge(_) | Self::Undelete { .. } | Self::Clean { .. } => true,
            Self::Get(_) | Self::List { .. } | Self::Stat(_) | Self::Verify { .. } | Self::Gc { .. } => false,
            Self::Tombstones { .. } => false,
        }
    }

    /// Whether it can do without any write.
    pub(crate) const fn is_read(&self) -> bool {
        !self.is_write() && !matches!(self, Self::Gc { .. })
    }
}

/// Draws an operation of a client that alone writes the names in `own`.
pub(crate) fn draw(rng: &mut Rng, oracle: &mut Oracle, own: &[Name], all: &[Name], stall_ns: u64) -> Operation {
    match rng.below(100) {
        0..=37 => draw_put(rng, oracle, own, stall_ns),
        38..=66 => draw_get(rng, oracle, all),
        67..=76 => {
            let name = pick(rng, own).clone();
            let expect = draw_expect(rng, oracle, &name, false);
            Operation::Delete { name, expect }
        }
        77..=84 => {
            let prefix = pick(rng, &["", "", "a", "a/", "b/", "a/1"]).to_string();
            let after = rng.chance(1, 3).then(|| pick(rng, all).clone());
            let limit = u32::try_from(rng.between(1, 12)).expect("a small number");
            Operation::List { prefix, after, limit }
        }
        85..=93 => Operation::Stat(draw_target(rng, oracle, all)),
        _ => {
            let scope =
                if rng.chance(1, 3) { VerifyScope::All } else { VerifyScope::One(draw_target(rng, oracle, all)) };
            let grant = u32::try_from(rng.between(1, 10)).expect("a small number");
            Operation::Verify { scope, grant, cancel: rng.chance(1, 5) }
        }
    }
}

/// Draws whether space is to come back, or what was removed, instead of the next operation, and how.
pub(crate) fn draw_reclaim(rng: &mut Rng, oracle: &Oracle, own: &[Name], all: &[Name]) -> Option<Operation> {
    match rng.below(100) {
        0..=2 => Some(Operation::Gc { cancel: rng.chance(1, 8) }),
        3..=5 => Some(Operation::Purge(pick(rng, own).clone())),
        6..=8 => draw_undelete(rng, oracle, own),
        9 | 10 => {
            let prefix = pick(rng, &["", "", "a", "a/", "b/", "a/1"]).to_string();
            let after = rng.chance(1, 3).then(|| (pick(rng, all).clone(), rng.below(oracle.version_max + 2)));
            let limit =
                if rng.chance(1, 2) { 1_000 } else { u32::try_from(rng.between(1, 20)).expect("a small number") };
            Some(Operation::Tombstones { prefix, after, limit })
        }
        11 if rng.chance(1, 6) => Some(Operation::Clean { deep: false }),
        _ => None,
    }
}

/// An undelete of a name, if it is known what that may come to.
fn draw_undelete(rng: &mut Rng, oracle: &Oracle, own: &[Name]) -> Option<Operation> {
    let name = pick(rng, own).clone();
    let at = index(rng, OVERWRITTEN_MAX);
    let version = match rng.below(6) {
        0 => rng.below(oracle.version_max + 2),
        1 | 2 => oracle.model.buried_version(&name, at).unwrap_or(0),
        _ => 0,
    };
    let expect = draw_expect(rng, oracle, &name, true);
    oracle.model.knows_graves(&name).then_some(Operation::Undelete { name, version, expect })
}

fn draw_expect(rng: &mut Rng, oracle: &Oracle, name: &Name, absent: bool) -> Expect {
    match rng.below(8) {
        0 if absent => Expect::Absent,
        1 => Expect::Version(rng.below(oracle.version_max + 2)),
        2 | 3 => oracle.model.version(name).map_or(Expect::Any, Expect::Version),
        _ => Expect::Any,
    }
}

fn draw_put(rng: &mut Rng, oracle: &mut Oracle, own: &[Name], stall_ns: u64) -> Operation {
    let name = pick(rng, own).clone();
    // Whoever finds a file damaged stores it again.
    let damaged = if !oracle.bad.is_empty() && rng.chance(1, 3) { Some(pick(rng, &oracle.bad).0) } else { None };
    let content = damaged.and_then(|file| oracle.library.find(file).cloned());
    let content = content.unwrap_or_else(|| oracle.library.draw(rng));
    let piped = rng.chance(1, 3);
    let chunks = content.cut(piped).chunks.len() as u64;
    let cancel_at = rng.chance(1, 6).then(|| usize::try_from(rng.below(chunks + 2)).expect("few chunks"));
    let hesitation_ns = match rng.below(30) {
        0 => stall_ns,
        1..=4 => rng.below(2_000_000),
        _ => 0,
    };
    let expect = draw_expect(rng, oracle, &name, true);
    Operation::Put(PutPlan { name, content, expect, piped, cancel_at, hesitation_ns })
}

fn draw_target(rng: &mut Rng, oracle: &Oracle, all: &[Name]) -> Target {
    match oracle.library.draw_old(rng) {
        Some(content) if rng.chance(1, 5) => Target::Content(content.file),
        _ => Target::Name(pick(rng, all).clone()),
    }
}

fn draw_get(rng: &mut Rng, oracle: &Oracle, all: &[Name]) -> Operation {
    let target = draw_target(rng, oracle, all);
    let edge = |rng: &mut Rng| below_power(rng, 0, 12);
    let range = match rng.below(8) {
        0 => Some(ByteRange::From { first: edge(rng) }),
        1 => {
            let first = edge(rng);
            Some(ByteRange::FromTo { first, last: first + edge(rng) })
        }
        2 => Some(ByteRange::Last { bytes: 1 + edge(rng) }),
        _ => None,
    };
    let grant_bytes = if rng.chance(1, 2) { 1 << 20 } else { rng.between(1 << 5, 1 << 9) };
    let hesitation_ns = if rng.chance(1, 6) { rng.below(1_000_000) } else { 0 };
    let cancel_at = rng.chance(1, 10).then(|| edge(rng));
    Operation::Get(GetPlan { target, range, grant_bytes, hesitation_ns, cancel_at })
}
