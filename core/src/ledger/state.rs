//! The replicated state of the ledger: what every name means and which contents exist. Pure: the same commands in the
//! same order give the same state and the same outcomes everywhere.
//!
//! Everything is in one [`Tree`] under a one-byte namespace, so that one root hash stands for all of it and one clone
//! freezes all of it. Further namespaces (what was deleted, members, settings) can join without moving these:
//!
//! ```text
//! key:   'c' | 32-byte FileId          value: 02 | u64 names | manifest
//! key:   'n' | name                    value: 01 | u64 version | u64 stored at | 32-byte FileId
//! root:  SHA-256(02 | u64 ledger time | root of the tree)
//! ```
//!
//! Numbers are little-endian; the manifest is laid out as [`manifest_codec`] says.
//!
//! A name points to a content and a content counts the names that point to it. It is there exactly as long as the count
//! is above 0, so that deleting one name never takes away what another one means.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::crypto::hash::{HASH_LEN, Sha256};
use crate::id::FileId;
use crate::keystore::manifest::{Body, Manifest};
use crate::keystore::manifest_codec;
use crate::ledger::command::{Command, Outcome};
use crate::ledger::file::{Expect, FileStat, Target};
use crate::ledger::name::Name;
use crate::ledger::tree::{Scan, Tree, TreeValue};
use crate::time::WallTime;

const NAMESPACE_CONTENTS: u8 = b'c';
const NAMESPACE_NAMES: u8 = b'n';

const VALUE_NAME: u8 = 1;
const VALUE_CONTENT: u8 = 2;

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
}

/// A content that at least one name means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// What it is made of: the manifest of the last put that named it.
    pub manifest: Manifest,
    /// How many names mean it. Never 0: the content goes with its last name.
    pub names: u64,
}

/// Boxed, because inner nodes of the tree have room for a value too, and names are all they ever hold.
#[derive(Clone, Debug)]
enum Value {
    Name(NameEntry),
    Content(Box<Content>),
}

impl TreeValue for Value {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Name(entry) => {
                out.push(VALUE_NAME);
                out.extend_from_slice(&entry.version.to_le_bytes());
                out.extend_from_slice(&entry.stored_at.as_nanos().to_le_bytes());
                out.extend_from_slice(entry.file.as_bytes());
            }
            Self::Content(content) => {
                out.push(VALUE_CONTENT);
                out.extend_from_slice(&content.names.to_le_bytes());
                manifest_codec::encode(&content.manifest, out);
            }
        }
    }
}

/// The state of the ledger. A clone is O(1) and frozen: later commands to the original don't change it, and it can be
/// walked and hashed on another thread.
#[derive(Clone, Default)]
pub struct State {
    tree: Tree<Value>,
    /// Invariant: the number of names in the tree.
    names: u64,
    /// Invariant: the largest time of any command applied.
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
    /// outcome, and ledger time follows its time. A version that is handed out is `index`.
    ///
    /// # Panics
    /// If `index` is not greater than that of the command before: a command would be applied twice or out of order.
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        assert!(index > self.applied, "command {index} comes after command {}", self.applied);
        self.applied = index;
        self.time = self.time.max(command.time());
        match command {
            Command::Put { time: _, name, expect, manifest } => self.put(index, name, *expect, manifest),
            Command::Delete { time: _, name, expect } => self.delete(name, *expect),
        }
    }

    /// What `name` means.
    #[must_use]
    pub fn name(&self, name: &Name) -> Option<&NameEntry> {
        self.tree.get(&name_key(name)).map(expect_name)
    }

    /// The content `file`, if a name means it.
    #[must_use]
    pub fn content(&self, file: &FileId) -> Option<&Content> {
        self.tree.get(&content_key(file)).map(expect_content)
    }

    /// The names that begin with `prefix` and come after `after`, in byte order, each with what it means. Getting to
    /// the first one costs the length of its name, so a long listing can be resumed anywhere.
    #[must_use]
    pub fn names<'a>(&'a self, prefix: &str, after: Option<&Name>) -> Names<'a> {
        let prefix = key(NAMESPACE_NAMES, prefix.as_bytes());
        Names { scan: self.tree.scan(&prefix, after.map(name_key).as_deref()) }
    }

    /// The contents that come after `after`, in the order of their identifiers. Can be resumed anywhere.
    #[must_use]
    pub fn contents(&self, after: Option<&FileId>) -> Contents<'_> {
        Contents { scan: self.tree.scan(&[NAMESPACE_CONTENTS], after.map(content_key).as_deref()) }
    }

    /// What is known of a file, and what it is made of. A content that was not asked for by a name has version 0 and
    /// the earliest wall time there is: only names have these.
    #[must_use]
    pub fn stat(&self, target: &Target) -> Option<(FileStat, &Manifest)> {
        let (name, entry) = match target {
            Target::Name(name) => (Some(name.clone()), *self.name(name)?),
            Target::Content(file) => (None, NameEntry { version: 0, stored_at: WallTime::default(), file: *file }),
        };
        let NameEntry { version, stored_at, file } = entry;
        let content = self.content(&file);
        assert!(name.is_none() || content.is_some(), "what a name means exists");
        let Content { manifest, names } = content?;
        let chunks = match manifest.body {
            Body::Inline(_) => 0,
            Body::Entries(_) | Body::Tree(_) => manifest_codec::chunk_count(manifest),
        };
        let chunks = u32::try_from(chunks).expect("a manifest is checked before it is proposed and when it is read");
        let (size, block_bytes) = (manifest.size, manifest.block_bytes);
        let stat = FileStat { name, version, stored_at, file, size, block_bytes, chunks, names: *names };
        Some((stat, manifest))
    }

    /// How many names there are.
    #[must_use]
    pub const fn name_count(&self) -> u64 {
        self.names
    }

    /// How many contents there are.
    #[must_use]
    pub const fn content_count(&self) -> u64 {
        self.tree.len() - self.names
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

    /// Ledger time: the largest time of any command so far, so it never goes backwards.
    #[must_use]
    pub const fn time(&self) -> WallTime {
        self.time
    }

    /// The index of the last command applied, 0 before the first.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// Asserts that names and contents fit together and that the tree is well-formed. Visits everything.
    ///
    /// # Panics
    /// When something does not hold, which is a bug.
    pub fn check(&self) {
        self.tree.check();
        let (mut names, mut meant) = (0, BTreeMap::<FileId, u64>::new());
        for (name, entry) in self.names("", None) {
            assert!((1..=self.applied).contains(&entry.version), "the version of {name} was applied");
            assert!(entry.stored_at <= self.time, "{name} was stored before now");
            *meant.entry(entry.file).or_default() += 1;
            names += 1;
        }
        assert_eq!(names, self.names, "every name is counted");
        let mut contents = 0;
        for (file, content) in self.contents(None) {
            assert_eq!(content.manifest.file, file, "a content is found by its identifier");
            assert_eq!(meant.get(&file), Some(&content.names), "a content counts its names");
            contents += 1;
        }
        assert_eq!(contents, meant.len() as u64, "what a name means exists");
        assert_eq!(names + contents, self.tree.len(), "there is nothing but names and contents");
    }

    fn put(&mut self, index: u64, name: &Name, expect: Expect, manifest: &Manifest) -> Outcome {
        let old = self.name(name).copied();
        let current = old.map(|entry| entry.version);
        if !is_met(expect, current) {
            return Outcome::Conflict { current };
        }
        let file = manifest.file;
        // Held before the old one is released: where both are the same, it is not gone in between.
        self.hold(manifest);
        if let Some(old) = old {
            self.release(&old.file);
        }
        let entry = NameEntry { version: index, stored_at: self.time, file };
        let replaced = self.tree.insert(&name_key(name), Value::Name(entry));
        assert_eq!(replaced.is_some(), old.is_some(), "the name is where it was found");
        self.names += u64::from(replaced.is_none());
        Outcome::Stored { version: index }
    }

    fn delete(&mut self, name: &Name, expect: Expect) -> Outcome {
        let old = self.name(name).copied();
        let current = old.map(|entry| entry.version);
        if !is_met(expect, current) {
            return Outcome::Conflict { current };
        }
        let Some(old) = old else { return Outcome::NotFound };
        let removed = self.tree.remove(&name_key(name));
        assert!(removed.is_some(), "the name is where it was found");
        self.names = self.names.checked_sub(1).expect("the name was counted");
        self.release(&old.file);
        Outcome::Deleted
    }

    /// One name more means this content. Its manifest replaces the one that is known: its chunks were just proven
    /// durable.
    fn hold(&mut self, manifest: &Manifest) {
        let key = content_key(&manifest.file);
        match self.tree.get_mut(&key) {
            Some(Value::Content(content)) => {
                assert!(content.names > 0, "a content goes with its last name");
                content.manifest = manifest.clone();
                content.names += 1;
            }
            Some(Value::Name(_)) => unreachable!("names have their own namespace"),
            None => {
                let content = Content { manifest: manifest.clone(), names: 1 };
                let replaced = self.tree.insert(&key, Value::Content(Box::new(content)));
                assert!(replaced.is_none(), "the content was looked for");
            }
        }
    }

    /// One name less means this content; without any name it goes.
    fn release(&mut self, file: &FileId) {
        let key = content_key(file);
        let names = self.content(file).expect("what a name means exists").names;
        assert!(names > 0, "a content goes with its last name");
        if names == 1 {
            self.tree.remove(&key);
        } else if let Some(Value::Content(content)) = self.tree.get_mut(&key) {
            content.names -= 1;
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("names", &self.names)
            .field("contents", &self.content_count())
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
        let value = self.scan.advance()?;
        let name = Name::new(&self.scan.key()[1..]).expect("only names are in the namespace of names");
        Some((name, expect_name(value)))
    }
}

/// Contents in the order of their identifiers. See [`State::contents`].
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    scan: Scan<'a, Value>,
}

impl<'a> Iterator for Contents<'a> {
    type Item = (FileId, &'a Content);

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.scan.advance()?;
        let file = self.scan.key()[1..].try_into().expect("only identifiers are in the namespace of contents");
        Some((FileId::from_bytes(file), expect_content(value)))
    }
}

fn key(namespace: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(namespace);
    key.extend_from_slice(rest);
    key
}

fn name_key(name: &Name) -> Vec<u8> {
    key(NAMESPACE_NAMES, name.as_bytes())
}

fn content_key(file: &FileId) -> Vec<u8> {
    key(NAMESPACE_CONTENTS, file.as_bytes())
}

fn expect_name(value: &Value) -> &NameEntry {
    match value {
        Value::Name(entry) => entry,
        Value::Content(_) => unreachable!("contents have their own namespace"),
    }
}

fn expect_content(value: &Value) -> &Content {
    match value {
        Value::Content(content) => content,
        Value::Name(_) => unreachable!("names have their own namespace"),
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
mod tests;
