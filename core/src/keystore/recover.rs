//! The chunk store as its volumes tell it at a start.

mod history;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use history::{Found, History, What};

use super::Place;
use super::store::Store;
use crate::config::Config;
use crate::disk::boot::BootRecord;
use crate::disk::catalog::{CATALOG_STAGE, Catalog, ReadStep, Reading};
use crate::disk::damage::Damage;
use crate::disk::fresh::Fresh;
use crate::disk::record::FileKind;
use crate::disk::recover::{Ending, Recovery as Files, Standing, Step as FileStep};
use crate::disk::stray::Strays;
use crate::disk::writer::Written;
use crate::disk::{DiskError, DiskReply, DiskRequest, DiskResult, File};
use crate::limits::STEP_ITEMS_MAX;
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
    /// Reading which volumes there should be.
    Cataloging(Reading),
    /// Removing volumes that had been removed before, or nearly, once both slots say so; and checkpoints that are of no
    /// volume.
    Removing { publication: VecDeque<DiskRequest>, left: Vec<File> },
    /// Reading the volumes.
    Scanning(Box<Files>),
    /// Reading the chunks that count where they are although they are not known durable.
    Proving { ending: Ending, left: VecDeque<Found> },
    /// Copying the tail's whole records into a fresh volume; those that are copied have these places there.
    Copying { ending: Ending, copies: Vec<Place>, fresh: Fresh },
    /// Nothing is left to do.
    Ready(Ending, Option<Fresh>),
}

/// Recovery of the volumes. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Recovery {
    config: Config,
    boot: BootRecord,
    /// Number and length of the volumes that are to be read, ascending.
    volumes: Vec<(u64, u64)>,
    /// Number and length of the checkpoints that are there.
    checkpoints: Vec<(u64, u64)>,
    floors: BTreeMap<u64, u64>,
    strays: Strays,
    /// The catalog that counts.
    catalog: Option<Catalog>,
    history: History,
    state: Option<State>,
    /// What is not known durable, and will not be copied.
    doubtful: VecDeque<Found>,
    /// What is not known durable of the last volume.
    tail: Vec<Found>,
    read_only: Option<DiskError>,
    notes: Vec<Note>,
}

impl Recovery {
    /// Recovery of `volumes` (number and length, ascending). `floors` has the positions that the journal names (rule
    /// J6). With `read_only` nothing is written, and the tail's whole chunks count where they are.
    #[must_use]
    pub fn new(
        config: &Config,
        boot: BootRecord,
        volumes: Vec<(u64, u64)>,
        floors: BTreeMap<u64, u64>,
        read_only: Option<DiskError>,
    ) -> Self {
        Self {
            config: *config,
            boot,
            volumes,
            checkpoints: Vec::new(),
            floors,
            strays: Strays::default(),
            catalog: None,
            history: History::new(&[]),
            state: Some(State::Cataloging(Reading::new(FileKind::Volume, boot.store))),
            doubtful: VecDeque::new(),
            tail: Vec::new(),
            read_only,
            notes: Vec::new(),
        }
    }

    /// Reads these checkpoints (number and length) instead of the volumes that they are of, where they are whole and of
    /// the volumes as they are.
    #[must_use]
    pub fn with_checkpoints(self, checkpoints: Vec<(u64, u64)>) -> Self {
        Self { checkpoints, ..self }
    }

    /// No new volume takes the place of one of these strays.
    #[must_use]
    pub fn beside(self, strays: Strays) -> Self {
        Self { strays, ..self }
    }

    /// The next step.
    pub fn advance(&mut self) -> Step {
        loop {
            if let Some(note) = self.notes.pop() {
                return Step::Note(note);
            }
            let (state, step) = match self.state.take().expect("there is always a state") {
                State::Cataloging(reading) => self.read_catalog(reading),
                State::Removing { publication, left } => self.remove_again(publication, left),
                State::Scanning(files) => self.scan(files),
                State::Proving { ending, left } => self.prove(ending, left),
                State::Copying { ending, copies, fresh } => self.copy(ending, copies, fresh),
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
            State::Cataloging(reading) => reading.done(&result),
            State::Removing { publication, left } if publication.is_empty() => {
                // One that can't be removed now is not read either, and is removed at another start.
                let file = left.pop().expect("a removal was asked for");
                if result.is_ok() && matches!(file, File::Volume(_)) {
                    self.notes.push(Note::RemovedAgain(file));
                }
            }
            State::Removing { publication, left } => {
                _ = publication.pop_front();
                let catalog = self.catalog.as_mut().expect("it is published again");
                if let Err(error) = result {
                    let file = File::Slot(catalog.again().slot());
                    self.notes.push(Note::RemovalFailed { file, error });
                    publication.clear();
                    // What was begun would be in the way of the next catalog.
                    *left = [File::Stage(CATALOG_STAGE)].into();
                } else if publication.is_empty() {
                    *catalog = catalog.again();
                }
            }
            State::Scanning(files) => files.done(&result),
            State::Proving { left, .. } => {
                let found = left.pop_front().expect("a chunk was read");
                // One that is torn was nowhere known durable, so it is as if it were not there.
                if matches!(result, Ok(DiskReply::Verified(_))) {
                    self.history.enter(Found { doubtful: true, ..found });
                }
            }
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
        let (index, next_sequence) = self.history.into_index();
        let mut store = Store::new(&self.config, self.boot, index, next_sequence);
        match fresh.and_then(Fresh::into_writer) {
            Some(writer) => store.resume(writer),
            None => store.continue_after(ending.last),
        }
        if let Some(error) = self.read_only {
            let next = File::Volume(self.strays.next(FileKind::Volume, ending.last.number));
            store.stop(ending.refused.map_or(next, |(file, _)| file), error);
        }
        let mut lost: Vec<u64> = ending.damages.iter().filter_map(volume_of).collect();
        lost.sort_unstable();
        lost.dedup();
        store.lose(lost);
        store.beside(self.strays);
        store.take_catalog(self.catalog, ending.ends);
        store.want_checkpoints(ending.whole);
        (store, ending.damages)
    }

    fn read_catalog(&mut self, mut reading: Reading) -> (State, Option<Step>) {
        match reading.advance() {
            ReadStep::Disk(request) => (State::Cataloging(reading), Some(Step::Disk(request))),
            ReadStep::Note(note) => (State::Cataloging(reading), Some(Step::Note(note))),
            ReadStep::Known { catalog, alone } => {
                let is_removed = |volume: u64| catalog.as_ref().is_some_and(|catalog| catalog.is_removed(volume));
                let removed = self.volumes.extract_if(.., |(volume, _)| is_removed(*volume));
                let mut left: Vec<File> = removed.map(|(volume, _)| File::Volume(volume)).collect();
                let volumes = &self.volumes;
                let is_of_none = |number: u64| volumes.binary_search_by_key(&number, |(volume, _)| *volume).is_err();
                let orphans = self.checkpoints.extract_if(.., |(number, _)| is_of_none(*number));
                left.extend(orphans.map(|(number, _)| File::Checkpoint(number)));
                let publication = catalog.iter().filter(|_| alone).flat_map(|known| known.again().publication());
                let publication = publication.collect();
                self.catalog = catalog;
                (State::Removing { publication, left }, None)
            }
        }
    }

    fn remove_again(&mut self, publication: VecDeque<DiskRequest>, left: Vec<File>) -> (State, Option<Step>) {
        if self.read_only.is_none() {
            let remove = |file: &File| DiskRequest::Remove { file: *file };
            let next = publication.front().cloned().or_else(|| left.last().map(remove));
            if let Some(request) = next {
                return (State::Removing { publication, left }, Some(Step::Disk(request)));
            }
        }
        let volumes = core::mem::take(&mut self.volumes);
        self.history = History::new(&volumes);
        let files = Files::new(self.boot.key, FileKind::Volume, volumes, core::mem::take(&mut self.floors));
        let files = self.catalog.iter().cloned().fold(files, Files::with_catalog);
        let files = files.with_checkpoints(self.boot.store, core::mem::take(&mut self.checkpoints));
        (State::Scanning(Box::new(files)), None)
    }

    fn scan(&mut self, mut files: Box<Files>) -> (State, Option<Step>) {
        match files.advance() {
            FileStep::Disk(request) => (State::Scanning(files), Some(Step::Disk(request))),
            FileStep::Note(note) => (State::Scanning(files), Some(Step::Note(note))),
            FileStep::Record { number, record, standing } => {
                match (Found::read(number, &record), standing) {
                    (Some(found), Standing::Durable) => self.history.enter(found),
                    (Some(found), Standing::Doubtful) => self.doubtful.push_back(found),
                    (Some(found), Standing::Tail) => self.tail.push(found),
                    (None, _) => {}
                }
                (State::Scanning(files), None)
            }
            FileStep::End => {
                let ending = files.into_ending();
                if let Some((file, error)) = ending.refused {
                    self.notes.push(Note::WritesStopped { file, error });
                    self.read_only.get_or_insert(error);
                }
                (self.doubt(ending), None)
            }
        }
    }

    /// What counts where it is although it is not known durable: of the tail only if it can't be copied. Whether that is
    /// whole is not known then, so nothing in it makes a chunk go.
    fn doubt(&mut self, ending: Ending) -> State {
        if self.read_only.is_some() {
            let tail = self.tail.drain(..).filter(|found| !matches!(found.what, What::Drop(_)));
            self.doubtful.extend(tail);
        }
        State::Proving { ending, left: core::mem::take(&mut self.doubtful) }
    }

    /// Reads the next doubtful chunk, or goes on to the tail when none is left.
    fn prove(&mut self, ending: Ending, mut left: VecDeque<Found>) -> (State, Option<Step>) {
        if let Some(found) = left.front() {
            if let Some(request) = found.read_request() {
                return (State::Proving { ending, left }, Some(Step::Disk(request)));
            }
            let found = left.pop_front().expect("just looked at");
            self.history.enter(Found { doubtful: true, ..found });
            return (State::Proving { ending, left }, None);
        }
        if ending.closed || ending.last.number == 0 || self.read_only.is_some() {
            return (State::Ready(ending, None), None);
        }
        let fresh = Fresh::new(&self.boot, FileKind::Volume, ending.last, &self.strays);
        (State::Copying { ending, copies: Vec::new(), fresh }, None)
    }

    /// Copies the next record of the tail, or publishes the fresh volume when all are copied.
    fn copy(&mut self, ending: Ending, mut copies: Vec<Place>, mut fresh: Fresh) -> (State, Option<Step>) {
        if let Some(request) = fresh.request() {
            return (State::Copying { ending, copies, fresh }, Some(Step::Disk(request)));
        }
        if fresh.is_published() {
            self.count_copies(&ending, &copies, &fresh);
            return (State::Ready(ending, Some(fresh)), None);
        }
        let Some(found) = self.tail.get(copies.len()) else {
            fresh.publish();
            return (State::Copying { ending, copies, fresh }, None);
        };
        let written = match &found.what {
            What::Chunk { .. } => {
                let request = found.read_request();
                return (State::Copying { ending, copies, fresh }, request.map(Step::Disk));
            }
            What::Mark(mark) => fresh.mark(found.sequence, mark),
            What::Drop(dropped) => fresh.dropped(found.sequence, dropped),
        };
        copies.push(place_in(&fresh, written));
        // Drops are long, and a file of marks is one step after the other.
        if matches!(found.what, What::Drop(_)) || copies.len().is_multiple_of(STEP_ITEMS_MAX) {
            fresh.append();
        }
        (State::Copying { ending, copies, fresh }, None)
    }

    /// A chunk of the tail was read: a whole one is copied, and the first that is not ends the tail.
    fn copied(&mut self, result: DiskResult) {
        let Some(State::Copying { copies, fresh, .. }) = &mut self.state else { panic!("only a copy reads chunks") };
        let found = &self.tail[copies.len()];
        let What::Chunk { mark, .. } = found.what else { panic!("only chunks are read") };
        match result {
            Ok(DiskReply::Verified(chunk)) => {
                let written = fresh.chunk(found.sequence, mark, &chunk);
                copies.push(place_in(fresh, written));
                fresh.append();
            }
            Ok(DiskReply::Mismatch) | Err(_) => {
                let Place { volume, offset, .. } = found.place;
                let end = self.tail.last().map_or(offset, |last| last.place.offset + last.record_len);
                self.notes.push(Note::TailCut { file: File::Volume(volume), offset, bytes: end - offset });
                self.tail.truncate(copies.len());
            }
            Ok(_) => panic!("a verified read is answered by a chunk or a mismatch"),
        }
    }

    /// The fresh volume has its name: what was copied counts there.
    fn count_copies(&mut self, ending: &Ending, copies: &[Place], fresh: &Fresh) {
        assert_eq!(copies.len(), self.tail.len(), "all of the tail is copied");
        if !copies.is_empty() {
            let from = File::Volume(ending.last.number);
            self.notes.push(Note::TailCopied { from, to: fresh.file(), records: copies.len() as u64 });
        }
        for (found, place) in self.tail.drain(..).zip(copies) {
            self.history.enter(Found { place: *place, ..found });
        }
    }

    /// The fresh volume can't be made: the store only reads.
    fn give_up(&mut self, error: DiskError) {
        self.read_only = Some(error);
        let Some(State::Copying { ending, fresh, .. }) = self.state.take() else { panic!("only a copy gives up") };
        self.notes.push(Note::WritesStopped { file: fresh.file(), error });
        self.state = Some(self.doubt(ending));
    }
}

fn place_in(fresh: &Fresh, written: Written) -> Place {
    let File::Volume(volume) = fresh.file() else { panic!("chunks are in volumes") };
    Place { volume, offset: written.offset, position: written.position }
}

const fn volume_of(damage: &Damage) -> Option<u64> {
    match damage.file {
        File::Volume(number) => Some(number),
        File::Journal(_) | File::Slot(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => {
            None
        }
    }
}

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod collect_tests;
#[cfg(test)]
mod removal_tests;
#[cfg(test)]
pub(in crate::keystore) mod tests;
