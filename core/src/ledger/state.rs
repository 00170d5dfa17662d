//! The replicated state of the ledger: what every name means and which contents exist. Pure: the same commands in the
//! same order give the same state and the same outcomes everywhere.
//!
//! Everything is in one [`Tree`] under a one-byte namespace, so that one root hash stands for all of it and one clone
//! freezes all of it. Further namespaces (members, settings) can join without moving these, and what was never used is
//! not there: a ledger that never deleted, replaced or swept anything has the root that it had before it could.
//!
//! ```text
//! key:   'c' | 32-byte FileId                  value: 02 | u64 names | manifest
//!   or, once a tombstone keeps it or it was stored after a clean:
//!                                              value: 07 | u64 names | u64 tombstones | u64 clean floor | manifest
//! key:   'n' | name                            value: 01 | u64 version | u64 stored at | 32-byte FileId
//!   or, if it expires:                         value: 08 | u64 version | u64 stored at | u64 expires at | FileId
//! key:   'e' | expires at | version            value: 04 | u64 version | name
//! key:   't' | name | 00 | version             value: 03 | reason | u64 index | u64 stored at | u64 went at | FileId
//! key:   'q' | reason | index                  value: 04 | u64 version | name
//!   or, if it had expired:                     value: 09 | and so on
//! key:   'q' | reason | index | version        value: 04 | u64 version | name, if it had expired
//! key:   's'                                   value: 05 | sweeps
//! key:   'f'                                   value: 06 | u64 index of the newest clean
//! key:   'k'                                   value: 10 | clock
//! root:  SHA-256(02 | u64 ledger time | root of the tree)
//! ```
//!
//! Sessions are not in it: they have a tree and a root of their own, in `session`.
//!
//! Numbers are little-endian in values and big-endian in keys; a reason is 'd', 'e' or 'o'; the manifest is laid out as
//! [`manifest_codec`] says, sweeps and clock as their
//! `encode` does.
//!
//! A name points to a content, and so does a tombstone, which is what a delete or an overwrite leaves. A content counts
//! both, and is there exactly as long as one count is above 0, so that deleting one name never takes away what another
//! one means. It can be looked up as long as a name means it.

mod check;
mod clock;
mod content;
mod copy;
mod decode;
mod expiry;
mod load;
mod session;
mod sweep;
mod tombstone;
mod value;

use core::fmt;
use core::time::Duration;

pub use self::content::{Content, Contents, Held};
pub(crate) use self::copy::Scanned;
pub(crate) use self::load::{Broken, Head, StateBuilder};
use self::session::Sessions;
pub use self::sweep::{CompletedSweep, Sweep};
pub use self::tombstone::Tombstones;
use self::value::{NAMESPACE_NAMES, Value, key, name_key};
use crate::crypto::hash::{HASH_LEN, Sha256};
use crate::id::FileId;
use crate::keystore::manifest::{Body, Manifest};
use crate::keystore::manifest_codec;
use crate::ledger::command::{Command, Outcome};
use crate::ledger::file::{Expect, FileStat, Reason, Target};
use crate::ledger::name::Name;
use crate::ledger::tree::{Scan, Tree};
use crate::limits::{CLOCK_STEP_MAX, SESSION_IDLE, SESSION_SERIALS_MAX, SESSIONS_MAX, TOMBSTONES_MAX};
use crate::time::WallTime;

/// First byte of what is hashed for the whole state; 0 and 1 are the tree's.
const DOMAIN_STATE: u8 = 2;

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameEntry {
    /// The index of the command that gave the name this meaning; grows with every change of any name.
    pub version: u64,
    /// When that was, in ledger time.
    pub stored_at: WallTime,
    /// The content.
    pub file: FileId,
    /// When it is over, in ledger time; `None` for never.
    pub expires_at: Option<WallTime>,
}

/// What is counted of a tree. Not part of the root: the tree says it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Names.
    names: u64,
    /// Contents that a name means.
    contents: u64,
    /// Tombstones.
    tombstones: u64,
    /// Bytes of the contents that a name means, without the missing ones. Sizes are told by clients: their sum is not
    /// bounded by what is stored.
    live_bytes: u128,
    /// Bytes of the contents that only tombstones keep, without the missing ones.
    tombstone_bytes: u128,
}

/// What is kept at most, and for how long: small in tests. Every replica must have the same.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    tombstones: u64,
    sessions: u64,
    /// Of each session.
    serials: u64,
    session_idle: Duration,
    clock_step: Duration,
}

const BOUNDS: Bounds = Bounds {
    tombstones: TOMBSTONES_MAX,
    sessions: SESSIONS_MAX,
    serials: SESSION_SERIALS_MAX,
    session_idle: SESSION_IDLE,
    clock_step: CLOCK_STEP_MAX,
};

/// The state of the ledger. A clone is O(1) and frozen: later commands to the original don't change it, and it can be
/// walked and hashed on another thread.
#[derive(Clone, Default)]
pub struct State {
    tree: Tree<Value>,
    /// Not part of the root, and of no backup.
    sessions: Sessions,
    /// Invariant: what the tree says.
    counts: Counts,
    /// Invariant: the largest time of any command applied since the clock was last reset that was not refused for its
    /// lease.
    time: WallTime,
    /// Index of the last command applied. Not part of the root: it can grow without any effect.
    applied: u64,
}

const _: () = assert_shared::<State>();
const fn assert_shared<T: Send + Sync>() {}

impl State {
    /// The state before the first command.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the command that stands in the journal at `index`. Total: whatever the command asks for, it comes to an
    /// outcome, and ledger time follows its time unless its lease is stale. A version that is handed out is `index`.
    ///
    /// The work of one command is bounded, but for a deep clean: unless a frozen copy is kept and let go elsewhere, it
    /// frees all that there was.
    ///
    /// # Panics
    /// If `index` is not greater than that of the command before: a command would be applied twice or out of order. If
    /// a session is begun or nested in a session, which no bytes say.
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        self.apply_within(index, command, &BOUNDS)
    }

    fn apply_within(&mut self, index: u64, command: &Command, bounds: &Bounds) -> Outcome {
        assert!(index > self.applied, "command {index} comes after command {}", self.applied);
        self.applied = index;
        let outcome = match command {
            Command::RegisterSession { time } => {
                self.step_clock(*time, bounds);
                self.register_session(index, bounds)
            }
            Command::InSession { session, serial, command } => {
                self.apply_in_session(index, (*session, *serial), command, bounds)
            }
            plain => self.apply_plain(index, plain, bounds),
        };
        self.evict(bounds.tombstones);
        outcome
    }

    /// Applies a command that has nothing to do with sessions, or whose session has been looked at.
    fn apply_plain(&mut self, index: u64, command: &Command, bounds: &Bounds) -> Outcome {
        // Before everything else: nothing that depends on a sweep or on a conflict is told of such a put.
        let epoch = self.epoch();
        if command.lease().is_some_and(|lease| lease < epoch) {
            return Outcome::StaleLease { epoch };
        }
        if let Command::ResetClock { time } = command {
            return self.reset_clock(*time);
        }
        self.step_clock(command.time(), bounds);
        if command.waits_for_clock() && self.doubtful_since().is_some() {
            return Outcome::ClockDoubtful;
        }
        match command {
            Command::Put { time: _, lease: _, name, expect, manifest } => self.put(index, name, *expect, manifest, 0),
            Command::PutUntil { time: _, lease: _, ttl, name, expect, manifest } => {
                self.put(index, name, *expect, manifest, *ttl)
            }
            Command::Expire { time: _, limit } => self.expire(index, *limit),
            Command::Delete { time: _, name, expect } => self.delete(index, name, *expect),
            Command::SweepStart { time: _ } => self.sweep_start(),
            Command::SweepComplete { time: _, epoch, filter_hash, by_person } => {
                self.sweep_complete(*epoch, *filter_hash, *by_person)
            }
            Command::Undelete { time: _, name, version, expect } => self.undelete(index, name, *version, *expect),
            Command::Reap { time: _, before, limit } => self.reap(*before, *limit),
            Command::Purge { time: _, name, expect } => self.purge(index, name, *expect),
            Command::Clean { time: _ } => self.clean(index),
            Command::DeepClean { time: _ } => self.deep_clean(),
            Command::Rename { time: _, from, to, expect_from, expect_to } => {
                self.rename(index, (from, *expect_from), (to, *expect_to))
            }
            Command::SetClockRule { time: _, on } => self.set_clock_rule(*on),
            Command::ConfirmClock { time: _ } => self.confirm_clock(),
            Command::ResetClock { .. } | Command::RegisterSession { .. } | Command::InSession { .. } => {
                unreachable!("these have their own way")
            }
        }
    }

    /// What `name` means, expired or not. See [`State::name_at`].
    #[must_use]
    pub fn name(&self, name: &Name) -> Option<&NameEntry> {
        self.tree.get(&name_key(name)).map(Value::as_name)
    }

    /// The names that begin with `prefix` and come after `after`, in byte order, each with what it means. Getting to
    /// the first one costs the length of its name, so a long listing can be resumed anywhere.
    #[must_use]
    pub fn names<'a>(&'a self, prefix: &str, after: Option<&Name>) -> Names<'a> {
        let prefix = key(NAMESPACE_NAMES, prefix.as_bytes());
        Names { scan: self.tree.scan(&prefix, after.map(name_key).as_deref()) }
    }

    /// What is known of a file, and what it is made of. A content that was not asked for by a name has version 0 and
    /// the earliest wall time there is: only names have these. One that only tombstones keep is not there.
    #[must_use]
    pub fn stat(&self, target: &Target) -> Option<(FileStat, &Manifest)> {
        let (name, entry) = match target {
            Target::Name(name) => (Some(name.clone()), *self.name(name)?),
            Target::Content(file) => {
                (None, NameEntry { version: 0, stored_at: WallTime::default(), file: *file, expires_at: None })
            }
        };
        let NameEntry { version, stored_at, file, expires_at: _ } = entry;
        let content = self.content(&file);
        assert!(name.is_none() || content.is_some(), "what a name means exists");
        let content = content?;
        let Content { manifest, names, .. } = content;
        let chunks = match manifest.body {
            Body::Inline(_) => 0,
            Body::Entries(_) | Body::Tree(_) => manifest_codec::chunk_count(manifest),
        };
        let chunks = u32::try_from(chunks).expect("a manifest is checked before it is proposed and when it is read");
        let (size, block_bytes, missing) = (manifest.size, manifest.block_bytes, self.is_missing(content));
        let stat = FileStat { name, version, stored_at, file, size, block_bytes, chunks, names: *names, missing };
        Some((stat, manifest))
    }

    /// How many entries a snapshot of it has: two for a name with a content of its own.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.tree.len() + self.sessions.tree.len()
    }

    /// Whether it has none: nothing was ever stored.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many names there are.
    #[must_use]
    pub const fn name_count(&self) -> u64 {
        self.counts.names
    }

    /// How many contents there are that a name means.
    #[must_use]
    pub const fn content_count(&self) -> u64 {
        self.counts.contents
    }

    /// Bytes of the contents that a name means, each counted once, without the missing ones.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        u64::try_from(self.counts.live_bytes).unwrap_or(u64::MAX)
    }

    /// Bytes of the contents that only tombstones keep, each counted once, without the missing ones.
    #[must_use]
    pub fn tombstone_bytes(&self) -> u64 {
        u64::try_from(self.counts.tombstone_bytes).unwrap_or(u64::MAX)
    }

    /// A hash of everything: equal states have equal roots, however they came about. Costs what changed since it was
    /// asked for last, here or in a clone.
    #[must_use]
    pub fn root(&self) -> [u8; HASH_LEN] {
        let mut hash = Sha256::new();
        hash.update(&[DOMAIN_STATE]);
        hash.update(&self.time.as_nanos().to_le_bytes());
        hash.update(&self.tree.root());
        hash.finish()
    }

    /// Ledger time: the largest time of any command so far. Only [`Command::ResetClock`] makes it go backwards.
    #[must_use]
    pub const fn time(&self) -> WallTime {
        self.time
    }

    /// The index of the last command applied, 0 before the first.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    fn put(&mut self, index: u64, name: &Name, expect: Expect, manifest: &Manifest, ttl: u64) -> Outcome {
        let old = self.current(name);
        let current = old.map(|entry| entry.version);
        if !is_met(expect, current) {
            return Outcome::Conflict { current };
        }
        let expires_at = (ttl > 0).then(|| self.time.saturating_add(Duration::from_nanos(ttl)));
        self.lapse(index, name);
        self.hold(manifest);
        self.set_name(index, name, old.as_ref(), manifest.file, expires_at);
        Outcome::Stored { version: index }
    }

    fn delete(&mut self, index: u64, name: &Name, expect: Expect) -> Outcome {
        let old = self.current(name);
        let current = old.map(|entry| entry.version);
        if !is_met(expect, current) {
            return Outcome::Conflict { current };
        }
        let Some(old) = old else { return Outcome::NotFound };
        self.remove_name(name);
        self.bury(index, name, &old, Reason::Deleted);
        Outcome::Deleted
    }

    /// The content keeps the name that counts it, under another name: neither is it held once more, nor proven durable.
    fn rename(&mut self, index: u64, from: (&Name, Expect), to: (&Name, Expect)) -> Outcome {
        let ((from, expect_from), (to, expect_to)) = (from, to);
        let moved = self.current(from);
        let current = moved.map(|entry| entry.version);
        if !is_met(expect_from, current) {
            return Outcome::Conflict { current };
        }
        if from == to {
            return current.map_or(Outcome::NotFound, |version| Outcome::Renamed { version });
        }
        let old = self.current(to);
        let current = old.map(|entry| entry.version);
        if !is_met(expect_to, current) {
            return Outcome::TargetConflict { current };
        }
        let Some(moved) = moved else { return Outcome::NotFound };
        self.remove_name(from);
        self.lapse(index, to);
        self.set_name(index, to, old.as_ref(), moved.file, moved.expires_at);
        Outcome::Renamed { version: index }
    }

    /// Gives `name`, which means `old`, the content `file`, which counts it already.
    fn set_name(
        &mut self,
        index: u64,
        name: &Name,
        old: Option<&NameEntry>,
        file: FileId,
        expires_at: Option<WallTime>,
    ) {
        match old {
            Some(old) => self.bury(index, name, old, Reason::Overwritten),
            None => self.supersede(name),
        }
        let entry = NameEntry { version: index, stored_at: self.time, file, expires_at };
        let replaced = self.tree.insert(&name_key(name), Value::Name(entry));
        assert_eq!(replaced.is_some(), old.is_some(), "the name is where it was found");
        self.counts.names += u64::from(replaced.is_none());
        if let Some(old) = old {
            self.unschedule(old);
        }
        self.schedule(name, &entry);
        self.trim(name);
    }

    /// Removes a name that exists; its content still counts it.
    fn remove_name(&mut self, name: &Name) {
        let removed = self.tree.remove(&name_key(name)).expect("the name is where it was found");
        self.unschedule(removed.as_name());
        self.counts.names = self.counts.names.checked_sub(1).expect("the name was counted");
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("names", &self.counts.names)
            .field("contents", &self.counts.contents)
            .field("tombstones", &self.counts.tombstones)
            .field("epoch", &self.epoch())
            .field("time", &self.time)
            .field("applied", &self.applied)
            .finish()
    }
}

/// Names in byte order. See [`State::names`].
#[derive(Clone, Debug)]
pub struct Names<'a> {
    scan: Scan<'a, Value>,
}

impl<'a> Iterator for Names<'a> {
    type Item = (Name, &'a NameEntry);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.scan.advance()?.as_name();
        let name = Name::new(&self.scan.key()[1..]).expect("only names are in the namespace of names");
        Some((name, entry))
    }
}

/// Whether a name with this version, or no such name, is what a command expects.
fn is_met(expect: Expect, current: Option<u64>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => current.is_none(),
        Expect::Version(version) => current == Some(version),
    }
}

#[cfg(test)]
pub(crate) mod tests;
