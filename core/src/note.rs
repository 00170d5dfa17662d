//! Observations as data: the shell turns them into log lines and metrics, tests assert on them, scenario files print
//! them. Nothing in the core logs.

use core::fmt;

use crate::disk::damage::Damage;
use crate::disk::stray::Stray;
use crate::disk::{DiskError, File};
use crate::id::ChunkId;
use crate::keystore::Place;
use crate::raft;
use crate::replica;
use crate::replica::snapshot::file::BadSnapshot;

/// Something worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The disk is read and requests are answered.
    Serving {
        /// The boot counter.
        boot: u64,
        /// Entries replayed from the journal.
        entries: u64,
        /// Chunks in the index.
        chunks: u64,
    },
    /// A file that this boot writes was created.
    Created(File),
    /// A file got its footer and takes no more records.
    Sealed(File),
    /// Records that were never acknowledged ended an older file and were cut.
    TailCut {
        /// The file.
        file: File,
        /// Where its good part ends, in bytes.
        offset: u64,
        /// Bytes after that.
        bytes: u64,
    },
    /// Whole records beyond what was known durable were copied into a fresh file.
    TailCopied {
        /// The older file.
        from: File,
        /// The fresh file.
        to: File,
        /// How many.
        records: u64,
    },
    /// Records that were durable once are lost.
    Damaged(Damage),
    /// A file is under a name that is not its own.
    Stray(Stray),
    /// A boot record is missing or damaged; the other one served.
    BootRecordDamaged(File),
    /// A catalog of volumes is missing or damaged; the other one served, if there is one.
    CatalogDamaged(File),
    /// The checkpoint of a volume is not whole or not of the volume as it is: the volume was scanned.
    CheckpointUnusable {
        /// The volume.
        volume: u64,
    },
    /// A volume has a checkpoint now, so that the next start need not scan it.
    Checkpointed {
        /// The volume.
        volume: u64,
    },
    /// A checkpoint can't be written: there are no more of them until the next start, which only takes longer.
    CheckpointFailed {
        /// The volume.
        volume: u64,
        /// What the disk said.
        error: DiskError,
    },
    /// A volume that was removed had come back, and was removed again unread.
    RemovedAgain(File),
    /// A volume of which nothing was needed any more is gone.
    VolumeRemoved {
        /// Its number.
        volume: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// A segment of the journal whose entries a snapshot covers is gone.
    SegmentRemoved {
        /// Its number.
        segment: u64,
        /// Bytes that counted of it.
        bytes: u64,
    },
    /// A volume or segment could not be removed, or the catalog not be written before: what was to be given back stays for now.
    RemovalFailed {
        /// The file.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// The reserve is so large now.
    ReserveMade {
        /// Bytes of the file.
        bytes: u64,
    },
    /// The reserve was given back, to make room.
    ReserveReleased {
        /// Bytes of the file.
        bytes: u64,
    },
    /// The reserve could not be made or given back. Nothing else is wrong; told once.
    ReserveFailed(DiskError),
    /// A chunk could not be read, or was not what it was stored as.
    ChunkMismatch {
        /// The chunk.
        chunk: ChunkId,
        /// Where its record is.
        place: Place,
    },
    /// A chunk that was stored again was found damaged and is written anew.
    ChunkHealed(ChunkId),
    /// The scrub came to the end of a round.
    Scrubbed {
        /// Chunks that were read since the round began, or since the last start.
        chunks: u64,
        /// Those of them that were damaged, each of which was told by a note of its own.
        bad: u64,
    },
    /// A write failed: nothing is written until the next start.
    WritesStopped {
        /// The file.
        file: File,
        /// What the disk said.
        error: DiskError,
    },
    /// A sync of this file was acknowledged.
    Synced(File),
    /// A put was given up by its client, or took too long to send.
    PutDropped,
    /// Everything that was ever acknowledged is known durable on disk.
    Settled,
    /// Something of the group that agrees on the ledger.
    Group(raft::Note),
    /// Something of this member and the others.
    Member(replica::note::Note),
    /// A snapshot of the ledger is durable.
    SnapshotMade {
        /// The last entry in it.
        index: u64,
        /// Bytes of its content.
        bytes: u64,
    },
    /// A snapshot of another member is durable here.
    SnapshotFetched {
        /// The last entry in it.
        index: u64,
        /// Bytes of its content.
        bytes: u64,
    },
    /// A snapshot could not be written; there will be another one.
    SnapshotFailed {
        /// The last entry in it.
        index: u64,
        /// What the disk said.
        error: DiskError,
    },
    /// A snapshot on disk, or one that came from another member, is none.
    SnapshotRejected {
        /// The last entry that should be in it.
        index: u64,
        /// Why.
        bad: BadSnapshot,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving { boot, entries, chunks } => {
                write!(f, "serving: boot {boot}, {entries} journal entries, {chunks} chunks")
            }
            Self::Created(file) => write!(f, "{file} created"),
            Self::Sealed(file) => write!(f, "{file} sealed"),
            Self::TailCut { file, offset, bytes } => {
                write!(f, "{file}: {bytes} bytes from byte {offset} on were never acknowledged and are ignored")
            }
            Self::TailCopied { from, to, records } => write!(f, "{records} records of {from} copied to {to}"),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Stray(stray) => stray.fmt(f),
            Self::BootRecordDamaged(file) => write!(f, "{file} is missing or damaged; the other one is used"),
            Self::CatalogDamaged(file) => write!(f, "{file} is missing or damaged; the other one is used"),
            Self::CheckpointUnusable { volume } => {
                write!(f, "{} is of no use: the volume was scanned", File::Checkpoint(*volume))
            }
            Self::Checkpointed { volume } => write!(f, "{} written", File::Checkpoint(*volume)),
            Self::CheckpointFailed { volume, error } => {
                write!(f, "{}: {error}; none is written until the next start", File::Checkpoint(*volume))
            }
            Self::RemovedAgain(file) => write!(f, "{file} had been removed, came back, and is removed again"),
            Self::VolumeRemoved { volume, bytes } => {
                write!(f, "{} removed, which gives {bytes} bytes back", File::Volume(*volume))
            }
            Self::SegmentRemoved { segment, bytes } => {
                write!(f, "{} removed, which gives {bytes} bytes back", File::Journal(*segment))
            }
            Self::RemovalFailed { file, error } => {
                write!(f, "{file}: {error}; no space is given back until the next start")
            }
            Self::ReserveMade { bytes } => write!(f, "{bytes} bytes set aside for a full disk"),
            Self::ReserveReleased { bytes } => write!(f, "the {bytes} bytes set aside for a full disk given back"),
            Self::ReserveFailed(error) => write!(f, "no space could be set aside for a full disk: {error}"),
            Self::ChunkMismatch { chunk, place: Place { volume, offset, .. } } => {
                write!(f, "chunk {chunk} in {} at byte {offset} is damaged on disk", File::Volume(*volume))
            }
            Self::ChunkHealed(chunk) => write!(f, "chunk {chunk} was damaged and is stored anew"),
            Self::Scrubbed { chunks, bad } => write!(f, "scrub: {chunks} chunks read, {bad} damaged"),
            Self::WritesStopped { file, error } => {
                write!(f, "{file} can't be written ({error}): no more writes until the next start")
            }
            Self::Synced(file) => write!(f, "{file} synced"),
            Self::PutDropped => f.write_str("put dropped"),
            Self::Settled => f.write_str("settled"),
            Self::Group(note) => note.fmt(f),
            Self::Member(note) => note.fmt(f),
            Self::SnapshotMade { index, bytes } => write!(f, "{} of {bytes} bytes made", File::Snapshot(*index)),
            Self::SnapshotFetched { index, bytes } => write!(f, "{} of {bytes} bytes fetched", File::Snapshot(*index)),
            Self::SnapshotFailed { index, error } => {
                write!(f, "{}: {error}; another one will be made", File::Snapshot(*index))
            }
            Self::SnapshotRejected { index, bad } => write!(f, "{} is of no use: {bad}", File::Snapshot(*index)),
        }
    }
}
