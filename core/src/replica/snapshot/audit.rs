//! Reading a snapshot of this member's own again, since another one has found it damaged: whoever has fetched parts from
//! several members can't tell whose are. One that is damaged is offered no more, and another one is made.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::file::{BadSnapshot, End, Intake};
use super::{Effect, Op, Snapshots};
use crate::crypto::hash::HASH_LEN;
use crate::disk::{DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::limits::STEP_BYTES_MAX;
use crate::note::Note;
use crate::replica::event::Piece;
use crate::replica::note::Note as MemberNote;

/// One that is being read.
#[derive(Debug)]
pub(super) struct Audit {
    end: End,
    intake: Box<Intake>,
}

impl Snapshots {
    /// Another member says that this snapshot is damaged.
    pub(in crate::replica) fn doubted(&mut self, piece: Piece, out: &mut Vec<Effect>) {
        let held = self.held.get(&piece.index).filter(|end| end.digest == piece.digest);
        let Some(&end) = held.filter(|_| self.audit.is_none()) else { return };
        self.audit = Some(Audit { end, intake: Box::default() });
        self.audit_more(out);
    }

    fn audit_more(&self, out: &mut Vec<Effect>) {
        let Some(Audit { end, intake }) = &self.audit else { return };
        let left = end.bytes - intake.bytes();
        let len = u32::try_from(left.min(STEP_BYTES_MAX as u64)).expect("a step is small");
        let (file, offset, verify) = (File::Snapshot(end.last.index), intake.bytes(), Verify::None);
        out.push(Effect::Disk { op: Op::Audit, request: DiskRequest::Read { file, offset, len, verify } });
    }

    pub(super) fn audited(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        let audit = self.audit.as_mut().expect("a snapshot is being read");
        let taken = match result {
            Ok(DiskReply::Read(bytes)) if !bytes.is_empty() => audit.intake.take(bytes),
            _ => Err(BadSnapshot::Block { offset: audit.intake.bytes() }),
        };
        if taken.is_ok() && audit.intake.bytes() < audit.end.bytes {
            return self.audit_more(out);
        }
        let Audit { end, intake } = self.audit.take().expect("a snapshot is being read");
        if taken.and_then(|()| intake.finish(&end)).is_err() {
            self.lose(end.last.index, &end.digest, out);
        }
    }

    /// This one is damaged, unless it has gone meanwhile anyway.
    pub(super) fn lose(&mut self, index: u64, digest: &[u8; HASH_LEN], out: &mut Vec<Effect>) {
        if self.held.get(&index).is_none_or(|end| end.digest != *digest) {
            return;
        }
        self.held.remove(&index);
        self.useless.push(index);
        out.push(Effect::Note(Note::Member(MemberNote::SnapshotLost { index })));
        out.push(Effect::Lost);
    }
}
