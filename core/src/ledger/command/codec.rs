//! Commands as bytes of a journal record.
//!
//! One layout, little-endian, from the first byte of a record's body to the last:
//!
//! ```text
//! u8 layout (1) | u8 kind | u64 time | by kind:
//!  1 put             expect | name | manifest
//!  2 delete          expect | name
//!  3 put with lease  u64 lease above 0 | expect | name | manifest
//!  4 sweep start
//!  5 sweep complete  u64 epoch | 32-byte filter hash | u8 by person: 0 or 1
//!  6 undelete        u64 version | expect | name
//!  7 reap            u64 before | u32 limit
//!  8 purge           expect | name
//!  9 clean
//! 10 deep clean
//! 11 register session
//! 12 in session      u64 session | u64 serial | u8 kind, neither 11 nor 12 | what follows the time in that kind
//! 13 rename          expect of from | from | expect of to | to
//! 14 put until       u64 lease | u64 time to live | expect | name | manifest
//! 15 expire          u32 limit
//! 16 set clock rule  u8 on: 0 or 1
//! 17 confirm clock
//! 18 reset clock
//! expect: 00 any | 01 absent | 02, u64 version
//! name:   u16 length | bytes
//! ```
//!
//! The manifest is laid out as [`manifest_codec`] says and ends the command. There is one way to write a command down:
//! decoding and encoding are inverse to each other. So a put under lease 0 is of kind 1, which is what journals had
//! before there were leases.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Command;
use crate::crypto::hash::HASH_LEN;
use crate::keystore::manifest::Manifest;
use crate::keystore::manifest_codec::{self, MANIFEST_BYTES_MAX, ManifestError};
use crate::layout::{Reader, Truncated};
use crate::ledger::file::Expect;
use crate::ledger::name::{Name, NameError};
use crate::limits::{NAME_BYTES_MAX, RECORD_BODY_BYTES_MAX};
use crate::time::WallTime;

/// Version of the layout of a command.
pub const COMMAND_LAYOUT: u8 = 1;

/// Bytes of the longest command: a put in a session, or a rename in one.
pub const COMMAND_BYTES_MAX: usize = if PUT_BYTES_MAX > RENAME_BYTES_MAX { PUT_BYTES_MAX } else { RENAME_BYTES_MAX };
const PUT_BYTES_MAX: usize = SESSION_HEAD_LEN + 8 + 8 + SUBJECT_BYTES_MAX + MANIFEST_BYTES_MAX;
const RENAME_BYTES_MAX: usize = SESSION_HEAD_LEN + 2 * SUBJECT_BYTES_MAX;
const SESSION_HEAD_LEN: usize = 2 + 8 + 8 + 8 + 1;
const SUBJECT_BYTES_MAX: usize = 9 + 2 + NAME_BYTES_MAX;

/// Most commands are not longer.
const USUAL_BYTES: usize = 512;

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_PUT_LEASED: u8 = 3;
const KIND_SWEEP_START: u8 = 4;
const KIND_SWEEP_COMPLETE: u8 = 5;
const KIND_UNDELETE: u8 = 6;
const KIND_REAP: u8 = 7;
const KIND_PURGE: u8 = 8;
const KIND_CLEAN: u8 = 9;
const KIND_DEEP_CLEAN: u8 = 10;
const KIND_REGISTER_SESSION: u8 = 11;
const KIND_IN_SESSION: u8 = 12;
const KIND_RENAME: u8 = 13;
const KIND_PUT_UNTIL: u8 = 14;
const KIND_EXPIRE: u8 = 15;
const KIND_SET_CLOCK_RULE: u8 = 16;
const KIND_CONFIRM_CLOCK: u8 = 17;
const KIND_RESET_CLOCK: u8 = 18;
const KIND_LAST: u8 = KIND_RESET_CLOCK;

const EXPECT_ANY: u8 = 0;
const EXPECT_ABSENT: u8 = 1;
const EXPECT_VERSION: u8 = 2;

const _: () = assert!(COMMAND_BYTES_MAX <= RECORD_BODY_BYTES_MAX as usize);
const _: () = assert!(NAME_BYTES_MAX <= u16::MAX as usize);

/// Why bytes are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the command is cut short")]
    Truncated,
    /// There are bytes after the command.
    #[error("{bytes} bytes follow the command")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A layout that this program does not know.
    #[error("the command has layout {found}, this program reads layout {COMMAND_LAYOUT}")]
    Layout {
        /// The layout found.
        found: u8,
    },
    /// A kind of command that this program does not know.
    #[error("the command is of unknown kind {found}")]
    Kind {
        /// The kind found.
        found: u8,
    },
    /// An expectation that this program does not know.
    #[error("the command has an expectation of unknown kind {found}")]
    Expect {
        /// The kind found.
        found: u8,
    },
    /// A put of the kind with a lease has none.
    #[error("the command is a put with a lease, and its lease is 0")]
    Lease,
    /// A byte that is neither yes nor no.
    #[error("the command has a flag that is {found} instead of 0 or 1")]
    Flag {
        /// The byte found.
        found: u8,
    },
    /// A name that can't be one.
    #[error("the command's name is refused: {0}")]
    Name(NameError),
    /// A manifest that can't be one.
    #[error("the command's manifest is refused: {0}")]
    Manifest(ManifestError),
}

impl From<Truncated> for DecodeError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

impl Command {
    /// The command as bytes, at most [`COMMAND_BYTES_MAX`].
    ///
    /// # Panics
    /// If the manifest breaks a rule of [`manifest_codec::check`], or a session is begun or nested in a session: such a
    /// command could be written but not read again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL_BYTES);
        out.extend_from_slice(&[COMMAND_LAYOUT, self.kind()]);
        out.extend_from_slice(&self.time().as_nanos().to_le_bytes());
        if let Self::InSession { session, serial, command } = self {
            assert!(command.fits_session(), "sessions are neither begun nor nested in a session");
            out.extend_from_slice(&session.to_le_bytes());
            out.extend_from_slice(&serial.to_le_bytes());
            out.push(command.kind());
        }
        self.plain().encode_rest(&mut out);
        assert!(out.len() <= COMMAND_BYTES_MAX, "a command fits a record");
        out
    }

    /// What comes after the time.
    fn encode_rest(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put { time: _, lease, name, expect, manifest } => {
                if *lease > 0 {
                    out.extend_from_slice(&lease.to_le_bytes());
                }
                encode_subject(*expect, name, out);
                encode_manifest(manifest, out);
            }
            Self::Delete { time: _, name, expect } | Self::Purge { time: _, name, expect } => {
                encode_subject(*expect, name, out);
            }
            Self::SweepComplete { time: _, epoch, filter_hash, by_person } => {
                out.extend_from_slice(&epoch.to_le_bytes());
                out.extend_from_slice(filter_hash);
                out.push(u8::from(*by_person));
            }
            Self::Undelete { time: _, name, version, expect } => {
                out.extend_from_slice(&version.to_le_bytes());
                encode_subject(*expect, name, out);
            }
            Self::Reap { time: _, before, limit } => {
                out.extend_from_slice(&before.as_nanos().to_le_bytes());
                out.extend_from_slice(&limit.to_le_bytes());
            }
            Self::PutUntil { time: _, lease, ttl, name, expect, manifest } => {
                out.extend_from_slice(&lease.to_le_bytes());
                out.extend_from_slice(&ttl.to_le_bytes());
                encode_subject(*expect, name, out);
                encode_manifest(manifest, out);
            }
            Self::SetClockRule { time: _, on } => out.push(u8::from(*on)),
            Self::Expire { time: _, limit } => out.extend_from_slice(&limit.to_le_bytes()),
            Self::Rename { time: _, from, to, expect_from, expect_to } => {
                encode_subject(*expect_from, from, out);
                encode_subject(*expect_to, to, out);
            }
            Self::SweepStart { time: _ }
            | Self::Clean { time: _ }
            | Self::DeepClean { time: _ }
            | Self::ConfirmClock { time: _ }
            | Self::ResetClock { time: _ }
            | Self::RegisterSession { time: _ } => {}
            Self::InSession { .. } => unreachable!("sessions are not nested"),
        }
    }

    /// The command that `bytes` are, from the first to the last.
    ///
    /// # Errors
    /// The first thing that is wrong with them. Whatever they are, no more is allocated than they have bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (layout, kind) = (reader.u8()?, reader.u8()?);
        if layout != COMMAND_LAYOUT {
            return Err(DecodeError::Layout { found: layout });
        }
        if !(KIND_PUT..=KIND_LAST).contains(&kind) {
            return Err(DecodeError::Kind { found: kind });
        }
        let time = WallTime::from_nanos(reader.u64()?);
        let command = if kind == KIND_IN_SESSION {
            let (session, serial, kind) = (reader.u64()?, reader.u64()?, reader.u8()?);
            if kind == KIND_REGISTER_SESSION {
                return Err(DecodeError::Kind { found: kind });
            }
            Self::InSession { session, serial, command: Box::new(decode_kind(kind, time, &mut reader)?) }
        } else {
            decode_kind(kind, time, &mut reader)?
        };
        match reader.remaining() {
            0 => Ok(command),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }

    /// Whether a session can ask for this.
    pub(crate) const fn fits_session(&self) -> bool {
        !matches!(self, Self::RegisterSession { .. } | Self::InSession { .. })
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Put { lease: 0, .. } => KIND_PUT,
            Self::Put { .. } => KIND_PUT_LEASED,
            Self::Delete { .. } => KIND_DELETE,
            Self::SweepStart { .. } => KIND_SWEEP_START,
            Self::SweepComplete { .. } => KIND_SWEEP_COMPLETE,
            Self::Undelete { .. } => KIND_UNDELETE,
            Self::Reap { .. } => KIND_REAP,
            Self::Purge { .. } => KIND_PURGE,
            Self::Clean { .. } => KIND_CLEAN,
            Self::DeepClean { .. } => KIND_DEEP_CLEAN,
            Self::Rename { .. } => KIND_RENAME,
            Self::PutUntil { .. } => KIND_PUT_UNTIL,
            Self::Expire { .. } => KIND_EXPIRE,
            Self::SetClockRule { .. } => KIND_SET_CLOCK_RULE,
            Self::ConfirmClock { .. } => KIND_CONFIRM_CLOCK,
            Self::ResetClock { .. } => KIND_RESET_CLOCK,
            Self::RegisterSession { .. } => KIND_REGISTER_SESSION,
            Self::InSession { .. } => KIND_IN_SESSION,
        }
    }
}

fn encode_manifest(manifest: &Manifest, out: &mut Vec<u8>) {
    assert_eq!(manifest_codec::check(manifest), Ok(()), "only what can be read again is written");
    manifest_codec::encode(manifest, out);
}

fn encode_subject(expect: Expect, name: &Name, out: &mut Vec<u8>) {
    match expect {
        Expect::Any => out.push(EXPECT_ANY),
        Expect::Absent => out.push(EXPECT_ABSENT),
        Expect::Version(version) => {
            out.push(EXPECT_VERSION);
            out.extend_from_slice(&version.to_le_bytes());
        }
    }
    let name_len = u16::try_from(name.as_bytes().len()).expect("a name has at most 1,024 bytes");
    out.extend_from_slice(&name_len.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// What comes after the time, for each kind but that of sessions.
fn decode_kind(kind: u8, time: WallTime, reader: &mut Reader<'_>) -> Result<Command, DecodeError> {
    Ok(match kind {
        KIND_PUT | KIND_PUT_LEASED => {
            let lease = if kind == KIND_PUT { 0 } else { decode_lease(reader)? };
            let (expect, name) = decode_subject(reader)?;
            Command::Put { time, lease, name, expect, manifest: decode_manifest(reader)? }
        }
        KIND_DELETE => {
            let (expect, name) = decode_subject(reader)?;
            Command::Delete { time, name, expect }
        }
        KIND_SWEEP_START => Command::SweepStart { time },
        KIND_SWEEP_COMPLETE => {
            let (epoch, filter_hash) = (reader.u64()?, reader.array::<HASH_LEN>()?);
            let by_person = decode_flag(reader)?;
            Command::SweepComplete { time, epoch, filter_hash, by_person }
        }
        KIND_UNDELETE => {
            let version = reader.u64()?;
            let (expect, name) = decode_subject(reader)?;
            Command::Undelete { time, name, version, expect }
        }
        KIND_REAP => Command::Reap { time, before: WallTime::from_nanos(reader.u64()?), limit: reader.u32()? },
        KIND_PURGE => {
            let (expect, name) = decode_subject(reader)?;
            Command::Purge { time, name, expect }
        }
        KIND_CLEAN => Command::Clean { time },
        KIND_DEEP_CLEAN => Command::DeepClean { time },
        KIND_PUT_UNTIL => {
            let (lease, ttl) = (reader.u64()?, reader.u64()?);
            let (expect, name) = decode_subject(reader)?;
            Command::PutUntil { time, lease, ttl, name, expect, manifest: decode_manifest(reader)? }
        }
        KIND_EXPIRE => Command::Expire { time, limit: reader.u32()? },
        KIND_SET_CLOCK_RULE => Command::SetClockRule { time, on: decode_flag(reader)? },
        KIND_CONFIRM_CLOCK => Command::ConfirmClock { time },
        KIND_RESET_CLOCK => Command::ResetClock { time },
        KIND_RENAME => {
            let ((expect_from, from), (expect_to, to)) = (decode_subject(reader)?, decode_subject(reader)?);
            Command::Rename { time, from, to, expect_from, expect_to }
        }
        KIND_REGISTER_SESSION => Command::RegisterSession { time },
        // Also a session within a session, which is read nowhere else.
        found => return Err(DecodeError::Kind { found }),
    })
}

fn decode_flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(DecodeError::Flag { found }),
    }
}

fn decode_lease(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.u64()? {
        0 => Err(DecodeError::Lease),
        lease => Ok(lease),
    }
}

fn decode_subject(reader: &mut Reader<'_>) -> Result<(Expect, Name), DecodeError> {
    let expect = match reader.u8()? {
        EXPECT_ANY => Expect::Any,
        EXPECT_ABSENT => Expect::Absent,
        EXPECT_VERSION => Expect::Version(reader.u64()?),
        found => return Err(DecodeError::Expect { found }),
    };
    let name_len = usize::from(reader.u16()?);
    let name = Name::new(reader.bytes(name_len)?).map_err(DecodeError::Name)?;
    Ok((expect, name))
}

/// The manifest, which is all that is left.
fn decode_manifest(reader: &mut Reader<'_>) -> Result<Manifest, DecodeError> {
    let rest = reader.bytes(reader.remaining())?;
    manifest_codec::decode(rest).map_err(|error| match error {
        ManifestError::Truncated => DecodeError::Truncated,
        ManifestError::Trailing { bytes } => DecodeError::Trailing { bytes },
        error => DecodeError::Manifest(error),
    })
}
