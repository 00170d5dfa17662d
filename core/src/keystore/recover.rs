//! The chunk store as its volumes tell it at a start.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Place;
use super::store::{CHUNK_OFFSET, Found, Store};
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::damage::Damage;
use crate::disk::fresh::Fresh;
use crate::disk::record::{CHUNK_PREFIX_LEN, FileKind, Kind, chunk_id};
use crate::disk::recover::{Ending, Recovery as Files, Step as FileStep};
use crate::disk::scan::Record;
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::note::Note;

/// What recovery wants, or has made.
#[derive(Debug)]
pub enum Step {
    /// Perform this and call [`Recovery::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// The store is ready; see [`Recovery::into_store`].
    Ready,
}

#[derive(Debug)]
enum State {
    /// Reading the volumes.
    Scanning(Box<Files>),
    /// Copying the tail's whole chunks, this one next, into a fresh volume.
    Copying { ending: Ending, at: usize, fresh: Fresh },
    /// Nothing is left to do.
    Ready(Ending, Option<Fresh>),
}

/// Recovery of the volumes. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Recovery {
    boot: BootRecord,
    store: Store,
    state: Option<State>,
    tail: Vec<Found>,
    read_only: Option<DiskError>,
    notes: Vec<Note>,
}

impl Recovery {
    /// Recovery of `volumes` (number and length, ascending). `floors` has the positions that the journal names (rule
    /// J6). With `read_only` nothing is written, and the tail's chunks count where they are.
    #[must_use]
    pub fn new(
        config: &Config,
        boot: BootRecord,
        volumes: Vec<(u64, u64)>,
        floors: BTreeMap<u64, u64>,
        read_only: Option<DiskError>,
    ) -> Self {
        let files = Files::new(boot.key, FileKind::Volume, volumes, floors);
        let store = Store::new(config, boot);
        Self {
            boot,
            store,
            state: Some(State::Scanning(Box::new(files))),
            tail: Vec::new(),
            read_only,
            notes: Vec::new(),
        }
    }

    /// The next step.
    pub fn advance(&mut self) -> Step {
        loop {
            if let Some(note) = self.notes.pop() {
                return Step::Note(note);
            }
            let (state, step) = match self.state.take().expect("there is always a state") {
                State::Scanning(files) => self.scan(files),
                State::Copying { ending, at, fresh } => self.copy(ending, at, fresh),
                State::Ready(ending, fresh) => (State::Ready(ending, fresh), Some(Step::Ready)),
            };
            self.state = Some(state);
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The result of the request that was asked for.
    pub fn done(&mut self, result: DiskResult) {
        match self.state.as_mut().expect("there is always a state") {
            State::Scanning(files) => files.done(&result),
            State::Copying { fresh, .. } if fresh.is_outstanding() => {
                if let Err(error) = fresh.done(&result) {
                    self.give_up(error);
                }
            }
            State::Copying { .. } => self.copied(result),
            State::Ready(..) => panic!("a finished recovery asks for nothing"),
        }
    }

    /// The store, and what was lost.
    ///
    /// # Panics
    /// When [`Step::Ready`] did not come yet.
    #[must_use]
    pub fn into_store(self) -> (Store, Vec<Damage>) {
        let Some(State::Ready(ending, fresh)) = self.state else { panic!("the store is not ready") };
        let mut store = self.store;
        match fresh.and_then(Fresh::into_writer) {
            Some(writer) => store.resume(writer),
            None => store.continue_after(ending.last),
        }
        if let Some(error) = self.read_only {
            let file = ending.refused.map_or(File::Volume(ending.last.number + 1), |(file, _)| file);
            store.stop(file, error);
        }
        let mut lost: Vec<u64> = ending.damages.iter().filter_map(volume_of).collect();
        lost.sort_unstable();
        lost.dedup();
        store.lose(lost);
        (store, ending.damages)
    }

    fn scan(&mut self, mut files: Box<Files>) -> (State, Option<Step>) {
        match files.advance() {
            FileStep::Disk(request) => (State::Scanning(files), Some(Step::Disk(request))),
            FileStep::Note(note) => (State::Scanning(files), Some(Step::Note(note))),
            FileStep::Record { number, record, tail } => {
                if let Some(found) = chunk_record(number, &record) {
                    if tail { self.tail.push(found) } else { self.store.found(found) }
                }
                (State::Scanning(files), None)
            }
            FileStep::End => {
                let ending = files.into_ending();
                if let Some((file, error)) = ending.refused {
                    self.notes.push(Note::WritesStopped { file, error });
                    self.read_only.get_or_insert(error);
                }
                if ending.closed || ending.last.number == 0 {
                    return (State::Ready(ending, None), None);
                }
                if self.read_only.is_some() {
                    self.count_tail_where_it_is();
                    return (State::Ready(ending, None), None);
                }
                let fresh = Fresh::new(&self.boot, FileKind::Volume, ending.last);
                (State::Copying { ending, at: 0, fresh }, None)
            }
        }
    }

    /// Reads the next chunk of the tail, or publishes the fresh volume when all are copied.
    fn copy(&mut self, ending: Ending, at: usize, mut fresh: Fresh) -> (State, Option<Step>) {
        if let Some(request) = fresh.request() {
            return (State::Copying { ending, at, fresh }, Some(Step::Disk(request)));
        }
        if fresh.is_published() {
            if at > 0 {
                let from = File::Volume(ending.last.number);
                self.notes.push(Note::TailCopied { from, to: fresh.file(), records: at as u64 });
            }
            return (State::Ready(ending, Some(fresh)), None);
        }
        if let Some(found) = self.tail.get(at) {
            let request = DiskRequest::Read {
                file: File::Volume(found.place.volume),
                offset: found.place.offset + CHUNK_OFFSET,
                len: found.bytes,
                verify: Verify::Chunk(found.chunk),
            };
            return (State::Copying { ending, at, fresh }, Some(Step::Disk(request)));
        }
        fresh.publish();
        (State::Copying { ending, at, fresh }, None)
    }

    /// A chunk of the tail was read: a whole one is copied, and the first that is not ends the tail.
    fn copied(&mut self, result: DiskResult) {
        let Some(State::Copying { at, fresh, .. }) = &mut self.state else { panic!("only a copy reads chunks") };
        let found = self.tail[*at];
        match result {
            Ok(DiskReply::Verified(chunk)) => {
                let written = fresh.chunk(found.sequence, &chunk);
                fresh.append();
                *at += 1;
                let File::Volume(volume) = fresh.file() else { panic!("chunks are in volumes") };
                let place = Place { volume, offset: written.offset, position: written.position };
                self.store.found(Found { place, ..found });
            }
            Ok(DiskReply::Mismatch) | Err(_) => {
                let Place { volume, offset, .. } = found.place;
                let cut = &self.tail[*at..];
                let bytes =
                    cut.last().map_or(0, |last| last.place.offset + CHUNK_OFFSET + u64::from(last.bytes) - offset);
                self.notes.push(Note::TailCut { file: File::Volume(volume), offset, bytes });
                self.tail.truncate(*at);
            }
            Ok(_) => panic!("a verified read is answered by a chunk or a mismatch"),
        }
    }

    /// The fresh volume can't be made: the store only reads.
    fn give_up(&mut self, error: DiskError) {
        self.read_only = Some(error);
        let Some(State::Copying { ending, fresh, .. }) = self.state.take() else { panic!("only a copy gives up") };
        self.notes.push(Note::WritesStopped { file: fresh.file(), error });
        self.count_tail_where_it_is();
        self.state = Some(State::Ready(ending, None));
    }

    fn count_tail_where_it_is(&mut self) {
        for found in self.tail.drain(..) {
            self.store.found_again(found);
        }
    }
}

fn chunk_record(volume: u64, record: &Record) -> Option<Found> {
    let header = record.header;
    if header.kind != Kind::Chunk {
        return None;
    }
    let place = Place { volume, offset: record.offset, position: header.position };
    let bytes = header.body_len - CHUNK_PREFIX_LEN as u32;
    Some(Found { chunk: chunk_id(&record.covered)?, place, sequence: header.sequence, bytes })
}

const fn volume_of(damage: &Damage) -> Option<u64> {
    match damage.file {
        File::Volume(number) => Some(number),
        File::Journal(_) | File::Slot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => None,
    }
}

#[cfg(test)]
pub(in crate::keystore) mod tests;
