//! Fetching a snapshot from another member: part by part, each judged when it comes, and on disk before it counts.
//!
//! Whoever is asked next may be another member: the content of one snapshot is the same everywhere. A part that is lost
//! is asked for again when Raft offers the snapshot again.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::file::{BadSnapshot, End, Intake};
use super::{Effect, FETCHED_STAGE, Op, Snapshots, failed, unasked};
use crate::disk::{DiskRequest, DiskResult, File};
use crate::id::NodeId;
use crate::ledger::state::State;
use crate::note::Note;
use crate::raft::snapshot::Snapshot;
use crate::replica::event::Piece;

#[derive(Debug)]
enum Phase {
    /// What an earlier fetch left is being removed.
    Clearing,
    /// A part was asked for.
    Asking,
    /// A part is being written.
    Writing,
    /// The end is being written, or all of it published.
    Ending { state: Box<State>, published: bool },
}

/// A snapshot that is being fetched.
#[derive(Debug)]
pub(super) struct Fetching {
    snapshot: Snapshot,
    from: NodeId,
    intake: Intake,
    phase: Phase,
    /// A newer one that is to be fetched instead, once the request that is outstanding has ended.
    next: Option<(NodeId, Snapshot)>,
}

impl Fetching {
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.snapshot.digest == snapshot.digest && self.snapshot.last == snapshot.last
    }
}

impl Snapshots {
    /// Raft needs this snapshot, which `from` has.
    pub(in crate::replica) fn fetch(&mut self, from: NodeId, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let Some(fetching) = &mut self.fetching else { return self.begin_fetch(from, snapshot, out) };
        let asks = matches!(fetching.phase, Phase::Asking);
        if fetching.is_of(&snapshot) {
            fetching.from = from;
            fetching.next = None;
            if asks {
                self.ask(out);
            }
        } else if asks {
            self.begin_fetch(from, snapshot, out);
        } else {
            fetching.next = Some((from, snapshot));
        }
    }

    fn begin_fetch(&mut self, from: NodeId, snapshot: Snapshot, out: &mut Vec<Effect>) {
        let (intake, phase, next) = (Intake::default(), Phase::Clearing, None);
        self.fetching = Some(Fetching { snapshot, from, intake, phase, next });
        out.push(Effect::Disk { op: Op::Fetch, request: DiskRequest::Remove { file: File::Stage(FETCHED_STAGE) } });
    }

    fn ask(&mut self, out: &mut Vec<Effect>) {
        let Some(Fetching { snapshot, from, intake, .. }) = &self.fetching else { return };
        let (index, digest, offset) = (snapshot.last.index, snapshot.digest, intake.bytes());
        out.push(Effect::Ask { to: *from, piece: Piece { index, digest, offset } });
    }

    /// Bytes that came of what is being fetched; `None` if nothing is.
    pub(in crate::replica) fn fetched_bytes(&self) -> Option<u64> {
        self.fetching.as_ref().map(|fetching| fetching.intake.bytes())
    }

    /// A part came. One that was not asked for changes nothing.
    pub(in crate::replica) fn part(&mut self, from: NodeId, piece: Piece, bytes: Bytes, out: &mut Vec<Effect>) {
        let Some(fetching) = &mut self.fetching else { return out.push(unasked(from)) };
        let Fetching { snapshot, intake, phase, .. } = fetching;
        let asked = matches!(phase, Phase::Asking)
            && (piece.index, piece.digest, piece.offset) == (snapshot.last.index, snapshot.digest, intake.bytes());
        let fits = snapshot.bytes.saturating_sub(intake.bytes()) >= bytes.len() as u64;
        if !asked || !fits || bytes.is_empty() {
            return out.push(unasked(from));
        }
        if let Err(bad) = intake.take(&bytes) {
            return self.give_up(bad, out);
        }
        *phase = Phase::Writing;
        let request =
            DiskRequest::Append { file: File::Stage(FETCHED_STAGE), offset: piece.offset, parts: [bytes].into() };
        out.push(Effect::Disk { op: Op::Fetch, request });
    }

    pub(super) fn fetched_more(&mut self, result: &DiskResult, out: &mut Vec<Effect>) {
        let fetching = self.fetching.as_mut().expect("a snapshot is being fetched");
        if let Err(error) = result {
            out.push(failed(fetching.snapshot.last.index, *error));
            return self.end_fetch(out);
        }
        // What is whole is of use even if there is a newer one.
        if !matches!(fetching.phase, Phase::Ending { .. })
            && let Some((from, snapshot)) = fetching.next.take()
        {
            return self.begin_fetch(from, snapshot, out);
        }
        match &mut fetching.phase {
            Phase::Asking => panic!("a fetch that asks waits for no disk"),
            Phase::Writing if fetching.intake.bytes() == fetching.snapshot.bytes => self.end_file(out),
            Phase::Clearing | Phase::Writing => {
                fetching.phase = Phase::Asking;
                self.ask(out);
            }
            Phase::Ending { published, .. } if !*published => {
                *published = true;
                let to = File::Snapshot(fetching.snapshot.last.index);
                out.push(Effect::Disk { op: Op::Fetch, request: DiskRequest::Publish { stage: FETCHED_STAGE, to } });
            }
            Phase::Ending { .. } => self.fetched(out),
        }
    }

    /// All of the content is there: the end follows, if it is what it should be.
    fn end_file(&mut self, out: &mut Vec<Effect>) {
        let fetching = self.fetching.as_mut().expect("a snapshot is being fetched");
        let Snapshot { last, digest, bytes, .. } = fetching.snapshot;
        let end = End { last, bytes, digest };
        match core::mem::take(&mut fetching.intake).finish(&end) {
            Ok((state, found)) if found == fetching.snapshot => {
                fetching.phase = Phase::Ending { state: Box::new(state), published: false };
                let parts = [Bytes::from(end.encode(&self.store))].into();
                let request = DiskRequest::Append { file: File::Stage(FETCHED_STAGE), offset: bytes, parts };
                out.push(Effect::Disk { op: Op::Fetch, request });
            }
            Ok(_) => self.give_up(BadSnapshot::Other, out),
            Err(bad) => self.give_up(bad, out),
        }
    }

    fn fetched(&mut self, out: &mut Vec<Effect>) {
        let fetching = self.fetching.take().expect("a snapshot is being fetched");
        let Fetching { snapshot, phase: Phase::Ending { state, .. }, next, .. } = fetching else {
            panic!("only what is whole is published")
        };
        out.push(Effect::Note(Note::SnapshotFetched { index: snapshot.last.index, bytes: snapshot.bytes }));
        self.keep(&snapshot, out);
        out.push(Effect::Fetched { snapshot, state });
        if let Some((from, snapshot)) = next {
            self.begin_fetch(from, snapshot, out);
        }
    }

    /// What came is not what was asked for. Whoever gave it hears so, and Raft will offer one again.
    fn give_up(&mut self, bad: BadSnapshot, out: &mut Vec<Effect>) {
        let Fetching { snapshot, from, intake, .. } = self.fetching.as_ref().expect("a snapshot is being fetched");
        let index = snapshot.last.index;
        let piece = Piece { index, digest: snapshot.digest, offset: intake.bytes().min(snapshot.bytes) };
        out.push(Effect::Note(Note::SnapshotRejected { index, bad }));
        out.push(Effect::Unfit { to: *from, piece });
        self.end_fetch(out);
    }

    /// Everything up to this index is applied. A snapshot of less is of no use any more: nobody offers it again, so that a
    /// part that was lost would be waited for for ever, and no snapshot would be made meanwhile.
    pub(in crate::replica) fn overtaken(&mut self, index: u64) {
        let of_no_use =
            |fetching: &mut Fetching| matches!(fetching.phase, Phase::Asking) && fetching.snapshot.last.index <= index;
        self.fetching.take_if(of_no_use);
    }

    fn end_fetch(&mut self, out: &mut Vec<Effect>) {
        let fetching = self.fetching.take().expect("a snapshot is being fetched");
        if let Some((from, snapshot)) = fetching.next {
            self.begin_fetch(from, snapshot, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::sync::Arc;
    use alloc::vec;

    use super::*;
    use crate::disk::DiskReply;
    use crate::raft::entry::Position;
    use crate::raft::membership::Membership;

    #[test]
    fn what_is_fetched_goes_once_the_log_has_overtaken_it() {
        let from = NodeId::from_bytes([2; 20]);
        let membership = Arc::new(Membership::new([from]).unwrap());
        let snapshot = Snapshot { last: Position { term: 3, index: 44 }, membership, digest: [7; 32], bytes: 9 };
        let (mut snapshots, mut out) = (Snapshots::new([1; 16], BTreeMap::new(), vec![]), vec![]);
        snapshots.fetch(from, snapshot.clone(), &mut out);
        snapshots.overtaken(44);
        assert!(snapshots.is_busy(), "its left-overs are being removed");
        snapshots.fetched_more(&Ok(DiskReply::Done), &mut out);
        snapshots.overtaken(43);
        assert!(snapshots.is_busy(), "it is still of use");
        snapshots.overtaken(44);
        assert!(!snapshots.is_busy());
        let piece = Piece { index: 44, digest: [7; 32], offset: 0 };
        out.clear();
        snapshots.part(from, piece, Bytes::from_static(b"late part"), &mut out);
        assert!(matches!(out[..], [Effect::Note(_)]), "a part that comes late changes nothing: {out:?}");
        snapshots.fetch(from, snapshot, &mut out);
        assert!(snapshots.is_busy(), "it is fetched anew when it is offered again");
    }
}
