//! Manifests as bytes, and the rules that every manifest keeps.
//!
//! One layout, little-endian, the same in journal records and in hashes of the ledger:
//!
//! ```text
//! u8 layout (1) | u8 body kind | 32-byte FileId | u64 size | u32 block bytes | body
//! body 0, inline:   u16 length | bytes
//! body 1, entries:  u8 count | count x (32-byte ChunkId | u32 bytes)
//! body 2, tree:     32-byte ChunkId of the root | u8 levels | u32 fan-out
//! ```
//!
//! A manifest is accepted only if it is the one way to write down what it says: decoding and encoding are inverse to
//! each other. What the chunks contain is not known here; that the inline content is the file is.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::hash::{HASH_LEN, sha256};
use crate::id::{ChunkId, FileId};
use crate::keystore::manifest::{Body, Entry, Manifest, Tree};
use crate::layout::{Reader, Truncated};
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNKS_MAX, INLINE_BYTES_MAX, MANIFEST_FANOUT_MAX, MANIFEST_INLINE_ENTRIES_MAX,
    MANIFEST_LEVELS_MAX,
};

/// Version of the layout of a manifest.
pub const MANIFEST_LAYOUT: u8 = 1;

/// Bytes of an entry: a chunk and its length.
pub const ENTRY_BYTES: usize = HASH_LEN + 4;

/// Bytes of the longest manifest.
pub const MANIFEST_BYTES_MAX: usize =
    HEAD_BYTES + max(2 + INLINE_BYTES_MAX as usize, 1 + MANIFEST_INLINE_ENTRIES_MAX as usize * ENTRY_BYTES);

const HEAD_BYTES: usize = 2 + HASH_LEN + 8 + 4;

const KIND_INLINE: u8 = 0;
const KIND_ENTRIES: u8 = 1;
const KIND_TREE: u8 = 2;

const _: () = assert!(INLINE_BYTES_MAX <= u16::MAX as u32);
const _: () = assert!(MANIFEST_INLINE_ENTRIES_MAX <= u8::MAX as u32);

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Why a manifest, or bytes that should be one, are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ManifestError {
    /// The bytes end too early.
    #[error("the manifest is cut short")]
    Truncated,
    /// There are bytes after the manifest.
    #[error("{bytes} bytes follow the manifest")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A layout that this program does not know.
    #[error("the manifest has layout {found}, this program reads layout {MANIFEST_LAYOUT}")]
    Layout {
        /// The layout found.
        found: u8,
    },
    /// A kind of body that this program does not know.
    #[error("the manifest has a body of unknown kind {found}")]
    Kind {
        /// The kind found.
        found: u8,
    },
    /// The block size is 0 for content, not 0 for none, or larger than any chunk.
    #[error("{size} bytes can't be in blocks of {block_bytes} bytes")]
    BlockBytes {
        /// Bytes of the content.
        size: u64,
        /// Bytes of a block.
        block_bytes: u32,
    },
    /// More chunks than a file can have.
    #[error("{size} bytes in blocks of {block_bytes} are more than {CHUNKS_MAX} chunks")]
    TooManyChunks {
        /// Bytes of the content.
        size: u64,
        /// Bytes of a block.
        block_bytes: u32,
    },
    /// The inline content is too long, or not as long as the content.
    #[error("{found} bytes are inline, but the content has {size} (at most {INLINE_BYTES_MAX} can be)")]
    InlineBytes {
        /// Bytes of the content.
        size: u64,
        /// Bytes that are inline.
        found: u64,
    },
    /// The content at hand, inline or in a single chunk, is not the file.
    #[error("the content is not the file that the manifest names")]
    NotTheFile,
    /// A number of entries that does not fit the size, or is more than a manifest holds.
    #[error("{found} entries are listed where {chunks} chunks make the file (at most {MANIFEST_INLINE_ENTRIES_MAX})")]
    EntryCount {
        /// Chunks that the size needs.
        chunks: u64,
        /// Entries found.
        found: u64,
    },
    /// An entry whose length does not follow from size and block size.
    #[error("entry {index} has {found} bytes instead of {expected}")]
    EntryBytes {
        /// Which, from 0.
        index: u32,
        /// The length it must have.
        expected: u32,
        /// The length it has.
        found: u32,
    },
    /// A tree that is too wide or narrow, too high, or not just high enough for its chunks.
    #[error("a tree of {levels} levels of {fanout} entries does not fit {chunks} chunks")]
    TreeShape {
        /// Levels of the tree.
        levels: u8,
        /// Entries of a node.
        fanout: u32,
        /// Chunks that the size needs.
        chunks: u64,
    },
}

impl From<Truncated> for ManifestError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

/// Checks every rule that a manifest can break by itself. Hashes content that is inline.
///
/// # Errors
/// The first rule that is broken.
pub fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    check_shape(manifest)?;
    check_content(manifest)
}

/// Checks that content that is inline is the file.
fn check_content(manifest: &Manifest) -> Result<(), ManifestError> {
    match &manifest.body {
        Body::Inline(bytes) if sha256(bytes) != *manifest.file.as_bytes() => Err(ManifestError::NotTheFile),
        Body::Inline(_) | Body::Entries(_) | Body::Tree(_) => Ok(()),
    }
}

/// Checks every rule but that the content is the file.
fn check_shape(manifest: &Manifest) -> Result<(), ManifestError> {
    let Manifest { size, block_bytes, ref body, .. } = *manifest;
    if (size == 0) != (block_bytes == 0) || block_bytes > CHUNK_BYTES_MAX {
        return Err(ManifestError::BlockBytes { size, block_bytes });
    }
    let chunks = chunk_count(manifest);
    if chunks > u64::from(CHUNKS_MAX) {
        return Err(ManifestError::TooManyChunks { size, block_bytes });
    }
    match body {
        Body::Inline(bytes) => {
            let found = bytes.len() as u64;
            if found != size || size > u64::from(INLINE_BYTES_MAX) {
                return Err(ManifestError::InlineBytes { size, found });
            }
        }
        Body::Entries(entries) => check_entries(manifest, chunks, entries)?,
        Body::Tree(tree) => check_tree(chunks, tree)?,
    }
    Ok(())
}

fn check_entries(manifest: &Manifest, chunks: u64, entries: &[Entry]) -> Result<(), ManifestError> {
    let found = entries.len() as u64;
    if found != chunks || !(1..=u64::from(MANIFEST_INLINE_ENTRIES_MAX)).contains(&chunks) {
        return Err(ManifestError::EntryCount { chunks, found });
    }
    let mut left = manifest.size;
    for (index, entry) in (0..).zip(entries) {
        let expected = u32::try_from(left).unwrap_or(u32::MAX).min(manifest.block_bytes);
        if entry.bytes != expected {
            return Err(ManifestError::EntryBytes { index, expected, found: entry.bytes });
        }
        left -= u64::from(expected);
    }
    assert_eq!(left, 0, "so many blocks are the whole file");
    // Both are the SHA-256 of the same bytes when there is only one chunk.
    if let [only] = entries
        && only.chunk.as_bytes() != manifest.file.as_bytes()
    {
        return Err(ManifestError::NotTheFile);
    }
    Ok(())
}

fn check_tree(chunks: u64, tree: &Tree) -> Result<(), ManifestError> {
    let Tree { root: _, levels, fanout } = *tree;
    let wrong = ManifestError::TreeShape { levels, fanout, chunks };
    if !(2..=MANIFEST_FANOUT_MAX).contains(&fanout) || !(1..=MANIFEST_LEVELS_MAX).contains(&levels) {
        return Err(wrong);
    }
    // At most 2^10 to the fourth: no overflow.
    let holds = u64::from(fanout).pow(u32::from(levels));
    let one_level_less = holds / u64::from(fanout);
    // A single level has no smaller tree below it, but there must be something in it.
    let needed = if levels == 1 { chunks >= 1 } else { chunks > one_level_less };
    if needed && chunks <= holds { Ok(()) } else { Err(wrong) }
}

/// Chunks that the content would be cut into, whether it is or is inline; 0 for the empty file.
pub(crate) const fn chunk_count(manifest: &Manifest) -> u64 {
    if manifest.block_bytes == 0 { 0 } else { manifest.size.div_ceil(manifest.block_bytes as u64) }
}

/// Appends `manifest` to `out`: at most [`MANIFEST_BYTES_MAX`] bytes.
///
/// # Panics
/// If there is more in it than [`check`] allows. No other rule is looked at.
pub fn encode(manifest: &Manifest, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(MANIFEST_LAYOUT);
    out.push(match manifest.body {
        Body::Inline(_) => KIND_INLINE,
        Body::Entries(_) => KIND_ENTRIES,
        Body::Tree(_) => KIND_TREE,
    });
    out.extend_from_slice(manifest.file.as_bytes());
    out.extend_from_slice(&manifest.size.to_le_bytes());
    out.extend_from_slice(&manifest.block_bytes.to_le_bytes());
    match &manifest.body {
        Body::Inline(bytes) => {
            let len = u16::try_from(bytes.len()).expect("inline content is at most 512 bytes");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        Body::Entries(entries) => {
            out.push(u8::try_from(entries.len()).expect("a manifest lists at most 16 entries"));
            for entry in entries {
                out.extend_from_slice(entry.chunk.as_bytes());
                out.extend_from_slice(&entry.bytes.to_le_bytes());
            }
        }
        Body::Tree(tree) => {
            out.extend_from_slice(tree.root.as_bytes());
            out.push(tree.levels);
            out.extend_from_slice(&tree.fanout.to_le_bytes());
        }
    }
    assert!(out.len() - start <= MANIFEST_BYTES_MAX, "a manifest has a bounded length");
}

/// The manifest that `bytes` are, from the first to the last.
///
/// # Errors
/// The first thing that is wrong with them. Whatever they are, no more is allocated than they have bytes.
pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let manifest = decode_proven(bytes)?;
    check_content(&manifest)?;
    Ok(manifest)
}

/// The same for bytes that are proven to be what [`encode`] has made of a manifest that was checked: its content is not
/// hashed again.
pub(crate) fn decode_proven(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let mut reader = Reader::new(bytes);
    let (layout, kind) = (reader.u8()?, reader.u8()?);
    if layout != MANIFEST_LAYOUT {
        return Err(ManifestError::Layout { found: layout });
    }
    let file = FileId::from_bytes(reader.array()?);
    let (size, block_bytes) = (reader.u64()?, reader.u32()?);
    let body = match kind {
        KIND_INLINE => {
            let len = usize::from(reader.u16()?);
            Body::Inline(Bytes::copy_from_slice(reader.bytes(len)?))
        }
        KIND_ENTRIES => {
            let count = usize::from(reader.u8()?);
            let mut entries = Reader::new(reader.bytes(count * ENTRY_BYTES)?);
            let mut list = Vec::with_capacity(count);
            for _ in 0..count {
                list.push(Entry { chunk: ChunkId::from_bytes(entries.array()?), bytes: entries.u32()? });
            }
            Body::Entries(list)
        }
        KIND_TREE => {
            let root = ChunkId::from_bytes(reader.array()?);
            Body::Tree(Tree { root, levels: reader.u8()?, fanout: reader.u32()? })
        }
        found => return Err(ManifestError::Kind { found }),
    };
    if reader.remaining() > 0 {
        return Err(ManifestError::Trailing { bytes: reader.remaining() });
    }
    let manifest = Manifest { file, size, block_bytes, body };
    check_shape(&manifest)?;
    Ok(manifest)
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::string::String;
    use alloc::vec;

    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    /// A manifest of inline content.
    pub(crate) fn inline(content: &[u8]) -> Manifest {
        let size = content.len() as u64;
        let body = Body::Inline(Bytes::copy_from_slice(content));
        Manifest { file: FileId::from_bytes(sha256(content)), size, block_bytes: content.len() as u32, body }
    }

    /// A manifest of `size` bytes in up to 16 chunks whose identifiers are drawn from `salt`.
    pub(crate) fn entries(salt: u8, size: u64, block_bytes: u32) -> Manifest {
        let chunk = |index: u64| ChunkId::of(&[&[salt][..], &index.to_le_bytes()[..]].concat());
        let chunks = size.div_ceil(u64::from(block_bytes));
        let bytes = |index: u64| (size - index * u64::from(block_bytes)).min(u64::from(block_bytes)) as u32;
        let list = (0..chunks).map(|index| Entry { chunk: chunk(index), bytes: bytes(index) }).collect();
        let file = if chunks == 1 { *chunk(0).as_bytes() } else { sha256(&[salt]) };
        Manifest { file: FileId::from_bytes(file), size, block_bytes, body: Body::Entries(list) }
    }

    /// A manifest of `size` bytes whose entries are in a tree, just as high as it must be.
    pub(crate) fn tree(salt: u8, size: u64, block_bytes: u32, fanout: u32) -> Manifest {
        let chunks = size.div_ceil(u64::from(block_bytes));
        let mut levels = 1;
        while u64::from(fanout).pow(u32::from(levels)) < chunks {
            levels += 1;
        }
        let body = Body::Tree(Tree { root: ChunkId::of(&[salt]), levels, fanout });
        Manifest { file: FileId::from_bytes(sha256(&[salt])), size, block_bytes, body }
    }

    /// Any valid manifest.
    pub(crate) fn any_manifest() -> impl Strategy<Value = Manifest> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..=INLINE_BYTES_MAX as usize).prop_map(|content| inline(&content)),
            (any::<u8>(), 1..=CHUNK_BYTES_MAX, 0..u64::from(MANIFEST_INLINE_ENTRIES_MAX), any::<u32>()).prop_map(
                |(salt, block, full, rest)| entries(salt, full * u64::from(block) + 1 + u64::from(rest % block), block)
            ),
            (any::<u8>(), 1..=CHUNK_BYTES_MAX, 2..=MANIFEST_FANOUT_MAX, any::<u32>()).prop_map(
                |(salt, block, fanout, chunks)| {
                    let most = u64::from(fanout).pow(u32::from(MANIFEST_LEVELS_MAX)).min(u64::from(CHUNKS_MAX));
                    let chunks = 1 + u64::from(chunks) % most;
                    tree(salt, chunks * u64::from(block), block, fanout)
                }
            ),
        ]
    }

    fn encoded(manifest: &Manifest) -> Vec<u8> {
        let mut out = Vec::new();
        encode(manifest, &mut out);
        out
    }

    fn hex(manifest: &Manifest) -> String {
        HEXLOWER.encode(&encoded(manifest))
    }

    #[test]
    fn the_layout_never_changes() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let text = |parts: &[&str]| parts.concat();
        assert_eq!(hex(&inline(b"")), text(&["0100", empty, "0000000000000000", "00000000", "0000"]));
        assert_eq!(hex(&inline(b"abc")), text(&["0100", abc, "0300000000000000", "03000000", "0300", "616263"]));

        let (one, two) = ("11".repeat(32), "22".repeat(32));
        let list = vec![
            Entry { chunk: ChunkId::from_bytes([0x11; 32]), bytes: 65_536 },
            Entry { chunk: ChunkId::from_bytes([0x22; 32]), bytes: 1 },
        ];
        let file = FileId::from_bytes([0xab; 32]);
        let entries = Manifest { file, size: 65_537, block_bytes: 65_536, body: Body::Entries(list) };
        let head = text(&["0101", &"ab".repeat(32), "0100010000000000", "00000100", "02"]);
        assert_eq!(hex(&entries), text(&[&head, &one, "00000100", &two, "01000000"]));

        let body = Body::Tree(Tree { root: ChunkId::from_bytes([0x33; 32]), levels: 2, fanout: 1_024 });
        let tree = Manifest { file, size: 1 << 33, block_bytes: 4 << 20, body };
        let head = text(&["0102", &"ab".repeat(32), "0000000002000000", "00004000"]);
        assert_eq!(hex(&tree), text(&[&head, &"33".repeat(32), "02", "00040000"]));

        for manifest in [inline(b""), inline(b"abc"), entries, tree] {
            assert_eq!(decode(&encoded(&manifest)), Ok(manifest));
        }
    }

    #[test]
    fn every_rule_of_manifests_is_told_apart() {
        type Change<'a> = &'a dyn Fn(&mut Manifest);
        let with = |manifest: &Manifest, change: Change<'_>| {
            let mut manifest = manifest.clone();
            change(&mut manifest);
            // Writing does not judge; reading does.
            (check(&manifest), decode(&encoded(&manifest)))
        };
        let (few, many) = (entries(1, 100, 30), tree(2, 1_000, 1, 10));
        let (abc, one) = (inline(b"abc"), entries(3, 30, 30));
        assert_eq!([&few, &many, &abc, &one].map(check), [Ok(()); 4]);
        let block = |size, block_bytes| ManifestError::BlockBytes { size, block_bytes };
        let shape = |levels, fanout| ManifestError::TreeShape { levels, fanout, chunks: 1_000 };
        let reshape = |levels: u8, fanout: u32| {
            move |m: &mut Manifest| m.body = Body::Tree(Tree { root: ChunkId::of(b""), levels, fanout })
        };
        let pop = |m: &mut Manifest| {
            let Body::Entries(list) = &mut m.body else { panic!("entries") };
            list.pop();
        };
        let cases: [(&Manifest, Change<'_>, ManifestError); 18] = [
            (&few, &|m| m.block_bytes = 0, block(100, 0)),
            (&few, &|m| m.block_bytes = CHUNK_BYTES_MAX + 1, block(100, CHUNK_BYTES_MAX + 1)),
            (&inline(b""), &|m| m.block_bytes = 1, block(0, 1)),
            (&few, &|m| m.size = 0, block(0, 30)),
            (&many, &|m| m.size = 1 << 32, ManifestError::TooManyChunks { size: 1 << 32, block_bytes: 1 }),
            (&abc, &|m| m.size = 4, ManifestError::InlineBytes { size: 4, found: 3 }),
            (&inline(&[0; 513]), &|_| {}, ManifestError::InlineBytes { size: 513, found: 513 }),
            (&abc, &|m| m.file = FileId::from_bytes(sha256(b"abd")), ManifestError::NotTheFile),
            (&one, &|m| m.file = FileId::from_bytes(sha256(b"abd")), ManifestError::NotTheFile),
            (&few, &|m| m.size = 121, ManifestError::EntryCount { chunks: 5, found: 4 }),
            (&few, &pop, ManifestError::EntryCount { chunks: 4, found: 3 }),
            (&few, &|m| m.size = 101, ManifestError::EntryBytes { index: 3, expected: 11, found: 10 }),
            (&few, &|m| m.block_bytes = 31, ManifestError::EntryBytes { index: 0, expected: 31, found: 30 }),
            (&many, &reshape(2, 10), shape(2, 10)),
            (&many, &reshape(4, 10), shape(4, 10)),
            (&many, &reshape(0, 10), shape(0, 10)),
            (&many, &reshape(5, 4), shape(5, 4)),
            (&many, &reshape(1, 1_025), shape(1, 1_025)),
        ];
        for (manifest, change, error) in cases {
            assert_eq!(with(manifest, change), (Err(error), Err(error)));
        }
        let none = Manifest { body: Body::Entries(vec![]), ..inline(b"") };
        assert_eq!(check(&none), Err(ManifestError::EntryCount { chunks: 0, found: 0 }));
        // One entry too many is not even written.
        let error = ManifestError::EntryCount { chunks: 17, found: 17 };
        let (mut bytes, entry) = (encoded(&entries(1, 16, 1)), [&[9; HASH_LEN][..], &[1, 0, 0, 0]].concat());
        (bytes[2 + HASH_LEN], bytes[HEAD_BYTES]) = (17, 17);
        bytes.extend_from_slice(&entry);
        assert_eq!((check(&entries(1, 17, 1)), decode(&bytes)), (Err(error), Err(error)));
        let mut bytes = encoded(&abc);
        bytes[0] = 2;
        assert_eq!(decode(&bytes), Err(ManifestError::Layout { found: 2 }));
        bytes[..2].copy_from_slice(&[1, 3]);
        assert_eq!(decode(&bytes), Err(ManifestError::Kind { found: 3 }));
    }

    #[test]
    fn the_largest_manifest_fits_its_bound() {
        let largest = entries(0, 16 * u64::from(CHUNK_BYTES_MAX), CHUNK_BYTES_MAX);
        assert_eq!(encoded(&largest).len(), MANIFEST_BYTES_MAX);
        assert!(encoded(&inline(&[7; INLINE_BYTES_MAX as usize])).len() <= MANIFEST_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn a_manifest_comes_back_from_its_bytes(manifest in any_manifest()) {
            prop_assert_eq!(check(&manifest), Ok(()));
            prop_assert_eq!(decode(&encoded(&manifest)), Ok(manifest));
        }

        #[test]
        fn a_longer_or_shorter_manifest_is_refused(manifest in any_manifest(), cut in any::<prop::sample::Index>()) {
            let mut bytes = encoded(&manifest);
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), Err(ManifestError::Truncated));
            bytes.push(0);
            prop_assert_eq!(decode(&bytes), Err(ManifestError::Trailing { bytes: 1 }));
        }

        #[test]
        fn accepted_bytes_come_back_from_their_manifest(
            manifest in any_manifest(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = encoded(&manifest);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(changed) = decode(&bytes) {
                prop_assert_eq!(encoded(&changed), bytes);
            }
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            if let Ok(manifest) = decode(&bytes) {
                prop_assert_eq!(encoded(&manifest), bytes);
            }
        }
    }
}
