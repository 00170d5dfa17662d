//! The search for an order of the operations of one key.
//!
//! A configuration is the set of operations that have been put in order, and the state that they leave. From there
//! every answered operation may be next that no other one must precede. What was visited is cached, since another order
//! of the same operations to the same state leads nowhere else, nor does one that has used up more unanswered ones.
//!
//! Unanswered operations are put in order only where they are needed, in a *chain* right before an answered one that
//! the state does not allow. So between steps the version of a key is always known. Whatever else an unanswered
//! operation may do is of no use: what the next operation does not depend on could be left out, and the order would
//! still hold, as the state is then the same but for its newest version, which is not larger.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::ledger::file::Expect;

use super::register::{START, State, last_max};
use super::{OpId, Operation, Outcome};

/// One operation, by the sequence of what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: OpId,
    pub(super) operation: Operation,
    pub(super) invoked: u64,
    pub(super) response: Option<(u64, Outcome)>,
}

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Order,
    NoOrder,
    GaveUp,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    operation: Operation,
    outcome: Outcome,
    invoked: u64,
    responded: u64,
    /// See [`last_max`].
    last_max: u64,
}

#[derive(Clone, Debug)]
struct Open {
    operation: Operation,
    invoked: u64,
    /// The one before it that does the same.
    twin: Option<usize>,
    /// The only versions that a put may get: those that were read with its value and that no answered put has got, if
    /// there are as many of them as unanswered puts of this value.
    reserved: Option<Vec<u64>>,
}

/// A step: unanswered operations, then an answered one, and what they leave.
#[derive(Clone, Debug)]
struct Step {
    chain: Vec<usize>,
    answered: usize,
    state: State,
}

/// A configuration on the way to the current one.
#[derive(Debug)]
struct Frame {
    steps: Vec<Step>,
    /// How many of them were tried; the last of these is the one that was taken.
    tried: usize,
    /// Whether steps with chains are among them. They are looked for only when nothing else is left.
    chained: bool,
    state: State,
    first: usize,
}

/// A set of small numbers.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    fn flip(&mut self, index: usize) {
        self.0[index / 64] ^= 1 << (index % 64);
    }

    /// Whether all of it is in another set of numbers up to the same one.
    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(ours, theirs)| ours & !theirs == 0)
    }

    /// The words from one to the last that is not zero.
    fn words(&self, from: usize) -> &[u64] {
        let end = self.0.iter().rposition(|word| *word != 0).map_or(from, |last| last + 1);
        &self.0[from..end.max(from)]
    }
}

/// What a configuration is found by: the answered operations that are in order, and what the key has.
type Place = (Vec<u64>, Option<(u64, u64)>);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Search {
    answered: Vec<Answered>,
    open: Vec<Open>,
    /// Answered operations that have been put in order, and how many.
    done: Bits,
    done_count: usize,
    /// Unanswered operations that have been put in order.
    used: Bits,
    /// No answered operation before this one is left.
    first: usize,
    state: State,
    /// What was visited at each place: the unanswered operations that were used, and the least newest version.
    seen: BTreeMap<Place, Vec<(Bits, u64)>>,
    left: u64,
}

impl Search {
    /// Looks for an order of these operations, which come in the order of their invocations.
    pub(super) fn run(entries: &[Entry], budget: u64) -> Found {
        let read: BTreeSet<(u64, u64)> = entries.iter().filter_map(read).collect();
        let entries = merge_unread(entries, &read);
        let answered: Vec<Answered> = entries
            .iter()
            .filter_map(|entry| {
                let (responded, outcome) = entry.response?;
                let Entry { operation, invoked, .. } = *entry;
                Some(Answered { operation, outcome, invoked, responded, last_max: last_max(operation, outcome) })
            })
            .collect();
        let open = open(&entries, &read);
        let (done, used) = (Bits::new(answered.len()), Bits::new(open.len()));
        let (state, seen) = (START, BTreeMap::new());
        Self { answered, open, done, done_count: 0, used, first: 0, state, seen, left: budget }.search()
    }

    fn search(mut self) -> Found {
        if self.answered.is_empty() {
            return Found::Order;
        }
        let mut frames = vec![self.frame()];
        while let Some(frame) = frames.last_mut() {
            let Some(step) = frame.steps.get(frame.tried) else {
                if !frame.chained {
                    frame.chained = true;
                    let Some(chained) = self.chained() else { return Found::GaveUp };
                    frame.steps.extend(chained);
                    continue;
                }
                frames.pop();
                if let Some(parent) = frames.last() {
                    self.undo(parent);
                }
                continue;
            };
            frame.tried += 1;
            self.take(step);
            if self.done_count == self.answered.len() {
                return Found::Order;
            }
            if !self.enter() {
                self.undo(frame);
                continue;
            }
            if !self.spend() {
                return Found::GaveUp;
            }
            frames.push(self.frame());
        }
        Found::NoOrder
    }

    fn spend(&mut self) -> bool {
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    fn frame(&self) -> Frame {
        let steps = self.direct();
        // What changes nothing and may come now may as well come now: then no other step has to be tried.
        let chained = steps.first().is_some_and(|step| step.state == self.state);
        Frame { steps, tried: 0, chained, state: self.state, first: self.first }
    }

    fn take(&mut self, step: &Step) {
        self.state = step.state;
        self.done.flip(step.answered);
        self.done_count += 1;
        step.chain.iter().for_each(|open| self.used.flip(*open));
        while self.first < self.answered.len() && self.done.has(self.first) {
            self.first += 1;
        }
    }

    /// Goes back to a frame from the step that it took last.
    fn undo(&mut self, frame: &Frame) {
        let step = &frame.steps[frame.tried - 1];
        self.done.flip(step.answered);
        self.done_count -= 1;
        step.chain.iter().for_each(|open| self.used.flip(*open));
        (self.state, self.first) = (frame.state, frame.first);
    }

    /// Whether nothing as good was visited before; from now on this was.
    fn enter(&mut self) -> bool {
        let done = self.done.words(self.first / 64);
        let mut words = vec![self.first as u64];
        words.extend_from_slice(done);
        let has = match self.state {
            State::Absent { .. } => None,
            State::Present { value, version } => Some((value, version)),
            State::Loose { .. } => unreachable!("an answered operation leaves no version unknown"),
        };
        let last = self.state.last();
        let visited = self.seen.entry((words, has)).or_default();
        if visited.iter().any(|(used, least)| *least <= last && used.is_within(&self.used)) {
            return false;
        }
        visited.push((self.used.clone(), last));
        true
    }

    /// The answered operations that may be next, and the response before which everything that comes next must have
    /// been invoked.
    fn candidates(&self) -> (Vec<usize>, u64) {
        let mut horizon = u64::MAX;
        let mut candidates = Vec::new();
        for index in self.first..self.answered.len() {
            let answered = &self.answered[index];
            if answered.invoked > horizon {
                break;
            }
            if !self.done.has(index) {
                candidates.push(index);
                horizon = horizon.min(answered.responded);
            }
        }
        (candidates, horizon)
    }

    /// Whether none of the other candidates becomes impossible: versions never get smaller.
    fn leaves_room(&self, candidates: &[usize], next: usize, state: State) -> bool {
        candidates.iter().all(|other| *other == next || state.last() <= self.answered[*other].last_max)
    }

    /// Steps without a chain. If one changes nothing, it is the only one.
    fn direct(&self) -> Vec<Step> {
        let (candidates, _) = self.candidates();
        let mut steps = Vec::new();
        for next in &candidates {
            let answered = &self.answered[*next];
            let Some(state) = self.state.answered(answered.operation, answered.outcome) else { continue };
            let step = Step { chain: Vec::new(), answered: *next, state };
            if state == self.state {
                return vec![step];
            }
            if self.leaves_room(&candidates, *next, state) {
                steps.push(step);
            }
        }
        steps.sort_by_key(|step| self.answered[step.answered].responded);
        steps
    }

    /// Steps with a chain, shorter chains first; `None` when the budget is exceeded.
    fn chained(&mut self) -> Option<Vec<Step>> {
        let (candidates, horizon) = self.candidates();
        let refused = candidates.iter().copied().filter(|next| {
            let answered = &self.answered[*next];
            self.state.answered(answered.operation, answered.outcome).is_none()
        });
        let refused: Vec<usize> = refused.collect();
        let mut steps = Vec::new();
        if refused.is_empty() {
            return Some(steps);
        }
        let mut chains = vec![(Vec::new(), self.state)];
        while !chains.is_empty() {
            let mut longer = Vec::new();
            for (chain, before) in &chains {
                for (next, state) in self.links(chain, *before, horizon) {
                    let chain: Vec<usize> = chain.iter().copied().chain([next]).collect();
                    if chain.len() > 1 && !self.spend() {
                        return None;
                    }
                    steps.extend(refused.iter().filter_map(|next| {
                        let answered = &self.answered[*next];
                        let after = state.answered(answered.operation, answered.outcome)?;
                        let fits = self.leaves_room(&candidates, *next, after) && self.keeps_reserve(&chain, after);
                        fits.then(|| Step { chain: chain.clone(), answered: *next, state: after })
                    }));
                    longer.push((chain, state));
                }
            }
            chains = longer;
        }
        let singles: Vec<Step> = steps.iter().filter(|step| step.chain.len() == 1).cloned().collect();
        steps.retain(|step| !singles.iter().any(|other| self.is_better(other, step)));
        Some(steps)
    }

    /// Whether one step with a chain of one leads where another does, but uses an operation up that is of less use: it
    /// expects something, while the other one's can take its place whenever it comes.
    fn is_better(&self, one: &Step, other: &Step) -> bool {
        let [ours] = one.chain[..] else { return false };
        let [theirs] = other.chain[..] else { return false };
        let (ours, theirs) = (self.open[ours].operation, self.open[theirs].operation);
        let same_effect = (one.answered, one.state) == (other.answered, other.state) && ours.value() == theirs.value();
        same_effect && ours.expect() != Expect::Any && theirs.expect() == Expect::Any
    }

    /// Whether every put of a chain that is needed for a version which was read makes such a one.
    fn keeps_reserve(&self, chain: &[usize], after: State) -> bool {
        let (last, inner) = chain.split_last().expect("a chain has a link");
        let makes = |versions: &[u64]| matches!(after, State::Present { version, .. } if versions.contains(&version));
        inner.iter().all(|open| self.open[*open].reserved.is_none())
            && self.open[*last].reserved.as_deref().is_none_or(makes)
    }

    /// What may continue a chain, with the state it leaves. An operation that expects nothing would make the link
    /// before it needless.
    fn links(&self, chain: &[usize], state: State, horizon: u64) -> Vec<(usize, State)> {
        let is_left = |index: usize| !self.used.has(index) && !chain.contains(&index);
        let begun = self.open.iter().enumerate().take_while(|(_, open)| open.invoked < horizon);
        begun
            .filter(|(index, open)| is_left(*index) && !open.twin.is_some_and(is_left))
            .filter(|(_, open)| chain.is_empty() || open.operation.expect() != Expect::Any)
            .filter_map(|(index, open)| Some((index, state.unanswered(open.operation)?)))
            .collect()
    }
}

fn read(entry: &Entry) -> Option<(u64, u64)> {
    match entry.response?.1 {
        Outcome::Found { value, version } => Some((value, version)),
        Outcome::Stored { .. } | Outcome::Deleted | Outcome::NotFound | Outcome::Conflict { .. } => None,
    }
}

/// Values that were never read can't be told apart: all become one that was never read.
fn merge_unread(entries: &[Entry], read: &BTreeSet<(u64, u64)>) -> Vec<Entry> {
    let values: BTreeSet<u64> = read.iter().map(|(value, _)| *value).collect();
    let unread = (0..=u64::MAX).find(|value| !values.contains(value)).expect("fewer values than numbers");
    let merged = entries.iter().map(|entry| match entry.operation {
        Operation::Put { value, expect } if !values.contains(&value) => {
            Entry { operation: Operation::Put { value: unread, expect }, ..*entry }
        }
        Operation::Put { .. } | Operation::Delete { .. } | Operation::Get => *entry,
    });
    merged.collect()
}

/// The unanswered operations that may matter.
fn open(entries: &[Entry], read: &BTreeSet<(u64, u64)>) -> Vec<Open> {
    let stored = |version: u64| entries.iter().any(|entry| stored(entry) == Some(version));
    let unanswered = || entries.iter().filter(|entry| entry.response.is_none() && entry.operation != Operation::Get);
    let mut open: Vec<Open> = Vec::new();
    for Entry { operation, invoked, .. } in unanswered().copied() {
        let twin = open.iter().rposition(|other| other.operation == operation);
        let value = operation.value();
        let orphans = read.iter().filter(|(read, version)| Some(*read) == value && !stored(*version));
        let orphans: Vec<u64> = orphans.map(|(_, version)| *version).collect();
        let makers = unanswered().filter(|entry| entry.operation.value() == value).count();
        let reserved = (value.is_some() && orphans.len() >= makers).then_some(orphans);
        open.push(Open { operation, invoked, twin, reserved });
    }
    open
}

fn stored(entry: &Entry) -> Option<u64> {
    match entry.response?.1 {
        Outcome::Stored { version } => Some(version),
        Outcome::Found { .. } | Outcome::Deleted | Outcome::NotFound | Outcome::Conflict { .. } => None,
    }
}
