//! Which chunks a sweep found to be referred to: a Bloom filter (Bloom 1970) over their identifiers. What is in it is
//! always found in it; of what is not, about one in 1,700 is found all the same and stays until a later sweep.
//!
//! The identifiers are cut by their first bits into parts, so that whoever holds a range of chunks needs only the parts
//! of that range. Where in its part an identifier sets its bits depends on epoch and salt, so that two sweeps don't keep
//! the same chunks by mistake, and nobody can look for such chunks before the salt is drawn. All roots that walk the same
//! ledger with the same salt and size come to the same bytes, and one hash stands for them.
//!
//! ```text
//! parts:   2^p, the fewest of which none is longer than FILTER_PART_BYTES_MAX; p at most 12
//! part:    the first p bits of the identifier
//! key:     the first 16 bytes of SHA-256("dps filter" | 01 | u64 epoch | 16-byte salt)
//! words:   SHA-256(key | 32-byte identifier) as eight u32
//! bits:    word * bits of a part / 2^32, for each word; bit n is bit n % 8 of byte n / 8, the lowest first
//! layout:  "dpsF" | u8 version 1 | u8 p | 00 00 | u32 number of the part | u32 bytes of bits | u64 epoch | salt | bits
//! hash:    Merkle tree hash (RFC 6962) of the parts, laid out as above, by their numbers
//! ```
//!
//! Numbers are little-endian. Identifiers are hashes, so all parts fill alike. Someone who grinds them can fill one part
//! more than the others, which keeps garbage of that part for longer; they have to store those chunks for it.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::crypto::hash::{HASH_LEN, Sha256};
use crate::crypto::merkle::MerkleTree;
use crate::id::ChunkId;
use crate::layout::{Reader, Truncated};
use crate::limits::{FILTER_PART_BYTES_MAX, FILTER_PARTS_MAX};

/// How the bytes of a part begin.
pub const MAGIC: [u8; 4] = *b"dpsF";

/// The layout of a part that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// Bytes of a salt.
pub const SALT_LEN: usize = 16;

/// Bytes of a part before its bits.
const HEADER_LEN: usize = 40;

/// Bytes of bits for each entry that is expected: sixteen bits, of which a full filter has four in ten set.
const ENTRY_BYTES: u64 = 2;

/// Bits of each entry: one for each word of its hash.
const ENTRY_WORDS: usize = HASH_LEN / 4;

/// A filter has at least so many bytes of bits.
const BITS_BYTES_MIN: u32 = 64;

/// A part has at most so many bytes of bits.
const BITS_BYTES_MAX: u32 = FILTER_PART_BYTES_MAX - HEADER_LEN as u32;

/// The first bits of an identifier that choose its part, at most.
const PREFIX_BITS_MAX: u8 = 12;

const _: () = assert!(1 << PREFIX_BITS_MAX == FILTER_PARTS_MAX);
const _: () = assert!(BITS_BYTES_MIN <= BITS_BYTES_MAX);

/// Why bytes are no part of a filter, or parts no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is shorter than it says.
    #[error("it ends too early")]
    Truncated,
    /// It does not begin like a part of a filter.
    #[error("it is no part of a filter")]
    Magic,
    /// It has another layout than [`VERSION`].
    #[error("its layout {found} is unknown")]
    Version {
        /// The one it has.
        found: u8,
    },
    /// A reserved byte is not zero.
    #[error("a reserved byte is not zero")]
    Reserved,
    /// No filter has parts like that.
    #[error("no filter has parts for {prefix_bits} bits with {bits_bytes} bytes each")]
    Shape {
        /// First bits of an identifier that choose the part.
        prefix_bits: u8,
        /// Bytes of bits of a part.
        bits_bytes: u32,
    },
    /// The filter has no such part.
    #[error("it is part {number} of {parts}, from 0")]
    Number {
        /// Its number.
        number: u32,
        /// How many there are.
        parts: u32,
    },
    /// It is longer than it says.
    #[error("{bytes} bytes follow it")]
    Trailing {
        /// How many are too many.
        bytes: usize,
    },
    /// It belongs to another filter than the parts before it.
    #[error("it is a part of another filter")]
    OtherFilter,
    /// Another part comes next.
    #[error("part {expected} was expected, not part {found}")]
    OutOfOrder {
        /// The number of the part that comes next.
        expected: u32,
        /// The number of this one.
        found: u32,
    },
    /// Parts are missing at the end.
    #[error("there are only {found} parts")]
    Incomplete {
        /// As many as there are.
        found: usize,
    },
}

impl From<Truncated> for FilterError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

/// What all parts of a filter have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    epoch: u64,
    salt: [u8; SALT_LEN],
    /// Invariant: at most [`PREFIX_BITS_MAX`].
    prefix_bits: u8,
    /// Invariant: from [`BITS_BYTES_MIN`] to [`BITS_BYTES_MAX`].
    bits_bytes: u32,
    /// Follows from epoch and salt.
    key: [u8; 16],
}

impl Shape {
    fn new(epoch: u64, salt: [u8; SALT_LEN], prefix_bits: u8, bits_bytes: u32) -> Result<Self, FilterError> {
        if prefix_bits > PREFIX_BITS_MAX || !(BITS_BYTES_MIN..=BITS_BYTES_MAX).contains(&bits_bytes) {
            return Err(FilterError::Shape { prefix_bits, bits_bytes });
        }
        let mut hash = Sha256::new();
        hash.update(b"dps filter\x01");
        hash.update(&epoch.to_le_bytes());
        hash.update(&salt);
        // Half of it is as hard to guess as the salt, and with an identifier it is one block of SHA-256.
        let key = *hash.finish().first_chunk().expect("a hash has 32 bytes");
        Ok(Self { epoch, salt, prefix_bits, bits_bytes, key })
    }

    /// Parts for `expected` entries, as few and as small as do.
    fn fitting(epoch: u64, salt: [u8; SALT_LEN], expected: u64) -> Self {
        let bytes = expected.saturating_mul(ENTRY_BYTES);
        let fits = |prefix_bits: &u8| bytes.div_ceil(1 << prefix_bits) <= u64::from(BITS_BYTES_MAX);
        let prefix_bits = (0..PREFIX_BITS_MAX).find(fits).unwrap_or(PREFIX_BITS_MAX);
        let bits_bytes = u32::try_from(bytes.div_ceil(1 << prefix_bits)).unwrap_or(u32::MAX);
        let bits_bytes = bits_bytes.clamp(BITS_BYTES_MIN, BITS_BYTES_MAX);
        Self::new(epoch, salt, prefix_bits, bits_bytes).expect("within its bounds")
    }

    const fn parts(&self) -> u32 {
        1 << self.prefix_bits
    }

    /// The number of the part that `chunk` belongs to.
    fn part_of(&self, chunk: &ChunkId) -> u32 {
        let [first, second, ..] = *chunk.as_bytes();
        u32::from(u16::from_be_bytes([first, second])) >> (16 - self.prefix_bits)
    }

    /// The bits of `chunk` within its part.
    fn bits_of(&self, chunk: &ChunkId) -> [usize; ENTRY_WORDS] {
        let mut hash = Sha256::new();
        hash.update(&self.key);
        hash.update(chunk.as_bytes());
        let hash = hash.finish();
        let (words, _) = hash.as_chunks::<4>();
        let bits = 8 * u64::from(self.bits_bytes);
        core::array::from_fn(|index| {
            let bit = (u64::from(u32::from_le_bytes(words[index])) * bits) >> 32;
            usize::try_from(bit).expect("a part has fewer bits than a u32 can count")
        })
    }

    /// Whether all bits of `chunk` are set in `bits`, those of its part.
    fn is_set(&self, bits: &[u8], chunk: &ChunkId) -> bool {
        self.bits_of(chunk).iter().all(|bit| (bits[bit / 8] >> (bit % 8)) & 1 == 1)
    }

    fn header(&self, number: u32) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&[VERSION, self.prefix_bits]);
        header[8..12].copy_from_slice(&number.to_le_bytes());
        header[12..16].copy_from_slice(&self.bits_bytes.to_le_bytes());
        header[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        header[24..].copy_from_slice(&self.salt);
        header
    }
}

/// A filter that is being filled. Memory comes with the entries, part by part.
#[derive(Clone)]
pub struct FilterBuilder {
    shape: Shape,
    /// The bits of each part. Invariant: one for each part; `bits_bytes` long, or empty while none is set.
    parts: Vec<Vec<u8>>,
}

impl FilterBuilder {
    /// Adds `chunk`. Adding it again changes nothing.
    pub fn insert(&mut self, chunk: &ChunkId) {
        let bits = &mut self.parts[self.shape.part_of(chunk) as usize];
        if bits.is_empty() {
            *bits = vec![0; self.shape.bits_bytes as usize];
        }
        for bit in self.shape.bits_of(chunk) {
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Ends the filling: what is left is to hash the parts, one at a time.
    #[must_use]
    pub fn seal(self) -> FilterSealing {
        let Self { shape, parts } = self;
        FilterSealing { shape, waiting: parts.into_iter(), sealed: FilterAssembly::new() }
    }

    /// Ends the filling and hashes everything at once: only for few parts.
    #[must_use]
    pub fn finish(self) -> Filter {
        let mut sealing = self.seal();
        while sealing.advance() {}
        sealing.finish()
    }
}

/// A filter that is being hashed.
pub struct FilterSealing {
    shape: Shape,
    waiting: vec::IntoIter<Vec<u8>>,
    sealed: FilterAssembly,
}

impl FilterSealing {
    /// Hashes the next part, at most [`FILTER_PART_BYTES_MAX`] bytes; returns whether there was one.
    pub fn advance(&mut self) -> bool {
        let Some(mut bits) = self.waiting.next() else { return false };
        bits.resize(self.shape.bits_bytes as usize, 0);
        let number = u32::try_from(self.sealed.parts.len()).expect("at most FILTER_PARTS_MAX");
        let pushed = self.sealed.push(FilterPart { shape: self.shape, number, bits });
        assert!(pushed.is_ok(), "part {number} follows on the one before");
        true
    }

    /// Parts that were hashed, and parts in all.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        (u32::try_from(self.sealed.parts.len()).expect("at most FILTER_PARTS_MAX"), self.shape.parts())
    }

    /// The filter.
    ///
    /// # Panics
    /// When a part was not hashed yet.
    #[must_use]
    pub fn finish(self) -> Filter {
        self.sealed.finish().expect("all parts were hashed")
    }
}

/// One part of a filter, as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct FilterPart {
    shape: Shape,
    /// Invariant: below the number of parts.
    number: u32,
    /// Invariant: `bits_bytes` long.
    bits: Vec<u8>,
}

impl FilterPart {
    /// The part that `bytes` are, from the first to the last.
    ///
    /// # Errors
    /// The first thing that is wrong with them. Total: any bytes may come in.
    pub fn decode(bytes: &[u8]) -> Result<Self, FilterError> {
        let mut reader = Reader::new(bytes);
        let (magic, version, prefix_bits, reserved) = (reader.array()?, reader.u8()?, reader.u8()?, reader.u16()?);
        if magic != MAGIC {
            return Err(FilterError::Magic);
        }
        if version != VERSION {
            return Err(FilterError::Version { found: version });
        }
        if reserved != 0 {
            return Err(FilterError::Reserved);
        }
        let (number, bits_bytes) = (reader.u32()?, reader.u32()?);
        let (epoch, salt) = (reader.u64()?, reader.array()?);
        let shape = Shape::new(epoch, salt, prefix_bits, bits_bytes)?;
        if number >= shape.parts() {
            return Err(FilterError::Number { number, parts: shape.parts() });
        }
        let bits = reader.bytes(bits_bytes as usize)?.to_vec();
        if reader.remaining() > 0 {
            return Err(FilterError::Trailing { bytes: reader.remaining() });
        }
        Ok(Self { shape, number, bits })
    }

    /// The bytes of the part, at most [`FILTER_PART_BYTES_MAX`]. They are a leaf of the tree that is the filter's hash.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.shape, self.number, &self.bits)
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Whether `chunk` is in the filter, if that is for this part to say.
    #[must_use]
    pub fn contains(&self, chunk: &ChunkId) -> Option<bool> {
        (self.shape.part_of(chunk) == self.number).then(|| self.shape.is_set(&self.bits, chunk))
    }
}

fn encode(shape: &Shape, number: u32, bits: &[u8]) -> Vec<u8> {
    let bytes = [&shape.header(number)[..], bits].concat();
    assert!(bytes.len() <= FILTER_PART_BYTES_MAX as usize, "a part has a bounded length");
    bytes
}

/// Parts of a filter that come one by one, by their numbers.
#[derive(Clone, Default)]
pub struct FilterAssembly {
    /// That of the parts, once there is one.
    shape: Option<Shape>,
    /// The bits of each part. Invariant: as many as `tree` has leaves.
    parts: Vec<Vec<u8>>,
    tree: MerkleTree,
}

impl FilterAssembly {
    /// No parts yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next part and hashes it.
    ///
    /// # Errors
    /// When it is not the next one. Nothing is changed then.
    pub fn push(&mut self, part: FilterPart) -> Result<(), FilterError> {
        if self.shape.is_some_and(|shape| shape != part.shape) {
            return Err(FilterError::OtherFilter);
        }
        let expected = u32::try_from(self.parts.len()).expect("at most FILTER_PARTS_MAX");
        if part.number != expected {
            return Err(FilterError::OutOfOrder { expected, found: part.number });
        }
        self.shape = Some(part.shape);
        self.tree.push(&[&part.shape.header(part.number), &part.bits]);
        self.parts.push(part.bits);
        assert_eq!(self.tree.len(), self.parts.len() as u64, "each part is hashed");
        Ok(())
    }

    /// The filter.
    ///
    /// # Errors
    /// When parts are missing.
    pub fn finish(self) -> Result<Filter, FilterError> {
        let found = self.parts.len();
        let Some(shape) = self.shape.filter(|shape| shape.parts() as usize == found) else {
            return Err(FilterError::Incomplete { found });
        };
        Ok(Filter { shape, parts: self.parts, hash: self.tree.root() })
    }
}

/// A filter that is complete.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    shape: Shape,
    /// The bits of each part. Invariant: one for each part, each `bits_bytes` long.
    parts: Vec<Vec<u8>>,
    hash: [u8; HASH_LEN],
}

impl Filter {
    /// An empty filter for sweep `epoch` with room for `expected` entries. More may come: it stays right, and lets more
    /// by that are not in it. Room ends with [`FILTER_PARTS_MAX`] parts, about 500 million entries.
    ///
    /// `salt` is drawn for this sweep, after all that it may find was stored.
    #[must_use]
    pub fn builder(epoch: u64, salt: [u8; SALT_LEN], expected: u64) -> FilterBuilder {
        let shape = Shape::fitting(epoch, salt, expected);
        FilterBuilder { shape, parts: vec![Vec::new(); shape.parts() as usize] }
    }

    /// The sweep that made it.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.shape.epoch
    }

    /// Whether `chunk` is in it. True of all that was added, and by mistake of a few others.
    #[must_use]
    pub fn contains(&self, chunk: &ChunkId) -> bool {
        self.shape.is_set(&self.parts[self.shape.part_of(chunk) as usize], chunk)
    }

    /// The Merkle tree hash of its parts.
    #[must_use]
    pub const fn hash(&self) -> [u8; HASH_LEN] {
        self.hash
    }

    /// How many parts there are: a power of two, at most [`FILTER_PARTS_MAX`].
    #[must_use]
    pub const fn part_count(&self) -> u32 {
        self.shape.parts()
    }

    /// The bytes of part `number`, at most [`FILTER_PART_BYTES_MAX`]. See [`FilterPart::decode`].
    ///
    /// # Panics
    /// When there is no such part.
    #[must_use]
    pub fn encode_part(&self, number: u32) -> Vec<u8> {
        encode(&self.shape, number, &self.parts[number as usize])
    }
}

fn debug(f: &mut fmt::Formatter<'_>, name: &str, shape: &Shape) -> fmt::Result {
    let Shape { epoch, bits_bytes, .. } = shape;
    write!(f, "{name}(epoch {epoch}, {} parts of {bits_bytes} bytes)", shape.parts())
}

/// No bits: there may be a lot of them.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Filter", &self.shape)
    }
}

/// No bits: there may be a lot of them.
impl fmt::Debug for FilterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "FilterBuilder", &self.shape)
    }
}

/// No bits: there may be a lot of them.
impl fmt::Debug for FilterSealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "FilterSealing", &self.shape)
    }
}

/// No bits: there may be a lot of them.
impl fmt::Debug for FilterPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "FilterPart", &self.shape)
    }
}

#[cfg(test)]
mod tests;
