//! The volume being written: its beginning, its syncs, its end.

use alloc::vec::Vec;

use super::{Effect, Read, Store};
use crate::disk::DiskResult;
use crate::disk::record::{FileKind, Head, Stamp};
use crate::disk::writer::{Writer, WriterOp};
use crate::note::Note;

impl Store {
    /// Whether a volume takes records now. Seals one that is full, and opens the next once the old one is sealed.
    pub(super) fn ensure_volume(&mut self, out: &mut Vec<Effect>) -> bool {
        if let Some(writer) = &mut self.writer {
            if writer.is_open() && writer.bytes() < self.volume_bytes {
                return true;
            }
            writer.seal();
            if !writer.is_sealed() {
                return false;
            }
            self.predecessor = writer.as_predecessor();
            self.compaction.sealed(self.predecessor);
            self.checkpoints.want([self.predecessor.number]);
            out.push(Effect::Note(Note::Sealed(writer.file())));
        }
        assert!(self.pending.is_empty(), "a sealed volume has nothing pending");
        let number = self.strays.next(FileKind::Volume, self.predecessor.number);
        let stamp = Stamp::new(&self.boot.key, FileKind::Volume, number);
        let head = Head { predecessor: self.predecessor, store: self.boot.store, boot_random: self.boot.random };
        let writer = Writer::create(stamp, self.boot.boot, &head);
        out.push(Effect::Note(Note::Created(writer.file())));
        self.writer = Some(writer);
        true
    }

    pub(super) fn volume_done(&mut self, op: WriterOp, result: &DiskResult, out: &mut Vec<Effect>) {
        let writer = self.writer.as_mut().expect("a completion belongs to the volume being written");
        writer.done(op, result);
        if let Some(error) = writer.failed() {
            let file = writer.file();
            return self.fail(file, error, out);
        }
        let durable_through = writer.durable_through();
        match op {
            WriterOp::Append { through } => self.release_written(through, out),
            WriterOp::Sync { .. } => out.push(Effect::Note(Note::Synced(writer.file()))),
            WriterOp::Publish { .. } => panic!("a volume is published only by recovery"),
        }
        self.settle(durable_through, out);
    }

    /// Whether files other than volumes are being written.
    const fn is_writing(&self) -> bool {
        self.compaction.is_writing() || self.checkpoints.is_writing()
    }

    pub(super) fn close_when_idle(&mut self, out: &mut Vec<Effect>) {
        if !self.closing || self.closed || !self.queue.is_empty() || self.is_writing() {
            return;
        }
        // A chunk that is found bad is written anew, and its put was taken before the close.
        if self.reads.values().any(|read| matches!(read, Read::Recheck { .. })) {
            return;
        }
        if !self.close_scrub(out) {
            return;
        }
        if let Some(writer) = &mut self.writer {
            writer.seal();
            if self.failed.is_none() && !writer.is_sealed() {
                return;
            }
        }
        self.closed = true;
        out.push(Effect::Closed);
    }
}
