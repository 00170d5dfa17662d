//! What the tree of the ledger holds, where, and as which bytes in a hash.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::NameEntry;
use super::clock::Clock;
use super::content::Content;
use super::sweep::Sweeps;
use super::tombstone::Tombstone;
use crate::id::FileId;
use crate::keystore::manifest_codec;
use crate::ledger::file::Reason;
use crate::ledger::name::Name;
use crate::ledger::tree::TreeValue;
use crate::time::WallTime;

pub(super) const NAMESPACE_CONTENTS: u8 = b'c';
pub(super) const NAMESPACE_NAMES: u8 = b'n';
pub(super) const NAMESPACE_TOMBSTONES: u8 = b't';
pub(super) const NAMESPACE_QUEUES: u8 = b'q';
pub(super) const NAMESPACE_EXPIRIES: u8 = b'e';
/// The only key of its namespace.
pub(super) const KEY_SWEEPS: &[u8] = b"s";
/// The only key of its namespace.
pub(super) const KEY_FLOOR: &[u8] = b"f";
/// The only key of its namespace.
pub(super) const KEY_CLOCK: &[u8] = b"k";

pub(super) const VALUE_NAME: u8 = 1;
pub(super) const VALUE_CONTENT: u8 = 2;
pub(super) const VALUE_TOMBSTONE: u8 = 3;
pub(super) const VALUE_QUEUED: u8 = 4;
pub(super) const VALUE_SWEEPS: u8 = 5;
pub(super) const VALUE_FLOOR: u8 = 6;
pub(super) const VALUE_CONTENT_AGED: u8 = 7;
pub(super) const VALUE_NAME_EXPIRING: u8 = 8;
pub(super) const VALUE_TOMBSTONE_EXPIRED: u8 = 9;
pub(super) const VALUE_CLOCK: u8 = 10;

/// Boxed where they are large, because inner nodes of the tree have room for a value too, and names are almost all they
/// ever hold.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Name(NameEntry),
    Content(Box<Content>),
    Tombstone(Box<Tombstone>),
    /// A tombstone's place in the order of age, or a name's in the order of expiry: the name, and the version it had or
    /// has.
    Queued(Name, u64),
    Sweeps(Box<Sweeps>),
    /// Index of the newest clean.
    Floor(u64),
    Clock(Box<Clock>),
}

impl TreeValue for Value {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Name(entry) => {
                out.push(if entry.expires_at.is_some() { VALUE_NAME_EXPIRING } else { VALUE_NAME });
                out.extend_from_slice(&entry.version.to_le_bytes());
                out.extend_from_slice(&entry.stored_at.as_nanos().to_le_bytes());
                if let Some(expires_at) = entry.expires_at {
                    out.extend_from_slice(&expires_at.as_nanos().to_le_bytes());
                }
                out.extend_from_slice(entry.file.as_bytes());
            }
            // Before anything was deleted, replaced or cleaned, a content is hashed as it was before there was that.
            Self::Content(content) if content.tombstones == 0 && content.floor == 0 => {
                out.push(VALUE_CONTENT);
                out.extend_from_slice(&content.names.to_le_bytes());
                manifest_codec::encode(&content.manifest, out);
            }
            Self::Content(content) => {
                out.push(VALUE_CONTENT_AGED);
                out.extend_from_slice(&content.names.to_le_bytes());
                out.extend_from_slice(&content.tombstones.to_le_bytes());
                out.extend_from_slice(&content.floor.to_le_bytes());
                manifest_codec::encode(&content.manifest, out);
            }
            Self::Tombstone(tombstone) => {
                out.push(if tombstone.expired { VALUE_TOMBSTONE_EXPIRED } else { VALUE_TOMBSTONE });
                out.push(reason_byte(tombstone.reason));
                out.extend_from_slice(&tombstone.index.to_le_bytes());
                out.extend_from_slice(&tombstone.stored_at.as_nanos().to_le_bytes());
                out.extend_from_slice(&tombstone.went_at.as_nanos().to_le_bytes());
                out.extend_from_slice(tombstone.file.as_bytes());
            }
            Self::Queued(name, version) => {
                out.push(VALUE_QUEUED);
                out.extend_from_slice(&version.to_le_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            Self::Sweeps(sweeps) => {
                out.push(VALUE_SWEEPS);
                sweeps.encode(out);
            }
            Self::Floor(index) => {
                out.push(VALUE_FLOOR);
                out.extend_from_slice(&index.to_le_bytes());
            }
            Self::Clock(clock) => {
                out.push(VALUE_CLOCK);
                clock.encode(out);
            }
        }
    }
}

impl Value {
    pub(super) fn as_name(&self) -> &NameEntry {
        let Self::Name(entry) = self else { unreachable!("names have their own namespace") };
        entry
    }

    pub(super) fn as_content(&self) -> &Content {
        let Self::Content(content) = self else { unreachable!("contents have their own namespace") };
        content
    }

    pub(super) fn as_content_mut(&mut self) -> &mut Content {
        let Self::Content(content) = self else { unreachable!("contents have their own namespace") };
        content
    }

    pub(super) fn as_tombstone(&self) -> &Tombstone {
        let Self::Tombstone(tombstone) = self else { unreachable!("tombstones have their own namespace") };
        tombstone
    }

    pub(super) fn as_tombstone_mut(&mut self) -> &mut Tombstone {
        let Self::Tombstone(tombstone) = self else { unreachable!("tombstones have their own namespace") };
        tombstone
    }

    pub(super) fn as_queued(&self) -> (&Name, u64) {
        let Self::Queued(name, version) = self else { unreachable!("queues have their own namespace") };
        (name, *version)
    }

    pub(super) fn as_sweeps(&self) -> &Sweeps {
        let Self::Sweeps(sweeps) = self else { unreachable!("sweeps have their own key") };
        sweeps
    }

    pub(super) fn as_clock(&self) -> &Clock {
        let Self::Clock(clock) = self else { unreachable!("the clock has its own key") };
        clock
    }

    pub(super) fn as_floor(&self) -> u64 {
        let Self::Floor(index) = self else { unreachable!("the clean floor has its own key") };
        *index
    }
}

pub(super) fn key(namespace: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(namespace);
    key.extend_from_slice(rest);
    key
}

pub(super) fn name_key(name: &Name) -> Vec<u8> {
    key(NAMESPACE_NAMES, name.as_bytes())
}

pub(super) fn content_key(file: &FileId) -> Vec<u8> {
    key(NAMESPACE_CONTENTS, file.as_bytes())
}

/// What all keys of a name's tombstones begin with: a name has no NUL, so no other name's keys do.
pub(super) fn tombstones_key(name: &Name) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.as_bytes().len() + 10);
    key.push(NAMESPACE_TOMBSTONES);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key
}

/// Big-endian numbers in keys are in order as bytes.
pub(super) fn tombstone_key(name: &Name, version: u64) -> Vec<u8> {
    let mut key = tombstones_key(name);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// The version belongs to tombstones of which a command may leave several.
pub(super) fn queue_key(reason: Reason, index: u64, version: Option<u64>) -> Vec<u8> {
    let mut key = Vec::from([NAMESPACE_QUEUES, reason_byte(reason)]);
    key.extend_from_slice(&index.to_be_bytes());
    if let Some(version) = version {
        key.extend_from_slice(&version.to_be_bytes());
    }
    key
}

/// The index in a key of a queue.
pub(super) fn queue_index(key: &[u8]) -> u64 {
    u64::from_be_bytes(*key[2..].first_chunk().expect("a queue is ordered by index"))
}

pub(super) fn expiry_key(expires_at: WallTime, version: u64) -> Vec<u8> {
    let mut key = key(NAMESPACE_EXPIRIES, &expires_at.as_nanos().to_be_bytes());
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// The number that a key ends with.
pub(super) fn number_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(*key.last_chunk().expect("these keys end with a number"))
}

pub(super) const fn reason_byte(reason: Reason) -> u8 {
    match reason {
        Reason::Deleted => b'd',
        Reason::Expired => b'e',
        Reason::Overwritten => b'o',
    }
}
