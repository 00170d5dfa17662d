//! Values of the tree from their bytes, as a snapshot has them. The inverse of what `value` writes.

use alloc::boxed::Box;

use super::NameEntry;
use super::clock::Clock;
use super::content::Content;
use super::sweep::Sweeps;
use super::tombstone::Tombstone;
use super::value::{
    NAMESPACE_CONTENTS, NAMESPACE_EXPIRIES, NAMESPACE_NAMES, NAMESPACE_QUEUES, NAMESPACE_TOMBSTONES, VALUE_CLOCK,
    VALUE_CONTENT, VALUE_CONTENT_AGED, VALUE_FLOOR, VALUE_NAME, VALUE_NAME_EXPIRING, VALUE_QUEUED, VALUE_SWEEPS,
    VALUE_TOMBSTONE, VALUE_TOMBSTONE_EXPIRED, Value,
};
use crate::id::FileId;
use crate::keystore::manifest_codec;
use crate::layout::{Reader, Truncated};
use crate::ledger::file::Reason;
use crate::ledger::name::Name;
use crate::time::WallTime;

impl Value {
    /// The value that `bytes` are, from the first to the last, under a key of `namespace`; `None` if they are none.
    /// Total. Content is not hashed if it is `proven` to be what was hashed before.
    pub(super) fn decode(namespace: u8, bytes: &[u8], proven: bool) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode_kind(namespace, &mut reader, proven).ok()??;
        (reader.remaining() == 0).then_some(value)
    }

    fn decode_kind(namespace: u8, reader: &mut Reader<'_>, proven: bool) -> Result<Option<Self>, Truncated> {
        let kind = reader.u8()?;
        Ok(Some(match (namespace, kind) {
            (NAMESPACE_NAMES, VALUE_NAME | VALUE_NAME_EXPIRING) => {
                let (version, stored_at) = (reader.u64()?, WallTime::from_nanos(reader.u64()?));
                let expires_at = if kind == VALUE_NAME { None } else { Some(WallTime::from_nanos(reader.u64()?)) };
                Self::Name(NameEntry { version, stored_at, file: FileId::from_bytes(reader.array()?), expires_at })
            }
            (NAMESPACE_CONTENTS, VALUE_CONTENT | VALUE_CONTENT_AGED) => {
                let names = reader.u64()?;
                let aged = kind == VALUE_CONTENT_AGED;
                let (tombstones, floor) = if aged { (reader.u64()?, reader.u64()?) } else { (0, 0) };
                if aged && tombstones == 0 && floor == 0 {
                    return Ok(None);
                }
                let rest = reader.bytes(reader.remaining())?;
                let decode = if proven { manifest_codec::decode_proven } else { manifest_codec::decode };
                let Ok(manifest) = decode(rest) else { return Ok(None) };
                Self::Content(Box::new(Content { manifest, names, tombstones, floor }))
            }
            (NAMESPACE_TOMBSTONES, VALUE_TOMBSTONE | VALUE_TOMBSTONE_EXPIRED) => {
                let Some(reason) = reason_of(reader.u8()?) else { return Ok(None) };
                let (index, stored_at) = (reader.u64()?, WallTime::from_nanos(reader.u64()?));
                let (went_at, file) = (WallTime::from_nanos(reader.u64()?), FileId::from_bytes(reader.array()?));
                let expired = kind == VALUE_TOMBSTONE_EXPIRED;
                Self::Tombstone(Box::new(Tombstone { index, stored_at, went_at, file, reason, expired }))
            }
            (NAMESPACE_QUEUES | NAMESPACE_EXPIRIES, VALUE_QUEUED) => {
                let version = reader.u64()?;
                let Ok(name) = Name::new(reader.bytes(reader.remaining())?) else { return Ok(None) };
                Self::Queued(name, version)
            }
            (b's', VALUE_SWEEPS) => match Sweeps::decode(reader)? {
                Some(sweeps) => Self::Sweeps(Box::new(sweeps)),
                None => return Ok(None),
            },
            (b'f', VALUE_FLOOR) => Self::Floor(reader.u64()?),
            (b'k', VALUE_CLOCK) => match Clock::decode(reader)? {
                Some(clock) => Self::Clock(Box::new(clock)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }))
    }
}

const fn reason_of(byte: u8) -> Option<Reason> {
    match byte {
        b'd' => Some(Reason::Deleted),
        b'e' => Some(Reason::Expired),
        b'o' => Some(Reason::Overwritten),
        _ => None,
    }
}
