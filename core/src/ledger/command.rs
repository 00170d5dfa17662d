//! What changes the ledger, as data and as bytes of a journal record.
//!
//! One layout, little-endian, from the first byte of a record's body to the last:
//!
//! ```text
//! u8 layout (1) | u8 kind | u64 time | expect | u16 name length | name | for a put: the manifest
//! kind:   1 put, 2 delete
//! expect: 00 any | 01 absent | 02, u64 version
//! ```
//!
//! The manifest is laid out as [`manifest_codec`] says and ends the command. There is one way to write a command down:
//! decoding and encoding are inverse to each other.

use alloc::vec::Vec;

use crate::keystore::manifest::Manifest;
use crate::keystore::manifest_codec::{self, MANIFEST_BYTES_MAX, ManifestError};
use crate::layout::{Reader, Truncated};
use crate::ledger::file::Expect;
use crate::ledger::name::{Name, NameError};
use crate::limits::{NAME_BYTES_MAX, RECORD_BODY_BYTES_MAX};
use crate::time::WallTime;

/// Version of the layout of a command.
pub const COMMAND_LAYOUT: u8 = 1;

/// Bytes of the longest command.
pub const COMMAND_BYTES_MAX: usize = 2 + 8 + 9 + 2 + NAME_BYTES_MAX + MANIFEST_BYTES_MAX;

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;

const EXPECT_ANY: u8 = 0;
const EXPECT_ABSENT: u8 = 1;
const EXPECT_VERSION: u8 = 2;

const _: () = assert!(COMMAND_BYTES_MAX <= RECORD_BODY_BYTES_MAX as usize);
const _: () = assert!(NAME_BYTES_MAX <= u16::MAX as usize);

/// A change of the ledger. Applied in the order of the journal, by every replica alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Gives a name a content, whose chunks are durable.
    Put {
        /// What the proposer's clock said; ledger time follows it, but never backwards.
        time: WallTime,
        /// The name.
        name: Name,
        /// What the name must mean before.
        expect: Expect,
        /// The content.
        manifest: Manifest,
    },
    /// Takes a name away, and with the last name the content.
    Delete {
        /// What the proposer's clock said; ledger time follows it, but never backwards.
        time: WallTime,
        /// The name.
        name: Name,
        /// What the name must mean before.
        expect: Expect,
    },
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The name means the content now.
    Stored {
        /// The name's new version.
        version: u64,
    },
    /// The name is gone.
    Deleted,
    /// The name does not mean what was expected; only ledger time changed.
    Conflict {
        /// The version it has; `None` if it does not exist.
        current: Option<u64>,
    },
    /// The name to be deleted does not exist; only ledger time changed.
    NotFound,
}

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
    /// The name that is changed.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Put { name, .. } | Self::Delete { name, .. } => name,
        }
    }

    /// What the proposer's clock said.
    #[must_use]
    pub const fn time(&self) -> WallTime {
        match self {
            Self::Put { time, .. } | Self::Delete { time, .. } => *time,
        }
    }

    /// The command as bytes, at most [`COMMAND_BYTES_MAX`].
    ///
    /// # Panics
    /// If the manifest breaks a rule of [`manifest_codec::check`]: such a command could be written but not read again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, time, name, expect, manifest) = match self {
            Self::Put { time, name, expect, manifest } => (KIND_PUT, time, name, expect, Some(manifest)),
            Self::Delete { time, name, expect } => (KIND_DELETE, time, name, expect, None),
        };
        let mut out = Vec::new();
        out.push(COMMAND_LAYOUT);
        out.push(kind);
        out.extend_from_slice(&time.as_nanos().to_le_bytes());
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
        if let Some(manifest) = manifest {
            assert_eq!(manifest_codec::check(manifest), Ok(()), "only what can be read again is written");
            manifest_codec::encode(manifest, &mut out);
        }
        assert!(out.len() <= COMMAND_BYTES_MAX, "a command fits a record");
        out
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
        if !matches!(kind, KIND_PUT | KIND_DELETE) {
            return Err(DecodeError::Kind { found: kind });
        }
        let time = WallTime::from_nanos(reader.u64()?);
        let expect = match reader.u8()? {
            EXPECT_ANY => Expect::Any,
            EXPECT_ABSENT => Expect::Absent,
            EXPECT_VERSION => Expect::Version(reader.u64()?),
            found => return Err(DecodeError::Expect { found }),
        };
        let name_len = usize::from(reader.u16()?);
        let name = Name::new(reader.bytes(name_len)?).map_err(DecodeError::Name)?;
        let rest = reader.bytes(reader.remaining())?;
        if kind == KIND_PUT {
            let manifest = manifest_codec::decode(rest).map_err(|error| match error {
                ManifestError::Truncated => DecodeError::Truncated,
                ManifestError::Trailing { bytes } => DecodeError::Trailing { bytes },
                error => DecodeError::Manifest(error),
            })?;
            Ok(Self::Put { time, name, expect, manifest })
        } else if rest.is_empty() {
            Ok(Self::Delete { time, name, expect })
        } else {
            Err(DecodeError::Trailing { bytes: rest.len() })
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::id::{ChunkId, FileId};
    use crate::keystore::manifest::{Body, Entry, Tree};
    use crate::keystore::manifest_codec::tests::{any_manifest, entries, inline};

    const TIME: WallTime = WallTime::from_nanos(0x0102_0304_0506_0708);

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn put(expect: Expect, manifest: Manifest) -> Command {
        Command::Put { time: TIME, name: name("a/b"), expect, manifest }
    }

    fn any_name() -> impl Strategy<Value = Name> {
        let text = prop::collection::vec(any::<char>(), 1..40).prop_map(String::from_iter);
        text.prop_filter_map("names have rules", |text| Name::new(text.as_bytes()).ok())
    }

    fn any_expect() -> impl Strategy<Value = Expect> {
        prop_oneof![Just(Expect::Any), Just(Expect::Absent), any::<u64>().prop_map(Expect::Version)]
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let time = any::<u64>().prop_map(WallTime::from_nanos);
        (time, any_name(), any_expect(), prop::option::of(any_manifest())).prop_map(|(time, name, expect, manifest)| {
            match manifest {
                Some(manifest) => Command::Put { time, name, expect, manifest },
                None => Command::Delete { time, name, expect },
            }
        })
    }

    #[test]
    fn the_layout_never_changes() {
        let file = FileId::from_bytes([0xab; 32]);
        let list = vec![
            Entry { chunk: ChunkId::from_bytes([0x11; 32]), bytes: 65_536 },
            Entry { chunk: ChunkId::from_bytes([0x22; 32]), bytes: 1 },
        ];
        let two_entries = Manifest { file, size: 65_537, block_bytes: 65_536, body: Body::Entries(list) };
        let body = Body::Tree(Tree { root: ChunkId::from_bytes([0x33; 32]), levels: 2, fanout: 1_024 });
        let two_levels = Manifest { file, size: 1 << 33, block_bytes: 4 << 20, body };
        let delete = |expect| Command::Delete { time: TIME, name: name("\u{e9}"), expect };

        let (empty, abc) = (
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        );
        let (id, one, two, three) = (&*"ab".repeat(32), &*"11".repeat(32), &*"22".repeat(32), &*"33".repeat(32));
        // Layout, kind, time; expectation; name; layout, body kind, file; size, block bytes; body.
        let (head, text) = ("01010807060504030201", "0300612f62");
        for (command, expected) in [
            (
                put(Expect::Any, inline(b"")),
                &[head, "00", text, "0100", empty, "0000000000000000", "00000000", "0000"][..],
            ),
            (
                put(Expect::Absent, inline(b"abc")),
                &[head, "01", text, "0100", abc, "0300000000000000", "03000000", "0300616263"],
            ),
            (
                put(Expect::Version(0x0b0a), two_entries),
                &[head, "020a0b000000000000", text, "0101", id, "0100010000000000", "00000100", "02"]
                    .into_iter()
                    .chain([one, "00000100", two, "01000000"])
                    .collect::<Vec<_>>(),
            ),
            (
                put(Expect::Any, two_levels),
                &[head, "00", text, "0102", id, "0000000002000000", "00004000", three, "0200040000"],
            ),
            (delete(Expect::Any), &["01020807060504030201", "00", "0200c3a9"]),
            (delete(Expect::Absent), &["01020807060504030201", "01", "0200c3a9"]),
            (delete(Expect::Version(7)), &["01020807060504030201", "020700000000000000", "0200c3a9"]),
        ] {
            let bytes = HEXLOWER.decode(expected.concat().as_bytes()).unwrap();
            assert_eq!(HEXLOWER.encode(&command.encode()), expected.concat());
            assert_eq!(Command::decode(&bytes), Ok(command));
        }
    }

    #[test]
    fn every_reason_to_refuse_is_told_apart() {
        let good = Command::Delete { time: TIME, name: name("abc"), expect: Expect::Any }.encode();
        assert!(Command::decode(&good).is_ok());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Command::decode(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 2), DecodeError::Layout { found: 2 });
        assert_eq!(with(1, 3), DecodeError::Kind { found: 3 });
        assert_eq!(with(1, 0), DecodeError::Kind { found: 0 });
        assert_eq!(with(1, 1), DecodeError::Truncated, "a put has a manifest");
        assert_eq!(with(10, 3), DecodeError::Expect { found: 3 });
        assert_eq!(with(11, 2), DecodeError::Trailing { bytes: 1 });
        assert_eq!(with(11, 4), DecodeError::Truncated);
        assert_eq!(with(11, 0), DecodeError::Name(NameError::Empty));
        assert_eq!(with(13, 0), DecodeError::Name(NameError::Nul { offset: 0 }));
        assert_eq!(with(15, 0xff), DecodeError::Name(NameError::NotUtf8 { offset: 2 }));
        let mut put = put(Expect::Any, inline(b"abc")).encode();
        *put.last_mut().unwrap() = b'd';
        assert_eq!(Command::decode(&put), Err(DecodeError::Manifest(ManifestError::NotTheFile)));
    }

    #[test]
    fn the_longest_command_fits_its_bound() {
        let block = crate::limits::CHUNK_BYTES_MAX;
        let manifest = entries(0, 16 * u64::from(block), block);
        let name = name(&"n".repeat(NAME_BYTES_MAX));
        let command = Command::Put { time: TIME, name, expect: Expect::Version(1), manifest };
        assert_eq!(command.encode().len(), COMMAND_BYTES_MAX);
    }

    #[test]
    #[should_panic(expected = "only what can be read again is written")]
    fn a_manifest_that_is_none_is_never_written() {
        let file = FileId::from_bytes([0; 32]);
        let _ = put(Expect::Any, Manifest { file, ..inline(b"abc") }).encode();
    }

    proptest! {
        #[test]
        fn a_command_comes_back_from_its_bytes(command in any_command()) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }

        #[test]
        fn a_longer_or_shorter_command_is_refused(command in any_command(), cut in any::<prop::sample::Index>()) {
            let mut bytes = command.encode();
            prop_assert_eq!(Command::decode(&bytes[..cut.index(bytes.len())]), Err(DecodeError::Truncated));
            bytes.push(0);
            prop_assert_eq!(Command::decode(&bytes), Err(DecodeError::Trailing { bytes: 1 }));
        }

        #[test]
        fn accepted_bytes_come_back_from_their_command(
            command in any_command(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        ) {
            let mut bytes = command.encode();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(changed) = Command::decode(&bytes) {
                prop_assert_eq!(changed.encode(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_judged_without_panic(
            known in prop::bool::ANY,
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let (true, Some(layout)) = (known, bytes.first_mut()) {
                *layout = COMMAND_LAYOUT;
            }
            if let Ok(command) = Command::decode(&bytes) {
                prop_assert_eq!(command.encode(), bytes);
            }
        }
    }
}
