//! Entries of the journal: a term, an index and a command, as Raft has them (Ongaro 2014, section 3.5).
//!
//! Layout, little-endian: version (1), zero (1), number of volumes (2), term (8), index (8), then for each volume its
//! number (8) and a position in it (8), then the command. The volumes are local to the node, not part of the command:
//! they are the positions that a put's chunks have in this node's volumes, which the entry thereby proves durable.

use alloc::vec::Vec;

use crate::limits::{PUT_VOLUMES_MAX, RECORD_BODY_BYTES_MAX};

const VERSION: u8 = 1;
const FIXED_LEN: usize = 20;
const VOLUME_LEN: usize = 16;

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leader's term; 1 as long as the only voter is this node.
    pub term: u64,
    /// Dense from 1.
    pub index: u64,
    /// By volume, the largest position that the command relies on.
    pub volumes: Vec<(u64, u64)>,
    /// An encoded [`super::command::Command`].
    pub command: Vec<u8>,
}

/// Bytes that are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEntry;

impl Entry {
    /// The body of its record.
    ///
    /// # Panics
    /// When there are more than [`PUT_VOLUMES_MAX`] volumes, or the body is too long for a record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.volumes.len() <= PUT_VOLUMES_MAX, "a put names a bounded number of volumes");
        let volumes = u16::try_from(self.volumes.len()).expect("bounded far below");
        let mut body = Vec::with_capacity(FIXED_LEN + VOLUME_LEN * self.volumes.len() + self.command.len());
        body.extend_from_slice(&[VERSION, 0]);
        body.extend_from_slice(&volumes.to_le_bytes());
        body.extend_from_slice(&self.term.to_le_bytes());
        body.extend_from_slice(&self.index.to_le_bytes());
        for (volume, position) in &self.volumes {
            body.extend_from_slice(&volume.to_le_bytes());
            body.extend_from_slice(&position.to_le_bytes());
        }
        body.extend_from_slice(&self.command);
        assert!(body.len() <= RECORD_BODY_BYTES_MAX as usize, "limits.rs bounds names, manifests and volumes");
        body
    }

    /// Reads the body of a record. Total; the command is not looked at.
    ///
    /// # Errors
    /// The bytes are no entry of a version that this program reads.
    pub fn decode(body: &[u8]) -> Result<Self, BadEntry> {
        let (fixed, rest) = body.split_first_chunk::<FIXED_LEN>().ok_or(BadEntry)?;
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let count = usize::from(u16::from_le_bytes([fixed[2], fixed[3]]));
        if fixed[..2] != [VERSION, 0] || count > PUT_VOLUMES_MAX || rest.len() < count * VOLUME_LEN {
            return Err(BadEntry);
        }
        let (volumes, command) = rest.split_at(count * VOLUME_LEN);
        let volumes = volumes.chunks_exact(VOLUME_LEN).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect();
        Ok(Self { term: number(&fixed[4..12]), index: number(&fixed[12..20]), volumes, command: command.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// Golden: journals written today must be readable for ever.
    #[test]
    fn the_layout_is_fixed_for_ever() {
        let entry = Entry { term: 1, index: 2, volumes: [(3, 4)].into(), command: b"command".to_vec() };
        let expected =
            concat!("0100010001000000000000000200000000000000", "03000000000000000400000000000000", "636f6d6d616e64");
        assert_eq!(HEXLOWER.encode(&entry.encode()), expected);
    }

    proptest! {
        #[test]
        fn entries_come_back(
            term in any::<u64>(),
            index in any::<u64>(),
            volumes in proptest::collection::vec(any::<(u64, u64)>(), 0..4),
            command in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let entry = Entry { term, index, volumes, command };
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn decoding_is_total(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(entry) = Entry::decode(&body) {
                prop_assert_eq!(entry.encode(), body);
            }
        }
    }
}
