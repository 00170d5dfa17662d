//! Identifiers, and the XOR distance between keys of the DHT (Maymounkov and Mazieres 2002, section 2).

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use crate::crypto::hash::{HASH_LEN, sha256};

/// Bytes of a key of the DHT: the first 160 bits of a SHA-256.
pub const KEY_LEN: usize = 20;

/// Text that should have been an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits")]
pub struct ParseIdError {
    /// How many digits the identifier has.
    pub expected: usize,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq)]
        pub struct $name([u8; $len]);

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl Ord for $name {
            /// As the bytes compare, eight at a time: comparing a few numbers is much faster than a call that compares
            /// bytes.
            fn cmp(&self, other: &Self) -> Ordering {
                const LAST: usize = $len - 8;
                let word = |id: &Self, at: usize| u64::from_be_bytes(*id.0[at..].first_chunk().expect("eight follow"));
                let mut at = 0;
                loop {
                    let order = word(self, at).cmp(&word(other, at));
                    if order.is_ne() || at == LAST {
                        return order;
                    }
                    // What the last eight share with those before is the same.
                    at = (at + 8).min(LAST);
                }
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The identifier of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes, most significant first.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        /// The first four bytes are enough for a log line.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}..)"), HEXLOWER.encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let bytes = HEXLOWER.decode(text.as_bytes()).ok();
                let array = bytes.and_then(|bytes| bytes.try_into().ok());
                array.map(Self).ok_or(ParseIdError { expected: 2 * $len })
            }
        }
    };
}

identifier! {
    /// A node: the first 160 bits of SHA-256 of its Ed25519 public key.
    NodeId, KEY_LEN
}
identifier! {
    /// A point of the 160-bit space in which nodes and chunks meet.
    Key, KEY_LEN
}
identifier! {
    /// How far two keys are from each other: their XOR, compared as a big-endian number.
    Distance, KEY_LEN
}
identifier! {
    /// A whole file: SHA-256 of its bytes, what `sha256sum` prints.
    FileId, HASH_LEN
}
identifier! {
    /// A chunk: SHA-256 of its bytes. Whoever holds the bytes can check the name.
    ChunkId, HASH_LEN
}

impl NodeId {
    /// Where the node sits in the DHT.
    #[must_use]
    pub const fn key(&self) -> Key {
        Key(self.0)
    }
}

impl ChunkId {
    /// The identifier of a chunk with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    /// Where the chunk belongs in the DHT: its first 160 bits. Index and dedup compare all 256.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut key = [0; KEY_LEN];
        key.copy_from_slice(&self.0[..KEY_LEN]);
        Key(key)
    }
}

impl Key {
    /// The XOR of two keys.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let mut xor = [0; KEY_LEN];
        for (byte, (a, b)) in xor.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *byte = a ^ b;
        }
        Distance(xor)
    }
}

impl Distance {
    /// Leading zero bits, 0 to 160; the length of the prefix that both keys share.
    #[must_use]
    pub fn prefix_len(&self) -> u32 {
        let mut zeros = 0;
        for byte in self.0 {
            zeros += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        zeros
    }
}

/// A chunk whose bytes have been hashed: the only constructor does it, so holding one is the proof.
///
/// The edges make it (ingest, disk reads, later connections) on worker threads; nothing downstream hashes again.
/// Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedChunk {
    id: ChunkId,
    bytes: Bytes,
}

impl VerifiedChunk {
    /// Hashes `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { id: ChunkId::of(&bytes), bytes }
    }

    /// Hashes `bytes` and keeps them only if they are what `id` names; otherwise says what they are instead.
    ///
    /// # Errors
    /// The identifier that the bytes really have.
    pub fn check(id: ChunkId, bytes: Bytes) -> Result<Self, ChunkId> {
        let found = Self::new(bytes);
        if found.id == id { Ok(found) } else { Err(found.id) }
    }

    /// The chunk's name.
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        self.id
    }

    /// The chunk's content.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for VerifiedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedChunk({:?}, {} bytes)", self.id, self.bytes.len())
    }
}

/// A conversation between a client and a node. Chosen by the driver, never reused within one run of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One outstanding disk operation. The boot counter makes a completion from before a restart recognisably foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// The boot that issued the operation; 0 while the boot record is not read yet.
    pub boot: u64,
    /// Dense from 1 within the boot.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn key(first: u8, last: u8) -> Key {
        let mut bytes = [0; KEY_LEN];
        bytes[0] = first;
        bytes[KEY_LEN - 1] = last;
        Key::from_bytes(bytes)
    }

    #[test]
    fn xor_distance_has_its_known_vectors() {
        let zero = key(0, 0);
        for (other, text, prefix) in [
            (key(0, 0), "0000000000000000000000000000000000000000", 160),
            (key(0, 1), "0000000000000000000000000000000000000001", 159),
            (key(0, 0x80), "0000000000000000000000000000000000000080", 152),
            (key(0x01, 0), "0100000000000000000000000000000000000000", 7),
            (key(0x80, 0xff), "80000000000000000000000000000000000000ff", 0),
        ] {
            assert_eq!(zero.distance(&other).to_string(), text);
            assert_eq!(other.distance(&zero).prefix_len(), prefix);
        }
    }

    #[test]
    fn distance_is_a_metric_and_unidirectional() {
        let (a, b, c) = (key(0x5a, 3), key(0xa5, 9), key(0x33, 7));
        assert_eq!(a.distance(&b), b.distance(&a));
        assert_eq!(a.distance(&a).prefix_len(), 160);
        let (ab, bc) = (a.distance(&b), b.distance(&c));
        let both = Key(ab.0).distance(&Key(bc.0));
        assert_eq!(a.distance(&c), both, "d(a,c) = d(a,b) xor d(b,c)");
        assert_ne!(a.distance(&b), a.distance(&c));
    }

    /// Also where two differ in one place alone, whichever it is.
    #[test]
    fn identifiers_compare_as_their_bytes() {
        let zero = [0x55; KEY_LEN];
        let ones = (0..KEY_LEN).flat_map(|at| [1, 0xff].map(|byte| (at, byte)));
        let mut all: alloc::vec::Vec<[u8; KEY_LEN]> = ones
            .map(|(at, byte)| {
                let mut bytes = zero;
                bytes[at] = byte;
                bytes
            })
            .collect();
        all.push(zero);
        for a in &all {
            for b in &all {
                assert_eq!(NodeId::from_bytes(*a).cmp(&NodeId::from_bytes(*b)), a.cmp(b));
                assert_eq!(NodeId::from_bytes(*a) == NodeId::from_bytes(*b), a == b);
            }
        }
    }

    #[test]
    fn identifiers_are_strict_lower_case_hex() {
        let id = ChunkId::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<ChunkId>(), Err(ParseIdError { expected: 64 }));
        assert!(text[..63].parse::<ChunkId>().is_err());
        assert_eq!(id.key().to_string(), &text[..40]);
    }

    #[test]
    fn a_verified_chunk_cannot_carry_other_bytes() {
        let id = ChunkId::of(b"right");
        assert!(VerifiedChunk::check(id, Bytes::from_static(b"right")).is_ok());
        assert_eq!(VerifiedChunk::check(id, Bytes::from_static(b"wrong")), Err(ChunkId::of(b"wrong")));
    }
}
