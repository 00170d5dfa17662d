//! Is what clients saw of a map explained by one order of their operations, each at some instant between its invocation
//! and its response? That is linearizability; the search is that of Wing and Gong with the cache of Lowe (2017).
//!
//! Keys are judged one by one, since a history is linearizable if and only if each of its keys is (Herlihy and Wing
//! 1990, theorem 1). An operation without a response may take effect at any time after its invocation, or never.

mod register;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use dps_core::ledger::file::Expect;

use search::{Entry, Found, Search};

/// What a client wants of a key. Values are numbers by which the caller tells contents apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Give the key a value, if it is as expected.
    Put {
        /// The value.
        value: u64,
        /// What the key must have.
        expect: Expect,
    },
    /// Take the key's value away, if it is as expected.
    Delete {
        /// What the key must have.
        expect: Expect,
    },
    /// Ask for the key's value.
    Get,
}

impl Operation {
    /// What the key must have; anything for a reading.
    #[must_use]
    pub const fn expect(self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect } => expect,
            Self::Get => Expect::Any,
        }
    }

    /// The value that a put gives.
    #[must_use]
    pub const fn value(self) -> Option<u64> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } | Self::Get => None,
        }
    }
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of a put: done. Of one key, later puts have larger versions, also after a delete. Versions are above 0.
    Stored {
        /// The new version.
        version: u64,
    },
    /// Of a delete: done.
    Deleted,
    /// Of a delete or get: there is no value.
    NotFound,
    /// Of a put or delete: the key is not as expected, and nothing changed.
    Conflict {
        /// The version it has; `None` if it has no value.
        current: Option<u64>,
    },
    /// Of a get: the value.
    Found {
        /// The value.
        value: u64,
        /// Its version.
        version: u64,
    },
}

/// Names an operation of one history: dense from 0, in the order of invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpId(pub u32);

/// What a check comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains everything.
    Linearizable,
    /// There is none.
    NotLinearizable {
        /// The key that has none; the smallest one, if there are several.
        key: u64,
        /// The smallest prefix of the key's operations that has none: those invoked before the response that can't be
        /// explained, in the order of invocations. It is not the smallest if looking for it exceeded the budget.
        window: Vec<OpId>,
        /// The operation whose response can't be explained. In that prefix later responses have not come yet.
        refuted_by: OpId,
    },
    /// The search was given up, and no other key is known to have no order.
    OutOfBudget {
        /// The key; the smallest one, if there are several.
        key: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Record {
    client: u32,
    key: u64,
    operation: Operation,
    invoked: Moment,
    response: Option<(Moment, Outcome)>,
    /// Whether it is known to have had no effect.
    undone: bool,
}

/// The order of calls decides what was before what, also at one instant of virtual time.
#[derive(Clone, Copy, Debug)]
struct Moment {
    sequence: u64,
    at_ns: u64,
}

/// What clients did and saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Record>,
    sequence: u64,
    now_ns: u64,
}

impl History {
    /// A client asks for something. Calls come in the order in which things happen, which is also the order of what
    /// happens at one time.
    ///
    /// # Panics
    /// When time, in nanoseconds, goes back, and at 2^32 operations.
    pub fn invoke(&mut self, client: u32, key: u64, operation: Operation, at_ns: u64) -> OpId {
        let invoked = self.moment(at_ns);
        let id = OpId(u32::try_from(self.records.len()).expect("operations of one run are few"));
        self.records.push(Record { client, key, operation, invoked, response: None, undone: false });
        id
    }

    /// A client is told how an operation ended. One of which it is never told may still take effect.
    ///
    /// # Panics
    /// When time, in nanoseconds, goes back, when the operation has ended already, or when it can't end like this.
    pub fn respond(&mut self, id: OpId, outcome: Outcome, at_ns: u64) {
        let moment = self.moment(at_ns);
        let record = &mut self.records[id.0 as usize];
        assert!(record.response.is_none(), "operation {} has ended already", id.0);
        assert!(fits(record.operation, outcome), "{outcome:?} is no outcome of {:?}", record.operation);
        record.response = Some((moment, outcome));
    }

    /// A client is told that an operation was not done and never will be.
    ///
    /// # Panics
    /// When the operation has ended already.
    pub fn refused(&mut self, id: OpId) {
        let record = &mut self.records[id.0 as usize];
        assert!(record.response.is_none(), "operation {} has ended already", id.0);
        record.undone = true;
    }

    /// Operations so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Judges everything. For each key, and for each prefix that is tried for its window, the search gives up after
    /// `budget` configurations; one takes a few hundred bytes at most.
    #[must_use]
    pub fn check(&self, budget: u64) -> Verdict {
        let mut keys: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        for (id, record) in (0..).map(OpId).zip(&self.records).filter(|(_, record)| !record.undone) {
            let response = record.response.map(|(moment, outcome)| (moment.sequence, outcome));
            let entry = Entry { id, operation: record.operation, invoked: record.invoked.sequence, response };
            keys.entry(record.key).or_default().push(entry);
        }
        let mut given_up = None;
        for (key, entries) in keys {
            match Search::run(&entries, budget) {
                Found::Order => {}
                Found::NoOrder => return refute(key, &entries, budget),
                Found::GaveUp => given_up = given_up.or(Some(key)),
            }
        }
        given_up.map_or(Verdict::Linearizable, |key| Verdict::OutOfBudget { key })
    }

    /// One operation as a line of text.
    ///
    /// # Panics
    /// When it is of another history.
    #[must_use]
    pub fn line(&self, id: OpId) -> String {
        self.records[id.0 as usize].to_string()
    }

    fn moment(&mut self, at_ns: u64) -> Moment {
        assert!(at_ns >= self.now_ns, "time goes back from {} to {at_ns}", self.now_ns);
        self.now_ns = at_ns;
        self.sequence += 1;
        Moment { sequence: self.sequence, at_ns }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, key, operation, invoked, response, undone: _ } = self;
        write!(f, "client {client}, key {key}: {operation:?} at {} ns, ", invoked.at_ns)?;
        match response {
            Some((moment, outcome)) => write!(f, "{outcome:?} at {} ns", moment.at_ns),
            None => f.write_str("no answer"),
        }
    }
}

const fn fits(operation: Operation, outcome: Outcome) -> bool {
    match operation {
        Operation::Put { .. } => matches!(outcome, Outcome::Stored { .. } | Outcome::Conflict { .. }),
        Operation::Delete { .. } => {
            matches!(outcome, Outcome::Deleted | Outcome::NotFound | Outcome::Conflict { .. })
        }
        Operation::Get => matches!(outcome, Outcome::Found { .. } | Outcome::NotFound),
    }
}

/// What was invoked by this moment; what had not ended by then counts as unanswered.
fn prefix(entries: &[Entry], last: u64) -> Vec<Entry> {
    let begun = entries.iter().filter(|entry| entry.invoked <= last);
    begun.map(|entry| Entry { response: entry.response.filter(|(at, _)| *at <= last), ..*entry }).collect()
}

/// The verdict on a key without an order. Whatever follows a prefix without one has none, so halving finds the
/// smallest.
fn refute(key: u64, entries: &[Entry], budget: u64) -> Verdict {
    let mut responses: Vec<(u64, OpId)> =
        entries.iter().filter_map(|entry| entry.response.map(|(at, _)| (at, entry.id))).collect();
    responses.sort_unstable();
    // The prefix up to the response at `high` has no order; up to one before `low` there is one, or no verdict.
    let (mut low, mut high) = (0, responses.len() - 1);
    while low < high {
        let middle = low.midpoint(high);
        match Search::run(&prefix(entries, responses[middle].0), budget) {
            Found::NoOrder => high = middle,
            Found::Order | Found::GaveUp => low = middle + 1,
        }
    }
    let (at, refuted_by) = responses[high];
    let window = prefix(entries, at).iter().map(|entry| entry.id).collect();
    Verdict::NotLinearizable { key, window, refuted_by }
}
