//! What a member remembers of the others, on disk (format version 1).
//!
//! Two slots take turns, even numbers in one, odd numbers in the other, and before anybody is told that a start of it is
//! known, both say so: rot of either forgets nobody. Layout, little-endian: magic `dpsW` (4), version (1), zero (3), length
//! of the body (4), body, CRC-32 of all before it (4). The body: store (16), number (8), count (4), verdict (1: none, or
//! an earlier start, a shorter log, an earlier term), zero (3), and for each node, ascending: identifier (20), boot counter
//! (8), random bytes of that boot (16), accepted term and index up to which it has acknowledged the log (8 each), the largest
//! term that it has spoken of (8). If there is a verdict, then whose it is (20), and what was known (8, and 8): the number of a
//! start and zero, term and index, or a term and zero.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::words::{Because, Drawn, Verdict};
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use crate::id::{KEY_LEN, NodeId};
use crate::limits::WITNESSED_MAX;
use crate::raft::entry::Position;

const MAGIC: [u8; 4] = *b"dpsW";
const VERSION: u8 = 1;
const FRAME_LEN: usize = 12;
const BODY_LEN_MIN: usize = 32;
const NODE_LEN: usize = KEY_LEN + 8 + 16 + 3 * 8;
const VERDICT_LEN: usize = KEY_LEN + 2 * 8;
const CRC_LEN: usize = 4;
const BYTES_MAX: usize = FRAME_LEN + BODY_LEN_MIN + NODE_LEN * WITNESSED_MAX + VERDICT_LEN + CRC_LEN;

/// No memory was written more often, so that counting on never overflows.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The staged file in which it is made. No other staged file of a member has this number.
pub(super) const STAGE: u64 = 4;

/// What is remembered of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The newest start that is known.
    pub boot: u64,
    /// Its random bytes.
    pub random: Drawn,
    /// Up to where it has acknowledged the log to this member, by accepted term and index.
    pub end: Position,
    /// The largest term that it has spoken of.
    pub term: u64,
}

/// What is remembered of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Counts how often it was written.
    pub number: u64,
    /// By node.
    pub nodes: BTreeMap<NodeId, Record>,
    /// What another member has found of this disk. It goes where the numbers of starts go, so that however often a disk that
    /// was refused is started, it does not count itself past what the others know.
    pub verdict: Option<Verdict>,
}

impl Memory {
    /// The bytes of its slot.
    ///
    /// # Panics
    /// When there are more than [`WITNESSED_MAX`] nodes.
    #[must_use]
    pub fn encode(&self, store: &[u8; 16]) -> Vec<u8> {
        assert!(self.nodes.len() <= WITNESSED_MAX, "what is remembered is bounded");
        let verdict = self.verdict.as_ref().map(encode_verdict);
        let body_len = BODY_LEN_MIN + NODE_LEN * self.nodes.len() + verdict.map_or(0, |_| VERDICT_LEN);
        let mut bytes = Vec::with_capacity(FRAME_LEN + body_len + CRC_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        bytes.extend_from_slice(&u32::try_from(body_len).expect("it is bounded").to_le_bytes());
        bytes.extend_from_slice(store);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.nodes.len()).expect("it is bounded").to_le_bytes());
        bytes.extend_from_slice(&[verdict.map_or(0, |(kind, _)| kind), 0, 0, 0]);
        for (node, record) in &self.nodes {
            bytes.extend_from_slice(node.as_bytes());
            bytes.extend_from_slice(&record.boot.to_le_bytes());
            bytes.extend_from_slice(&record.random);
            for number in [record.end.term, record.end.index, record.term] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        if let Some((_, verdict)) = verdict {
            bytes.extend_from_slice(&verdict);
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a slot of this store. Total; `None` for whatever is torn, rotten, of another store or of a version
    /// that this program does not know.
    #[must_use]
    pub fn decode(store: &[u8; 16], bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<CRC_LEN>()?;
        let (frame, body) = covered.split_first_chunk::<FRAME_LEN>()?;
        let body_len = u32::from_le_bytes(frame[8..].try_into().expect("four of twelve bytes"));
        let sound = crc32fast::hash(covered) == u32::from_le_bytes(*crc)
            && frame[..8] == [MAGIC, [VERSION, 0, 0, 0]].concat()[..]
            && body.len() == body_len as usize
            && body.get(..16)? == store;
        let (head, listed) = body.split_first_chunk::<BODY_LEN_MIN>()?;
        let (number, count) = (number_at(head, 16), u32::from_le_bytes(head[24..28].try_into().expect("four bytes")));
        let nodes_len = count as usize * NODE_LEN;
        let fits = head[29..] == [0; 3] && count as usize <= WITNESSED_MAX && listed.len() >= nodes_len;
        if !sound || !fits || !(1..=NUMBER_MAX).contains(&number) {
            return None;
        }
        let (listed, verdict) = listed.split_at(nodes_len);
        let verdict = decode_verdict(head[28], verdict)?;
        let mut nodes = BTreeMap::new();
        for node in listed.chunks_exact(NODE_LEN) {
            let (id, rest) = node.split_first_chunk::<KEY_LEN>()?;
            let id = NodeId::from_bytes(*id);
            if nodes.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return None;
            }
            let random = rest[8..24].try_into().expect("sixteen bytes");
            let end = Position { term: number_at(rest, 24), index: number_at(rest, 32) };
            nodes.insert(id, Record { boot: number_at(rest, 0), random, end, term: number_at(rest, 40) });
        }
        Some(Self { number, nodes, verdict })
    }

    /// The requests that make it durable, one after the other.
    pub(super) fn publication(&self, store: &[u8; 16]) -> [DiskRequest; 2] {
        let parts = [Bytes::from(self.encode(store))].into();
        let append = DiskRequest::Append { file: File::Stage(STAGE), offset: 0, parts };
        [append, DiskRequest::Publish { stage: STAGE, to: File::Slot(slot(self.number)) }]
    }
}

/// The kind of a verdict, and its bytes.
fn encode_verdict(verdict: &Verdict) -> (u8, [u8; VERDICT_LEN]) {
    let (kind, first, second) = match verdict.because {
        Because::EarlierStart { known } => (1, known, 0),
        Because::ShorterLog { acknowledged } => (2, acknowledged.term, acknowledged.index),
        Because::EarlierTerm { told } => (3, told, 0),
    };
    let mut bytes = [0; VERDICT_LEN];
    bytes[..KEY_LEN].copy_from_slice(verdict.by.as_bytes());
    bytes[KEY_LEN..KEY_LEN + 8].copy_from_slice(&first.to_le_bytes());
    bytes[KEY_LEN + 8..].copy_from_slice(&second.to_le_bytes());
    (kind, bytes)
}

/// What [`encode_verdict`] made, or nothing for nothing; `None` for anything else.
fn decode_verdict(kind: u8, bytes: &[u8]) -> Option<Option<Verdict>> {
    if kind == 0 {
        return bytes.is_empty().then_some(None);
    }
    let bytes: &[u8; VERDICT_LEN] = bytes.try_into().ok()?;
    let by = NodeId::from_bytes(*bytes.first_chunk()?);
    let (first, second) = (number_at(bytes, KEY_LEN), number_at(bytes, KEY_LEN + 8));
    let because = match (kind, second) {
        (1, 0) => Because::EarlierStart { known: first },
        (2, _) => Because::ShorterLog { acknowledged: Position { term: first, index: second } },
        (3, 0) => Because::EarlierTerm { told: first },
        _ => return None,
    };
    Some(Some(Verdict { by, because }))
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

const fn slot(number: u64) -> Slot {
    if number.is_multiple_of(2) { Slot::WitnessEven } else { Slot::WitnessOdd }
}

/// Reads both slots: the larger number counts. Pulled: ask for requests, feed results.
#[derive(Debug)]
pub struct Reading {
    store: [u8; 16],
    at: u64,
    memory: Memory,
}

impl Reading {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(store: [u8; 16]) -> Self {
        Self { store, at: 0, memory: Memory::default() }
    }

    /// The next request; `None` once both are read.
    #[must_use]
    pub fn advance(&self) -> Option<DiskRequest> {
        let len = u32::try_from(BYTES_MAX).expect("it is bounded");
        let file = File::Slot(slot(self.at));
        (self.at < 2).then_some(DiskRequest::Read { file, offset: 0, len, verify: Verify::None })
    }

    /// The result of the read that was asked for. Returns the slot if it is there and damaged.
    ///
    /// # Panics
    /// When none was.
    pub fn done(&mut self, result: &DiskResult) -> Option<File> {
        assert!(self.at < 2, "both slots are read");
        let file = File::Slot(slot(self.at));
        self.at += 1;
        let found = match result {
            Ok(DiskReply::Read(bytes)) => Memory::decode(&self.store, bytes),
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
            Err(DiskError::NotFound) => return None,
            Err(_) => None,
        };
        match found {
            Some(memory) if memory.number > self.memory.number => self.memory = memory,
            Some(_) => {}
            None => return Some(file),
        }
        None
    }

    /// What another member has found of this disk, of what was read so far.
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        self.memory.verdict
    }

    /// What is remembered.
    #[must_use]
    pub fn into_memory(self) -> Memory {
        self.memory
    }
}

#[cfg(test)]
mod tests;
