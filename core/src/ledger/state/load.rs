//! A state out of a snapshot: entry by entry in the order of their keys, each judged when it comes.
//!
//! What comes from elsewhere may be anything, and a state whose parts don't fit together would end in an assertion
//! later. So everything that commands rely on is checked, and costs one step for each entry: contents come first, and
//! each name and each tombstone takes one of the holders that its content counts; orders come before what they order,
//! and are used up by it. Not checked is that times in the ledger are in the order of indexes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::session::SessionsBuilder;
use super::tombstone::Tombstone;
use super::value::{
    KEY_CLOCK, KEY_FLOOR, KEY_SWEEPS, NAMESPACE_CONTENTS, NAMESPACE_EXPIRIES, NAMESPACE_NAMES, NAMESPACE_QUEUES,
    NAMESPACE_TOMBSTONES, Value, expiry_key, name_key, number_of, queue_index, queue_key,
};
use super::{BOUNDS, Counts, NameEntry, State};
use crate::id::FileId;
use crate::ledger::file::Reason;
use crate::ledger::name::Name;
use crate::ledger::tree::Builder;
use crate::limits::OVERWRITTEN_MAX;
use crate::time::WallTime;

/// Bits of an identifier that tell at most where to search for it.
const CONTENT_BITS_MAX: u32 = 24;

/// An entry that can't be, or not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// What is known of a state before its first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) time: WallTime,
    pub(crate) applied: u64,
    /// Contents are weighed before it comes by.
    pub(crate) clean_floor: u64,
}

/// The contents that have come, in order, each with how many names and tombstones are still to come.
#[derive(Default)]
struct Contents {
    list: Vec<(FileId, u64, u64)>,
    /// Where those begin whose identifiers begin with the same bits, and where all end; made when all have come. An
    /// identifier is a hash, so these are few, and names are in no order of contents: a search of all of them would
    /// find hardly anything of what it looks at in the processor's caches.
    starts: Vec<usize>,
}

impl Contents {
    /// How many bits tell where to search: with about eight contents under each.
    fn bits(&self) -> u32 {
        self.list.len().checked_ilog2().unwrap_or(0).saturating_sub(3).min(CONTENT_BITS_MAX)
    }

    fn begin(file: &FileId, bits: u32) -> usize {
        let [a, b, c, ..] = *file.as_bytes();
        (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)) >> (CONTENT_BITS_MAX - bits)
    }

    fn find(&mut self, file: &FileId) -> Option<&mut (FileId, u64, u64)> {
        let bits = self.bits();
        if self.starts.is_empty() {
            self.starts.resize((1 << bits) + 1, 0);
            for (other, _, _) in &self.list {
                self.starts[Self::begin(other, bits) + 1] += 1;
            }
            for at in 0..1 << bits {
                self.starts[at + 1] += self.starts[at];
            }
        }
        let begin = Self::begin(file, bits);
        let among = &mut self.list[self.starts[begin]..self.starts[begin + 1]];
        let at = among.binary_search_by(|(other, _, _)| other.cmp(file)).ok()?;
        among.get_mut(at)
    }
}

/// A state on its way out of a snapshot.
pub(crate) struct StateBuilder {
    head: Head,
    proven: bool,
    builder: Builder<Value>,
    sessions: SessionsBuilder,
    counts: Counts,
    contents: Contents,
    /// How many names and tombstones are still to come of all of them.
    holders_left: u128,
    /// By version, what is still to come of names that expire.
    expiries: BTreeMap<u64, (Name, WallTime)>,
    /// By age, what is still to come of tombstones.
    queued: BTreeMap<(u64, Option<u64>), (Name, u64, Reason)>,
    floor_seen: bool,
    /// The largest ledger time that anything may have.
    latest: WallTime,
    last: Option<(Name, u64, Tombstone)>,
    overwritten: usize,
}

impl StateBuilder {
    /// A state of which nothing has come yet. One that is `proven` to be what this node has written is not hashed, and
    /// of its names and contents only the numbers are compared.
    pub(crate) fn new(head: Head, proven: bool) -> Self {
        Self {
            head,
            proven,
            builder: Builder::new(!proven),
            sessions: SessionsBuilder::new(!proven),
            counts: Counts::default(),
            contents: Contents::default(),
            holders_left: 0,
            expiries: BTreeMap::new(),
            queued: BTreeMap::new(),
            floor_seen: false,
            latest: head.time,
            last: None,
            overwritten: 0,
        }
    }

    /// Takes the next entry of the ledger.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        let namespace = *key.first().ok_or(Broken)?;
        let value = Value::decode(namespace, value, self.proven).ok_or(Broken)?;
        let rest = &key[1..];
        let fits = match &value {
            Value::Content(content) => {
                content.count(self.head.clean_floor, &mut self.counts);
                self.holders_left += u128::from(content.names) + u128::from(content.tombstones);
                if !self.proven {
                    self.contents.list.push((content.manifest.file, content.names, content.tombstones));
                }
                let held = content.names > 0 || content.tombstones > 0;
                rest == content.manifest.file.as_bytes() && held && content.floor <= self.head.clean_floor
            }
            Value::Queued(name, version) if namespace == NAMESPACE_EXPIRIES => self.expiry(key, name, *version),
            Value::Queued(name, version) => self.queue(key, name, *version),
            Value::Floor(index) => {
                self.floor_seen = true;
                key == KEY_FLOOR && *index == self.head.clean_floor
            }
            Value::Clock(clock) => {
                self.latest = clock.latest(self.head.time);
                key == KEY_CLOCK && clock.is_sound(self.head.time)
            }
            Value::Name(entry) => self.name(rest, entry),
            Value::Sweeps(sweeps) => key == KEY_SWEEPS && sweeps.is_sound(self.latest, self.head.applied),
            Value::Tombstone(tombstone) => self.tombstone(rest, tombstone),
        };
        if !fits {
            return Err(Broken);
        }
        self.builder.push(key, value).map_err(|_| Broken)
    }

    /// Takes the next entry of the sessions.
    pub(crate) fn push_session(&mut self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.sessions.push(key, value, self.head.applied).ok_or(Broken)
    }

    /// The state, if nothing is missing of it.
    pub(crate) fn finish(self) -> Result<State, Broken> {
        let floor_fits = self.floor_seen == (self.head.clean_floor > 0) && self.head.clean_floor <= self.head.applied;
        let used_up = self.holders_left == 0 && self.expiries.is_empty() && self.queued.is_empty();
        if !floor_fits || !used_up || self.counts.tombstones > BOUNDS.tombstones {
            return Err(Broken);
        }
        let sessions = self.sessions.finish().ok_or(Broken)?;
        let (Head { time, applied, .. }, counts) = (self.head, self.counts);
        Ok(State { tree: self.builder.finish(), sessions, counts, time, applied })
    }

    fn expiry(&mut self, key: &[u8], name: &Name, version: u64) -> bool {
        let Some(at) = key.get(1..9).and_then(|bytes| bytes.try_into().ok()) else { return false };
        let at = WallTime::from_nanos(u64::from_be_bytes(at));
        let new = self.expiries.insert(version, (name.clone(), at)).is_none();
        new && key == expiry_key(at, version)
    }

    fn queue(&mut self, key: &[u8], name: &Name, version: u64) -> bool {
        let reason = match key.get(1) {
            Some(b'd') => Reason::Deleted,
            Some(b'e') => Reason::Expired,
            Some(b'o') => Reason::Overwritten,
            Some(_) | None => return false,
        };
        if key.len() != 10 && key.len() != 18 {
            return false;
        }
        let (index, own) = (queue_index(key), (key.len() == 18).then_some(version));
        let new = self.queued.insert((index, own), (name.clone(), version, reason)).is_none();
        new && key == queue_key(reason, index, own)
    }

    fn name(&mut self, name: &[u8], entry: &NameEntry) -> bool {
        let NameEntry { version, stored_at, file, expires_at } = *entry;
        self.counts.names += 1;
        let queued = expires_at.is_none_or(|at| {
            let expected = self.expiries.remove(&version);
            stored_at <= at && expected.is_some_and(|(queued, queued_at)| queued.as_bytes() == name && queued_at == at)
        });
        let known = (1..=self.head.applied).contains(&version) && stored_at <= self.latest;
        Name::check(name).is_ok() && queued && known && self.take_holder(&file, |content| &mut content.1)
    }

    /// One of the holders that a content counts has come.
    fn take_holder(&mut self, file: &FileId, left: impl FnOnce(&mut (FileId, u64, u64)) -> &mut u64) -> bool {
        if !self.proven {
            let Some(content) = self.contents.find(file) else { return false };
            let left = left(content);
            let Some(less) = left.checked_sub(1) else { return false };
            *left = less;
        }
        let Some(less) = self.holders_left.checked_sub(1) else { return false };
        self.holders_left = less;
        true
    }

    fn tombstone(&mut self, rest: &[u8], tombstone: &Tombstone) -> bool {
        let Some((text, [0, version @ ..])) = rest.len().checked_sub(9).map(|at| rest.split_at(at)) else {
            return false;
        };
        let (Ok(name), version) = (Name::new(text), number_of(version)) else { return false };
        let Tombstone { index, stored_at, went_at, file, reason, expired } = *tombstone;
        self.counts.tombstones += 1;
        let older = self.last.take().filter(|(other, _, _)| *other == name);
        if older.is_none() {
            self.overwritten = 0;
        }
        self.overwritten += usize::from(reason == Reason::Overwritten);
        let after_older =
            older.is_none_or(|(_, _, older)| older.index <= version && older.reason == Reason::Overwritten);
        let meaning = self.builder.get(&name_key(&name)).map(Value::as_name);
        let before_meaning = match reason {
            Reason::Deleted | Reason::Expired => meaning.is_none(),
            Reason::Overwritten => meaning.is_none_or(|entry| entry.version >= index),
        };
        let queued = self.queued.remove(&(index, expired.then_some(version)));
        let in_queue = queued.is_some_and(|queued| queued == (name.clone(), version, reason));
        let known = 0 < version && version < index && index <= self.head.applied;
        let timely = stored_at <= self.latest && went_at <= self.latest;
        self.last = Some((name, version, *tombstone));
        (expired || reason != Reason::Expired)
            && self.overwritten <= OVERWRITTEN_MAX
            && after_older
            && before_meaning
            && in_queue
            && known
            && timely
            && self.take_holder(&file, |content| &mut content.2)
    }
}

const _: () = {
    // What a key relies on must have come before it.
    assert!(NAMESPACE_CONTENTS < NAMESPACE_EXPIRIES && NAMESPACE_EXPIRIES < NAMESPACE_NAMES);
    assert!(NAMESPACE_NAMES < NAMESPACE_QUEUES && NAMESPACE_QUEUES < NAMESPACE_TOMBSTONES);
    assert!(KEY_CLOCK[0] < NAMESPACE_NAMES && KEY_CLOCK[0] < KEY_SWEEPS[0]);
};
