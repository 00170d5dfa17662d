//! Every bound of the core, by name. What a user may choose is in [`crate::config`]; what may never be exceeded is here.

use core::time::Duration;

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

/// The largest position of a record in its file.
pub const POSITION_MAX: u64 = (1 << 36) - 1;

/// Where the last record of a file may start, in bytes.
pub const OFFSET_MAX: u64 = (1 << 42) - 1;

/// The largest sequence of a record of a chunk.
pub const SEQUENCE_MAX: u64 = (1 << 47) - 1;

/// The largest sequence that a file may show: as many are left to count on from there.
pub const SEQUENCE_FOUND_MAX: u64 = SEQUENCE_MAX / 2;

/// The largest epoch, and so the largest lease of a put and mark of a chunk.
pub const EPOCH_MAX: u64 = (1 << 35) - 1;

/// Volumes of one store.
pub const VOLUMES_MAX: usize = 1 << 26;

/// Chunks that one record drops.
pub const DROP_IDS_MAX: usize = 1_024;

/// Chunks that a collect has found and not dropped yet; the walk pauses when there are so many.
pub const COLLECT_CANDIDATES_MAX: usize = 1 << 16;

/// Drop records of a collect that are not durable; it waits for the disk when there are so many.
pub const COLLECT_DROPS_PENDING_MAX: usize = 16;

/// Volumes that one put may name as holding its chunks.
pub const PUT_VOLUMES_MAX: usize = 1_024;

/// Volumes that a catalog names; with more, none is removed any more.
pub const CATALOG_VOLUMES_MAX: usize = 128 << 10;

/// Bytes of one block of a checkpoint.
pub const CHECKPOINT_BLOCK_BYTES_MAX: usize = 96 << 10;

/// Items of one block of a checkpoint.
pub const CHECKPOINT_BLOCK_ITEMS_MAX: usize = STEP_ITEMS_MAX;

/// Chunks that a compaction reads ahead.
pub const COMPACT_LOADS_MAX: usize = 16;

/// Bytes of chunks that a compaction has read and that are not durable in another volume; one more chunk may be read
/// below that.
pub const COMPACT_BYTES_MAX: u64 = 8 << 20;

/// Steps of a compaction in one turn, each of them for one record.
pub const COMPACT_STEPS_MAX: usize = 64;

/// Bytes that a scrub reads in a second, at most: a store that holds more than this can read in its period takes longer.
pub const SCRUB_BYTES_PER_SECOND_MAX: u64 = 16 << 20;

/// Chunks that a scrub reads before it saves how far it is.
pub const SCRUB_UNSAVED_MAX: u64 = 4_096;

/// Bytes a machine may handle in one step; longer walks are cursors.
pub const STEP_BYTES_MAX: usize = 256 << 10;

/// Bytes of records that wait for a sync of their file to end before they are appended.
pub const HELD_BYTES_MAX: u64 = 64 << 10;

/// So many of them don't wait either: a request for each handful costs little.
pub const HELD_RECORDS_MAX: u64 = 8;

/// Items a machine may handle in one step; longer walks are cursors.
pub const STEP_ITEMS_MAX: usize = 1_024;

/// Chunks that a start sorts before it enters them into the index.
pub const HISTORY_BATCH_MAX: usize = 64 << 10;

/// Conversations that a node holds at once. One more is refused with `Busy`.
pub const REQUESTS_MAX: usize = 256;

/// Names in one page of a listing.
pub const LIST_PAGE_MAX: u32 = 1_000;

/// Findings that a client of a verification may have outstanding.
pub const FINDINGS_MAX: u32 = 1_000;

/// Damages that recovery keeps in full; further ones are only counted.
pub const DAMAGES_MAX: usize = 1_000;

/// Strays that a verification names; a start notes all of them.
pub const STRAYS_TOLD_MAX: usize = 1_000;

/// No segment or volume has a larger number, so that there are always more.
pub const FILE_NUMBER_MAX: u64 = u64::MAX / 4;

/// Voters of a group.
pub const VOTERS_MAX: usize = 7;

/// Nodes of a group that get its log without a vote.
pub const LEARNERS_MAX: usize = 16;

/// Bytes of the payload of one entry of Raft's log: what is left of a record's body beside term, index and kind.
pub const ENTRY_PAYLOAD_BYTES_MAX: usize = RECORD_BODY_BYTES_MAX as usize - 17;

/// Volumes whose position a new segment of Raft's journal repeats: those with the largest numbers.
pub const RELIED_VOLUMES_MAX: usize = PUT_VOLUMES_MAX;

/// Nodes that one node of a group has ever heard of.
pub const PEERS_MAX: usize = 1_024;

/// Proposals of one node that are neither committed nor superseded.
pub const TICKETS_MAX: usize = 16 << 10;

/// Reads of one node that are not confirmed.
pub const READS_MAX: usize = 16 << 10;

/// Messages of Raft that wait for a write. One more is lost, as any message may be.
pub const WITHHELD_MAX: usize = 16 << 10;

/// Bytes of one frame's message on a stream between nodes.
pub const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Entries of one message of Raft, which are taken in one step.
pub const APPEND_ENTRIES_MAX: usize = STEP_ITEMS_MAX;

/// Bytes of the entries of one message of Raft, as [`crate::raft::entry::Entry::bytes`] counts them.
pub const APPEND_BYTES_MAX: u64 = STEP_BYTES_MAX as u64;

/// Bytes of a snapshot's content: what one file holds.
pub const SNAPSHOT_BYTES_MAX: u64 = OFFSET_MAX;

/// Nodes whose newest start one member remembers. Those of a group all fit.
pub const WITNESSED_MAX: usize = 64;

/// Requests of clients that wait for the group at one member.
pub const GATEWAY_REQUESTS_MAX: usize = 512;

/// Reads of a snapshot for other members at once. One more is lost, as any message may be.
pub const SNAPSHOT_READS_MAX: usize = 8;

/// Snapshots on disk that a start looks at, the newest first.
pub const SNAPSHOT_FILES_MAX: usize = 64;

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

/// Overwritten versions that are kept of one name. One more and the oldest of them goes early.
pub const OVERWRITTEN_MAX: usize = 8;

/// Tombstones that the ledger keeps. One more and the oldest overwritten version of any name goes early; if there is
/// none, what was deleted first.
pub const TOMBSTONES_MAX: u64 = 1_000_000;

/// Tombstones that one reap removes.
pub const REAP_SLICE_MAX: u32 = 256;

/// Names that one command takes away because they have expired.
pub const EXPIRE_SLICE_MAX: u32 = 256;

/// The largest step of ledger time that is no reason to doubt it, where the rule is on; and how long it then has to go on
/// by such steps before it is believed.
pub const CLOCK_STEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of one piece of a snapshot.
pub const SNAPSHOT_PIECE_BYTES_MAX: usize = STEP_BYTES_MAX;

/// Bytes that say in a snapshot who takes part in the group.
pub const SNAPSHOT_MEMBERSHIP_BYTES_MAX: usize = 64 << 10;

/// Sessions that the ledger keeps. One more and the one goes that was not used for longest.
pub const SESSIONS_MAX: u64 = 1_024;

/// Serials of one session whose outcomes are kept: the highest that was recorded, and those right below it.
pub const SESSION_SERIALS_MAX: u64 = 1_024;

/// A session that is not used for so long, in ledger time, is over.
pub const SESSION_IDLE: Duration = Duration::from_secs(60 * 60);

/// Bytes of one part of a sweep's filter, with its header.
pub const FILTER_PART_BYTES_MAX: u32 = 256 << 10;

/// Parts of a sweep's filter: 1 GiB, for about 500 million chunks.
pub const FILTER_PARTS_MAX: u32 = 4_096;

/// Manifest chunks that a sweep has asked for at once, each of another file.
pub const SWEEP_LOADS_MAX: usize = 8;

/// Manifests that a sweep takes beside the ledger: each conversation reads one file at a time.
pub const SWEEP_EXTRAS_MAX: usize = REQUESTS_MAX;

/// Blocks of puts, and requests, that wait for an answer about space.
pub const SPACE_WAITING_MAX: usize = REQUESTS_MAX * PUT_BLOCKS_AHEAD as usize;

/// Bytes of the reserve for whatever is small: entries of the journal, heads and footers, boot records, and the blocks that
/// a file system rounds small files up to. A thousand purges of the longest names fit.
pub const RESERVE_ALLOWANCE_BYTES: u64 = 1 << 20;

/// Bytes that are appended before the space is asked for again, at most.
pub const SPACE_ASK_BYTES_MAX: u64 = 32 << 20;

/// Bytes of an [`crate::node::Effect`], so that queues of effects stay small.
pub const EFFECT_SIZE_MAX: usize = 128;

const _: () = assert!(2 * VOTERS_MAX + LEARNERS_MAX < WITNESSED_MAX);
const _: () = assert!(EXPIRE_SLICE_MAX as usize <= STEP_ITEMS_MAX);
const _: () = assert!(REAP_SLICE_MAX as usize <= STEP_ITEMS_MAX && OVERWRITTEN_MAX < STEP_ITEMS_MAX);
// A session that goes takes all its outcomes along in one step.
const _: () = assert!(SESSION_SERIALS_MAX <= STEP_ITEMS_MAX as u64);
// One answer about space may let go on all that waits for it.
const _: () = assert!(SPACE_WAITING_MAX <= STEP_ITEMS_MAX);
const _: () = assert!(INLINE_BYTES_MAX < CHUNK_BYTES_MAX);
const _: () = assert!(MANIFEST_INLINE_ENTRIES_MAX < MANIFEST_FANOUT_MAX);
const _: () = assert!((MANIFEST_FANOUT_MAX as u64).pow(MANIFEST_LEVELS_MAX as u32) > CHUNKS_MAX as u64);
// The largest ledger entry: a name, sixteen manifest entries of 36 bytes, the volumes of 16 bytes, fixed fields.
const _: () = assert!(
    NAME_BYTES_MAX + 36 * MANIFEST_INLINE_ENTRIES_MAX as usize + 16 * PUT_VOLUMES_MAX + 1_024
        <= RECORD_BODY_BYTES_MAX as usize
);
const _: () = assert!(RECORD_BODY_BYTES_MAX as usize <= STEP_BYTES_MAX);
// One entry always fits a message of Raft, and such a message always fits a frame: protobuf has less than twice the
// bytes that are counted of its entries, and the rest of it is small.
const _: () = assert!(ENTRY_PAYLOAD_BYTES_MAX as u64 + 1_024 <= APPEND_BYTES_MAX);
const _: () = assert!(2 * APPEND_BYTES_MAX + 1_024 <= FRAME_BYTES_MAX as u64);
// Some records of Raft's journal are encoded in one step, or one of any size; and a membership is a payload.
const _: () = assert!(8 + 20 * (2 * VOTERS_MAX + LEARNERS_MAX) <= ENTRY_PAYLOAD_BYTES_MAX);
// A sweep hashes one part of its filter a step.
const _: () = assert!(FILTER_PART_BYTES_MAX as usize <= STEP_BYTES_MAX);
// One record has what one step drops: identifiers of 32 bytes after 32 others.
const _: () = assert!(32 + 32 * DROP_IDS_MAX <= RECORD_BODY_BYTES_MAX as usize && DROP_IDS_MAX <= STEP_ITEMS_MAX);
// A full node of a manifest tree is stored as a chunk: its entries and a header of 16 bytes.
const _: () = assert!(36 * MANIFEST_FANOUT_MAX + 16 <= CHUNK_BYTES_MAX);
