//! A checker that is too simple to be wrong, and too slow for more than a few operations.

use std::collections::{BTreeMap, BTreeSet};

use super::scripts::{Event, Script};
use super::*;

/// What a key has, and the newest version that it ever had.
type Key = (Option<(u64, u64)>, u64);

/// What a register says, and what it has then. A put gets the version that is given to it.
pub(super) fn perform(key: Key, operation: Operation, version: u64) -> (Outcome, Key) {
    let (current, newest) = key;
    let has = current.map(|(_, version)| version);
    let met = match operation.expect() {
        Expect::Any => true,
        Expect::Absent => has.is_none(),
        Expect::Version(version) => has == Some(version),
    };
    match operation {
        Operation::Put { .. } | Operation::Delete { .. } if !met => (Outcome::Conflict { current: has }, key),
        Operation::Put { value, .. } => (Outcome::Stored { version }, (Some((value, version)), version)),
        Operation::Delete { .. } if current.is_some() => (Outcome::Deleted, (None, newest)),
        Operation::Delete { .. } => (Outcome::NotFound, key),
        Operation::Get => {
            (current.map_or(Outcome::NotFound, |(value, version)| Outcome::Found { value, version }), key)
        }
    }
}

#[derive(Clone, Copy)]
struct Op {
    id: u32,
    key: u64,
    operation: Operation,
    invoked: usize,
    response: Option<(usize, Outcome)>,
}

/// All operations of a script, of all keys together.
pub(super) struct Brute {
    ops: Vec<Op>,
}

impl Brute {
    pub(super) fn of(script: &Script) -> Self {
        let mut ops: Vec<Op> = Vec::new();
        for (at, event) in script.events.iter().enumerate() {
            match event {
                Event::Invoke { key, operation, .. } => {
                    let id = u32::try_from(ops.len()).unwrap();
                    ops.push(Op { id, key: *key, operation: *operation, invoked: at, response: None });
                }
                Event::Respond { id, outcome } => ops[*id as usize].response = Some((at, *outcome)),
            }
        }
        Self { ops }
    }

    /// Whether what had happened by the event of this number has an order.
    pub(super) fn has_order(&self, last: usize) -> bool {
        let begun = self.ops.iter().filter(|op| op.invoked <= last);
        let ops: Vec<Op> = begun.map(|op| Op { response: op.response.filter(|(at, _)| *at <= last), ..*op }).collect();
        extend(&ops, &mut vec![false; ops.len()], &BTreeMap::new())
    }

    /// The smallest key without an order, its operations up to the first response that leaves none, and that response.
    pub(super) fn refute(&self) -> (u64, Vec<u32>, u32) {
        let keys: BTreeSet<u64> = self.ops.iter().map(|op| op.key).collect();
        for key in keys {
            let alone = Self { ops: self.ops.iter().filter(|op| op.key == key).copied().collect() };
            let mut ends: Vec<(usize, u32)> =
                alone.ops.iter().filter_map(|op| op.response.map(|(at, _)| (at, op.id))).collect();
            ends.sort_unstable();
            if let Some((at, by)) = ends.into_iter().find(|(at, _)| !alone.has_order(*at)) {
                let window = alone.ops.iter().filter(|op| op.invoked <= at).map(|op| op.id).collect();
                return (key, window, by);
            }
        }
        panic!("each key has an order, but all together have none");
    }
}

/// Every order that begins like this: all operations that may be next, with all versions that may matter.
fn extend(ops: &[Op], taken: &mut [bool], keys: &BTreeMap<u64, Key>) -> bool {
    if ops.iter().zip(&*taken).all(|(op, taken)| *taken || op.response.is_none()) {
        return true;
    }
    for index in 0..ops.len() {
        let op = ops[index];
        let precedes = |other: &Op| other.response.is_some_and(|(at, _)| at < op.invoked);
        if taken[index] || ops.iter().zip(&*taken).any(|(other, taken)| !taken && precedes(other)) {
            continue;
        }
        let key = keys.get(&op.key).copied().unwrap_or_default();
        taken[index] = true;
        for version in versions(ops, &op, key.1) {
            let (outcome, after) = perform(key, op.operation, version);
            if op.response.is_some_and(|(_, told)| told != outcome) {
                continue;
            }
            let mut keys = keys.clone();
            keys.insert(op.key, after);
            if extend(ops, taken, &keys) {
                return true;
            }
        }
        taken[index] = false;
    }
    false
}

/// The versions that a put may get: the one it was told, or else the next number and every larger one that anybody
/// mentions of the key.
fn versions(ops: &[Op], op: &Op, newest: u64) -> BTreeSet<u64> {
    let mut versions = BTreeSet::from([newest + 1]);
    for other in ops.iter().filter(|other| other.key == op.key) {
        if let Expect::Version(version) = other.operation.expect() {
            versions.insert(version);
        }
        match other.response.map(|(_, outcome)| outcome) {
            Some(
                Outcome::Stored { version }
                | Outcome::Found { version, .. }
                | Outcome::Conflict { current: Some(version) },
            ) => {
                versions.insert(version);
            }
            Some(Outcome::Deleted | Outcome::NotFound | Outcome::Conflict { current: None }) | None => {}
        }
    }
    versions.retain(|version| *version > newest);
    match (op.operation, op.response) {
        (Operation::Put { .. }, Some((_, Outcome::Stored { version }))) => versions.retain(|other| *other == version),
        (Operation::Put { .. }, _) => {}
        (Operation::Delete { .. } | Operation::Get, _) => versions = BTreeSet::from([0]),
    }
    versions
}
