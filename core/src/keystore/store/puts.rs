//! How chunks come in and get their marks: what a put or a touch waits for, and what it is told.

use alloc::vec;
use alloc::vec::Vec;

use super::{Effect, Pending, Read, Recent, Store, Ticket, What};
use crate::disk::record::volume::MarkRecord;
use crate::disk::writer::Written;
use crate::disk::{DiskError, File};
use crate::id::{ChunkId, VerifiedChunk};
use crate::keystore::index::{Located, Trust};
use crate::keystore::{Place, StoreError, StoredChunk};
use crate::limits::{EPOCH_MAX, STORES_MAX};
use crate::note::Note;

/// A put or a touch: a chunk is to be here, durably, with a mark that is at least the lease.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) ticket: Ticket,
    pub(super) lease: u64,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// A put brings the chunk.
    Bytes(VerifiedChunk),
    /// A touch relies on it.
    Named(ChunkId),
}

impl Ask {
    pub(super) const fn chunk(&self) -> ChunkId {
        match &self.body {
            Body::Bytes(chunk) => chunk.id(),
            Body::Named(chunk) => *chunk,
        }
    }

    /// The bytes of a put are not needed any more.
    fn release(&self, out: &mut Vec<Effect>) {
        match self.body {
            Body::Bytes(_) => out.push(Effect::Written { ticket: self.ticket }),
            Body::Named(_) => {}
        }
    }

    fn refuse(&self, error: StoreError, out: &mut Vec<Effect>) {
        out.push(Effect::Stored { ticket: self.ticket, result: Err(error) });
    }
}

impl Store {
    pub(super) fn ask(&mut self, ask: Ask, out: &mut Vec<Effect>) {
        assert!(ask.lease <= EPOCH_MAX, "no epoch is {}", ask.lease);
        if self.closing {
            return ask.refuse(StoreError::Closing, out);
        }
        if self.queue.len() + self.waiting + self.reads.len() >= STORES_MAX {
            return ask.refuse(StoreError::Busy, out);
        }
        self.place(ask, out);
    }

    /// Goes on by what is known of the chunk: it is here, or it must be read first, or written.
    pub(super) fn place(&mut self, ask: Ask, out: &mut Vec<Effect>) {
        let id = ask.chunk();
        if let Some(located) = self.on_its_way(&id) {
            return self.hold(ask, located, out);
        }
        match self.index.get(&id) {
            Some(located) if located.trust == Trust::Proven => self.hold(ask, located, out),
            // Whoever asks relies on the chunk from now on, so its old copy is read first.
            Some(located) if located.trust == Trust::Unchecked => {
                self.read(id, located, Read::Recheck { ask, place: located.place }, out);
            }
            Some(_) | None => match &ask.body {
                Body::Bytes(_) => self.write(ask, out),
                Body::Named(_) => ask.refuse(StoreError::Missing, out),
            },
        }
    }

    /// The copy of a chunk that is appended and not durable.
    pub(super) fn on_its_way(&self, id: &ChunkId) -> Option<Located> {
        let position = self.recent.get(id)?.copy?;
        match &self.pending.get(&position).expect("what is recent is pending").what {
            What::Copy(located) => Some(*located),
            What::Mark { .. } | What::Drop | What::Moved(_) => panic!("a copy is recent as a copy"),
        }
    }

    /// The chunk is here, or on its way: sees to its mark, and answers once all of that is durable.
    fn hold(&mut self, ask: Ask, located: Located, out: &mut Vec<Effect>) {
        if located.mark < ask.lease {
            if let Some(error) = self.store_error() {
                return ask.refuse(error, out);
            }
            if !self.ensure_volume(out) {
                return self.queue.push_back(ask);
            }
            self.raise(ask.chunk(), located, ask.lease);
        }
        ask.release(out);
        match self.recent.get(&ask.chunk()) {
            Some(Recent { last, .. }) => {
                let pending = self.pending.get_mut(last).expect("what is recent is pending");
                pending.waiting.push((ask.ticket, false));
                self.waiting += 1;
            }
            None => {
                let stored = StoredChunk { place: located.place, marked_at: None, fresh: false };
                out.push(Effect::Stored { ticket: ask.ticket, result: Ok(stored) });
            }
        }
    }

    /// Appends a larger mark. It counts for a collect from now on, and for an answer when it is durable.
    fn raise(&mut self, chunk: ChunkId, located: Located, mark: u64) {
        let sequence = self.take_sequence();
        let writer = self.writer.as_mut().expect("a volume is open");
        let Written { position, offset } = writer.mark(sequence, &MarkRecord { chunk, mark });
        let volume = writer.number();
        let recent = self.recent.entry(chunk).or_insert(Recent { copy: None, last: position });
        recent.last = position;
        match recent.copy {
            Some(copy) => {
                let located = Located { mark, raised_in: Some(volume), ..located };
                self.pending.get_mut(&copy).expect("what is recent is pending").what = What::Copy(located);
            }
            None => self.index.set_mark(&chunk, mark, Some(volume)),
        }
        let what = What::Mark { before: located.mark, raised_in: located.raised_in };
        let marked_at = Some(Place { volume, offset, position });
        let pending = Pending { chunk: Some(chunk), place: located.place, marked_at, what, waiting: Vec::new() };
        self.pending.insert(position, pending);
    }

    /// Appends a chunk that is not here, or not as it should be.
    fn write(&mut self, ask: Ask, out: &mut Vec<Effect>) {
        if let Some(error) = self.store_error() {
            return ask.refuse(error, out);
        }
        if !self.ensure_volume(out) {
            return self.queue.push_back(ask);
        }
        let Body::Bytes(chunk) = ask.body else { panic!("only a put has something to write") };
        let known = self.index.get(&chunk.id());
        if known.is_some_and(|known| known.trust == Trust::Bad) {
            out.push(Effect::Note(Note::ChunkHealed(chunk.id())));
        }
        let mark = known.map_or(0, |older| older.mark).max(ask.lease);
        let sequence = self.take_sequence();
        let writer = self.writer.as_mut().expect("a volume is open");
        let Written { position, offset } = writer.chunk(sequence, mark, &chunk);
        let place = Place { volume: writer.number(), offset, position };
        let bytes = u32::try_from(chunk.bytes().len()).expect("chunks have at most 4 MiB");
        let stale = known.is_some_and(|older| older.stale || older.place.volume != place.volume);
        let (marked, raised_in, trust) = (mark > 0, None, Trust::Proven);
        let located = Located { place, sequence, bytes, marked, mark, raised_in, trust, stale };
        let waiting = vec![(ask.ticket, true)];
        let pending = Pending { chunk: Some(chunk.id()), place, marked_at: None, what: What::Copy(located), waiting };
        self.pending.insert(position, pending);
        self.recent.insert(chunk.id(), Recent { copy: Some(position), last: position });
        self.waiting += 1;
        self.unwritten.push_back((position, ask.ticket));
    }

    pub(super) const fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    pub(super) fn release_written(&mut self, through: u64, out: &mut Vec<Effect>) {
        while self.unwritten.front().is_some_and(|(position, _)| *position <= through) {
            let (_, ticket) = self.unwritten.pop_front().expect("just looked at");
            out.push(Effect::Written { ticket });
        }
    }

    /// Everything up to a position is durable: chunks enter the index, and whoever waited is told.
    pub(super) fn settle(&mut self, durable_through: u64, out: &mut Vec<Effect>) {
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= durable_through) {
            let (position, pending) = entry.remove_entry();
            let Pending { chunk, place, marked_at, what, waiting } = pending;
            match (what, chunk) {
                (What::Copy(located), Some(chunk)) => drop(self.index.insert(chunk, located)),
                (What::Copy(_), None) => panic!("a copy is of a chunk"),
                (What::Mark { .. }, _) => {}
                (What::Drop, _) => self.drop_settled(),
                (What::Moved(moved), _) => self.copy_settled(place, moved),
            }
            if let Some(chunk) = chunk {
                self.forget_recent(&chunk, position);
            }
            self.waiting -= waiting.len();
            for (ticket, fresh) in waiting {
                out.push(Effect::Stored { ticket, result: Ok(StoredChunk { place, marked_at, fresh }) });
            }
        }
    }

    fn forget_recent(&mut self, chunk: &ChunkId, position: u64) {
        let Some(recent) = self.recent.get_mut(chunk) else { return };
        recent.copy = recent.copy.filter(|copy| *copy != position);
        if recent.last == position {
            self.recent.remove(chunk);
        }
    }

    /// The volume can't be written: everything that waits fails, and so does everything later that needs to write.
    pub(super) fn fail(&mut self, file: File, error: DiskError, out: &mut Vec<Effect>) {
        if self.failed.is_none() {
            self.failed = Some((file, error));
            out.push(Effect::Note(Note::WritesStopped { file, error }));
        }
        let error = self.store_error().expect("just failed");
        let pending = core::mem::take(&mut self.pending);
        // The last mark goes first, so that what is left is the one before all of them.
        for Pending { chunk, what, .. } in pending.values().rev() {
            if let (What::Mark { before, raised_in }, Some(chunk)) = (what, chunk) {
                self.lower(chunk, *before, *raised_in);
            }
        }
        self.recent.clear();
        self.unwritten.clear();
        self.waiting = 0;
        let waiting = pending.into_values().flat_map(|pending| pending.waiting).map(|(ticket, _)| ticket);
        let queued = core::mem::take(&mut self.queue).into_iter().map(|ask| ask.ticket);
        for ticket in waiting.chain(queued) {
            out.push(Effect::Stored { ticket, result: Err(error) });
        }
        self.end_collect(error, out);
        self.end_compaction(out);
    }

    /// A mark did not become durable, so that nobody may rely on it.
    fn lower(&mut self, chunk: &ChunkId, before: u64, raised_in: Option<u64>) {
        let on_its_way = self.recent.get(chunk).is_some_and(|recent| recent.copy.is_some());
        if !on_its_way && self.index.get(chunk).is_some() {
            self.index.set_mark(chunk, before, raised_in);
        }
    }

    pub(super) const fn store_error(&self) -> Option<StoreError> {
        match self.failed {
            Some((_, DiskError::Full)) => Some(StoreError::Full),
            Some((file, error)) => Some(StoreError::Failed { file, error }),
            None => None,
        }
    }

    /// What waited for the next volume.
    pub(super) fn drain_queue(&mut self, out: &mut Vec<Effect>) {
        while !self.queue.is_empty() && self.ensure_volume(out) {
            let ask = self.queue.pop_front().expect("not empty");
            // Meanwhile the same chunk may have become durable, or have gone.
            self.place(ask, out);
        }
    }
}
