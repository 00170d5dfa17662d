//! The objects that `--json` prints, one per line. Keys may be added and never change or go.

use dps_core::disk::damage::{Damage, DamageKind};
use dps_core::disk::stray::Stray;
use dps_core::keystore::ChunkFault;
use dps_core::ledger::file::{FileStat, Reason, TombstoneStat};
use dps_core::node::{Finding, GcSummary, StoredFile, Usage, VerifySummary};
use serde::Serialize;

use super::datetime;
use super::failure::Failure;
use crate::disk::path::relative;

/// Grows when a key changes its meaning, which is not planned.
const SCHEMA_VERSION: u32 = 1;

/// One line of output.
#[derive(Serialize)]
pub(crate) struct Line<T> {
    r#type: &'static str,
    schema_version: u32,
    #[serde(flatten)]
    body: T,
}

impl<T> Line<T> {
    pub(crate) fn new(r#type: &'static str, body: T) -> Self {
        Self { r#type, schema_version: SCHEMA_VERSION, body }
    }
}

/// What is known of a file.
#[derive(Serialize)]
pub(crate) struct Stat<'a> {
    name: Option<&'a str>,
    sha256: String,
    size: u64,
    version: u64,
    stored_at: String,
    block_bytes: u32,
    chunks: u32,
    names: u64,
    missing: bool,
}

impl<'a> Stat<'a> {
    pub(crate) fn new(stat: &'a FileStat) -> Self {
        Self {
            name: stat.name.as_ref().map(|name| name.as_str()),
            sha256: stat.file.to_string(),
            size: stat.size,
            version: stat.version,
            stored_at: datetime::nanoseconds(stat.stored_at),
            block_bytes: stat.block_bytes,
            chunks: stat.chunks,
            names: stat.names,
            missing: stat.missing,
        }
    }
}

/// A put that is durable.
#[derive(Serialize)]
pub(crate) struct Stored<'a> {
    #[serde(flatten)]
    stat: Stat<'a>,
    new_bytes: u64,
}

impl<'a> Stored<'a> {
    pub(crate) fn new(stored: &'a StoredFile) -> Self {
        Self { stat: Stat::new(&stored.stat), new_bytes: stored.new_bytes }
    }
}

/// A file that was written.
#[derive(Serialize)]
pub(crate) struct Fetched<'a> {
    #[serde(flatten)]
    pub(crate) stat: Stat<'a>,
    pub(crate) output: String,
    pub(crate) first: u64,
    pub(crate) bytes: u64,
}

/// A name that is gone.
#[derive(Serialize)]
pub(crate) struct Serving {
    pub(crate) member: u8,
    pub(crate) address: std::net::SocketAddr,
}

#[derive(Serialize)]
pub(crate) struct Deleted<'a> {
    pub(crate) name: &'a str,
}

/// What a name meant, and can mean again.
#[derive(Serialize)]
pub(crate) struct Tombstone<'a> {
    name: &'a str,
    version: u64,
    sha256: String,
    size: u64,
    stored_at: String,
    went_at: String,
    reason: &'static str,
    missing: bool,
}

impl<'a> Tombstone<'a> {
    pub(crate) fn new(stat: &'a TombstoneStat) -> Self {
        Self {
            name: stat.name.as_str(),
            version: stat.version,
            sha256: stat.file.to_string(),
            size: stat.size,
            stored_at: datetime::nanoseconds(stat.stored_at),
            went_at: datetime::nanoseconds(stat.went_at),
            reason: match stat.reason {
                Reason::Deleted => "deleted",
                Reason::Expired => "expired",
                Reason::Overwritten => "overwritten",
            },
            missing: stat.missing,
        }
    }
}

/// What a collection has come to.
#[derive(Serialize)]
pub(crate) struct Collected {
    tombstones: u64,
    chunks: u64,
    bytes: u64,
    volumes: u64,
    volume_bytes: u64,
}

impl Collected {
    pub(crate) fn new(summary: &GcSummary) -> Self {
        let GcSummary { tombstones, collected, compacted } = summary;
        let (chunks, bytes) = (collected.chunks, collected.bytes);
        Self { tombstones: *tombstones, chunks, bytes, volumes: compacted.volumes, volume_bytes: compacted.bytes }
    }
}

/// Everything was given up.
#[derive(Serialize)]
pub(crate) struct Cleaned {
    pub(crate) deep: bool,
}

/// How much is stored.
#[derive(Serialize)]
pub(crate) struct Space {
    names: u64,
    contents: u64,
    content_bytes: u64,
    tombstones: u64,
    tombstone_bytes: u64,
    chunks: u64,
    volumes: u64,
    volume_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    damaged_chunks: u64,
    epoch: u64,
    reserve_bytes: u64,
    /// Nothing if the disk does not say.
    available_bytes: Option<u64>,
}

impl Space {
    pub(crate) fn new(usage: &Usage) -> Self {
        Self {
            names: usage.names,
            contents: usage.contents,
            content_bytes: usage.content_bytes,
            tombstones: usage.tombstones,
            tombstone_bytes: usage.tombstone_bytes,
            chunks: usage.volumes.chunks,
            volumes: usage.volume_count,
            volume_bytes: usage.volumes.file_bytes,
            live_bytes: usage.volumes.live_bytes(),
            dead_bytes: usage.volumes.dead_bytes(),
            damaged_chunks: usage.damaged_chunks,
            epoch: usage.epoch,
            reserve_bytes: usage.reserve_bytes,
            available_bytes: usage.available_bytes,
        }
    }
}

/// How many items there were.
#[derive(Serialize)]
pub(crate) struct Count {
    pub(crate) items: u64,
}

/// What a verification covered.
#[derive(Serialize)]
pub(crate) struct Verified {
    names: u64,
    chunks: u64,
    bytes: u64,
    findings: u64,
}

impl Verified {
    pub(crate) fn new(summary: &VerifySummary) -> Self {
        let VerifySummary { names, chunks, bytes, findings } = *summary;
        Self { names, chunks, bytes, findings }
    }
}

/// Something wrong with the store.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Found<'a> {
    /// A chunk of a file.
    Chunk {
        name: Option<&'a str>,
        sha256: String,
        index: Option<u32>,
        chunk: String,
        #[serde(flatten)]
        fault: Fault,
    },
    /// Records of a file of the store.
    Records { file: String, offset: u64, first: u64, last: u64, damage: &'static str },
    /// A file under a name that is not its own.
    Stray { file: String, origin: Option<String> },
}

/// What is wrong with a chunk, and where.
#[derive(Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub(crate) enum Fault {
    Missing { lost_volumes: Vec<String> },
    Mismatch { file: String, offset: u64, position: u64 },
    Unreadable { file: String, offset: u64, position: u64, error: String },
    Malformed,
}

impl<'a> Found<'a> {
    pub(crate) fn new(finding: &'a Finding) -> Self {
        match finding {
            Finding::Chunk { name, file, index, chunk, fault } => Self::Chunk {
                name: name.as_ref().map(|name| name.as_str()),
                sha256: file.to_string(),
                index: *index,
                chunk: chunk.to_string(),
                fault: Fault::new(fault),
            },
            Finding::Stray(Stray { file, origin }) => {
                Self::Stray { file: relative(*file), origin: origin.map(relative) }
            }
            Finding::Damage(Damage { file, offset, first, last, kind }) => Self::Records {
                file: relative(*file),
                offset: *offset,
                first: *first,
                last: *last,
                damage: match kind {
                    DamageKind::Broken => "broken",
                    DamageKind::Truncated => "truncated",
                    DamageKind::Missing => "missing",
                    DamageKind::Unreadable => "unreadable",
                },
            },
        }
    }
}

impl Fault {
    fn new(fault: &ChunkFault) -> Self {
        let volume = |number: u64| relative(dps_core::disk::File::Volume(number));
        match fault {
            ChunkFault::Missing { lost_volumes } => {
                Self::Missing { lost_volumes: lost_volumes.iter().map(|number| volume(*number)).collect() }
            }
            ChunkFault::Mismatch(place) => {
                Self::Mismatch { file: volume(place.volume), offset: place.offset, position: place.position }
            }
            ChunkFault::Unreadable(place, error) => Self::Unreadable {
                file: volume(place.volume),
                offset: place.offset,
                position: place.position,
                error: error.to_string(),
            },
            ChunkFault::Malformed => Self::Malformed,
        }
    }
}

/// A failure.
#[derive(Serialize)]
pub(crate) struct Error<'a> {
    code: &'static str,
    exit_code: u8,
    message: &'a str,
    cause: Option<&'a str>,
    hint: Option<&'a str>,
}

impl<'a> Error<'a> {
    pub(crate) fn new(failure: &'a Failure) -> Self {
        Self {
            code: failure.code,
            exit_code: failure.exit as u8,
            message: &failure.what,
            cause: failure.cause.as_deref(),
            hint: failure.hint.as_deref(),
        }
    }
}
