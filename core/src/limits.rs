//! Every bound of the core, by name. What a user may choose is in [`crate::config`]; what may never be exceeded is here.

/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Bytes of one chunk's body.
pub const CHUNK_BYTES_MAX: u32 = 4 << 20;

/// Chunks of one file: its count is a `u32` on disk.
pub const CHUNKS_MAX: u32 = u32::MAX;

/// Content this small is part of the ledger entry and never becomes a chunk.
pub const INLINE_BYTES_MAX: u32 = 512;

/// Manifests with this many entries sit in the ledger entry; longer ones become a tree of chunks.
pub const MANIFEST_INLINE_ENTRIES_MAX: u32 = 16;

/// Entries of one node of a manifest tree.
pub const MANIFEST_FANOUT_MAX: u32 = 1_024;

/// Levels of a manifest tree: 1,024 to the fourth is more than [`CHUNKS_MAX`].
pub const MANIFEST_LEVELS_MAX: u8 = 4;

/// Bytes of a record's body that is not a chunk (ledger entries, file heads).
pub const RECORD_BODY_BYTES_MAX: u32 = 64 << 10;

/// Volumes that one put may name as holding its chunks.
pub const PUT_VOLUMES_MAX: usize = 1_024;

/// Bytes a machine may handle in one step; longer walks are cursors.
pub const STEP_BYTES_MAX: usize = 256 << 10;

/// Items a machine may handle in one step; longer walks are cursors.
pub const STEP_ITEMS_MAX: usize = 1_024;

/// Conversations that a node holds at once. One more is refused with `Busy`.
pub const REQUESTS_MAX: usize = 256;

/// Names in one page of a listing.
pub const LIST_PAGE_MAX: u32 = 1_000;

/// Findings that a client of a verification may have outstanding.
pub const FINDINGS_MAX: u32 = 1_000;

/// Damages that recovery keeps in full; further ones are only counted.
pub const DAMAGES_MAX: usize = 1_000;

/// Commands waiting for the journal.
pub const PROPOSALS_MAX: usize = 4_096;

/// Chunks waiting for a volume.
pub const STORES_MAX: usize = 4_096;

/// Blocks for which a put asks credit ahead of what has left memory.
pub const PUT_BLOCKS_AHEAD: u32 = 4;

/// Chunks of one put on their way to being durable; a put that has so many asks for no further credit.
pub const PUT_STORES_MAX: usize = 64;

/// Chunks that a get has loaded, or is loading, and has not sent yet.
pub const GET_LOADS_MAX: usize = 4;

/// Chunks that a verification has read, or is reading, and has not reported yet.
pub const VERIFY_LOADS_MAX: usize = 8;

/// Contents with several names that a verification remembers to have read; older ones may be read again.
pub const VERIFY_SHARED_MAX: usize = 1_024;

/// Bytes of an [`crate::node::Effect`], so that queues of effects stay small.
pub const EFFECT_SIZE_MAX: usize = 128;

const _: () = assert!(INLINE_BYTES_MAX < CHUNK_BYTES_MAX);
const _: () = assert!(MANIFEST_INLINE_ENTRIES_MAX < MANIFEST_FANOUT_MAX);
const _: () = assert!((MANIFEST_FANOUT_MAX as u64).pow(MANIFEST_LEVELS_MAX as u32) > CHUNKS_MAX as u64);
// The largest ledger entry: a name, sixteen manifest entries of 36 bytes, the volumes of 16 bytes, fixed fields.
const _: () = assert!(
    NAME_BYTES_MAX + 36 * MANIFEST_INLINE_ENTRIES_MAX as usize + 16 * PUT_VOLUMES_MAX + 1_024
        <= RECORD_BODY_BYTES_MAX as usize
);
const _: () = assert!(RECORD_BODY_BYTES_MAX as usize <= STEP_BYTES_MAX);
// A full node of a manifest tree is stored as a chunk: its entries and a header of 16 bytes.
const _: () = assert!(36 * MANIFEST_FANOUT_MAX + 16 <= CHUNK_BYTES_MAX);
