//! A state on its way into a snapshot: its entries as bytes, in the order of their keys.

use alloc::vec::Vec;

use super::State;
use super::session::SessionValue;
use super::value::Value;
use crate::ledger::tree::{Scan, TreeValue};

/// A walk over all entries of one of the trees.
pub(crate) struct ScanAll<'a>(Either<'a>);

enum Either<'a> {
    Ledger(Scan<'a, Value>),
    Sessions(Scan<'a, SessionValue>),
}

/// An entry that was copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanned {
    /// Bytes of its key; those of the value follow.
    pub(crate) key_len: usize,
}

impl ScanAll<'_> {
    /// Appends key and value of the next entry; `None` at the end.
    pub(crate) fn copy_next(&mut self, out: &mut Vec<u8>) -> Option<Scanned> {
        match &mut self.0 {
            Either::Ledger(scan) => copy(scan, out),
            Either::Sessions(scan) => copy(scan, out),
        }
    }
}

fn copy<V: TreeValue>(scan: &mut Scan<'_, V>, out: &mut Vec<u8>) -> Option<Scanned> {
    let value = scan.advance()?;
    let key = scan.key();
    out.extend_from_slice(key);
    value.encode(out);
    Some(Scanned { key_len: key.len() })
}

impl State {
    /// All entries of the ledger, or of the sessions, behind the key `after`.
    pub(crate) fn scan_all(&self, sessions: bool, after: Option<&[u8]>) -> ScanAll<'_> {
        if sessions {
            ScanAll(Either::Sessions(self.sessions.tree.scan(&[], after)))
        } else {
            ScanAll(Either::Ledger(self.tree.scan(&[], after)))
        }
    }

    /// Computes at most `limit` of the hashes that the two roots need; whether both are known then.
    pub(crate) fn fill_hashes(&self, limit: usize) -> bool {
        self.tree.fill_hashes(limit) && self.sessions.tree.fill_hashes(limit)
    }

    /// Appends how many entries there are, and what is counted of them.
    pub(crate) fn encode_counts(&self, out: &mut Vec<u8>) {
        let counts = &self.counts;
        for number in [self.tree.len(), self.sessions.tree.len(), counts.names, counts.contents, counts.tombstones] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&counts.live_bytes.to_le_bytes());
        out.extend_from_slice(&counts.tombstone_bytes.to_le_bytes());
    }
}
