//! Finds out what must stay (protocols C4): walks everything that a frozen ledger refers to into a filter.
//!
//! The filter has every chunk and every manifest chunk of every content that is held, and of the files that are read
//! beside: a get that began before its name went has to come to its end. A manifest that can't be read stops the sweep
//! and is named, since what lies under it is not known; without a filter nothing is dropped.
//!
//! Nobody waits for a sweep, so it goes on a slice at a time: at most [`STEP_ITEMS_MAX`] items or one part of the filter
//! a step, and few manifest chunks asked for at once.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::{ChunkId, FileId, VerifiedChunk};
use crate::keystore::ChunkFault;
use crate::keystore::filter::{Filter, FilterBuilder, FilterSealing, SALT_LEN};
use crate::keystore::manifest::{Body, Manifest};
use crate::keystore::manifest_walk::{ManifestWalk, Step};
use crate::ledger::state::State;
use crate::limits::{STEP_ITEMS_MAX, SWEEP_EXTRAS_MAX, SWEEP_LOADS_MAX};
use crate::machine::Machine;
use crate::time::{Instant, Now};

/// What a sweep hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed, or the sweep is stepped for the first time.
    Wake,
    /// A manifest chunk was read and proven, or could not be. Comes once for each load.
    Loaded {
        /// The load.
        ticket: u64,
        /// The chunk that was asked for.
        result: Result<VerifiedChunk, ChunkFault>,
    },
    /// The filter is of no use any more: a later sweep has begun, or the store is being closed.
    Cancel,
}

/// What a sweep wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read a manifest chunk and hash it.
    Load {
        /// To be echoed; dense from 1.
        ticket: u64,
        /// The chunk.
        chunk: ChunkId,
    },
    /// The sweep is over: its last effect.
    Done(Box<SweepResult>),
}

/// What a sweep comes to.
pub type SweepResult = Result<Filter, SweepError>;

/// Why there is no filter. Nothing may be dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// It can't be told which chunks a file has.
    #[error("the manifest of {file} can't be read: {fault:?}")]
    BadManifest {
        /// The file.
        file: FileId,
        /// The manifest chunk; `None` if the ledger's own part of the manifest contradicts itself.
        chunk: Option<ChunkId>,
        /// What is wrong with it.
        fault: ChunkFault,
    },
    /// It was cancelled.
    #[error("the sweep was cancelled")]
    Cancelled,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepProgress {
    /// Contents that were come to.
    pub contents: u64,
    /// Chunks and manifest chunks that were put into the filter; again for each content that has them.
    pub chunks: u64,
    /// Parts of the filter that were hashed.
    pub parts: u32,
}

#[derive(Debug)]
enum Stage {
    /// Contents are walked.
    Walking(FilterBuilder),
    /// All are in the filter, which is being hashed.
    Sealing(FilterSealing),
    /// Nothing more is done but to tell this; loads are on their way.
    Ending(SweepResult),
    /// The result was given.
    Over,
}

/// Which contents are still to be visited.
#[derive(Debug)]
enum Rest {
    /// Those after this one.
    After(Option<FileId>),
    /// None.
    Nothing,
}

/// A content whose chunks are put into the filter.
#[derive(Debug)]
struct Walking {
    file: FileId,
    walk: ManifestWalk,
    /// The load of the manifest chunk that the walk waits for.
    load: Option<(u64, ChunkId)>,
}

/// One sweep.
#[derive(Debug)]
pub struct Sweep {
    frozen: State,
    stage: Stage,
    /// Manifests beside the ledger that are still to be visited. Invariant: at most [`SWEEP_EXTRAS_MAX`].
    extras: Vec<Manifest>,
    rest: Rest,
    /// Invariant: at most [`SWEEP_LOADS_MAX`]; of a sweep that is ending, only those that wait for a load.
    walks: Vec<Walking>,
    progress: SweepProgress,
    tickets_made: u64,
    /// Set when a step was cut short: it goes on at once.
    resume: Option<Instant>,
}

impl Sweep {
    /// Sweep `epoch` over what `frozen` holds and over `extras`, the manifests of what is read while it begins.
    /// `expected` is about how many chunks there are; `salt` is drawn for this sweep. To be stepped at once with
    /// [`Event::Wake`].
    ///
    /// # Panics
    /// When there are more than [`SWEEP_EXTRAS_MAX`] extras.
    #[must_use]
    pub fn new(epoch: u64, salt: [u8; SALT_LEN], expected: u64, frozen: State, extras: Vec<Manifest>) -> Self {
        assert!(extras.len() <= SWEEP_EXTRAS_MAX, "no more than {SWEEP_EXTRAS_MAX} files are read at once");
        Self {
            frozen,
            stage: Stage::Walking(Filter::builder(epoch, salt, expected)),
            extras,
            rest: Rest::After(None),
            walks: Vec::new(),
            progress: SweepProgress::default(),
            tickets_made: 0,
            resume: Some(Instant::ZERO),
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn progress(&self) -> SweepProgress {
        self.progress
    }

    fn loaded(&mut self, ticket: u64, result: Result<VerifiedChunk, ChunkFault>) {
        let is_it = |walking: &Walking| walking.load.is_some_and(|(load, _)| load == ticket);
        let at = self.walks.iter().position(is_it).expect("only what was asked for is loaded");
        let walking = &mut self.walks[at];
        let (_, chunk) = walking.load.take().expect("it was found by its load");
        if !matches!(self.stage, Stage::Walking(_)) {
            self.walks.swap_remove(at);
            return;
        }
        let fed = result.and_then(|found| {
            assert_eq!(found.id(), chunk, "another chunk was asked for");
            walking.walk.feed(&found).map_err(|_| ChunkFault::Malformed)
        });
        if let Err(fault) = fed {
            let file = walking.file;
            self.end(Err(SweepError::BadManifest { file, chunk: Some(chunk), fault }));
        }
    }

    /// Ends the sweep with `result`, which is told once no load is on its way any more. The first one stays.
    fn end(&mut self, result: SweepResult) {
        match self.stage {
            Stage::Walking(_) | Stage::Sealing(_) => {}
            Stage::Ending(_) | Stage::Over => return,
        }
        self.stage = Stage::Ending(result);
        self.extras.clear();
        self.rest = Rest::Nothing;
        self.walks.retain(|walking| walking.load.is_some());
    }

    /// Goes on as far as it can without a further event, or as far as one step may.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.resume = None;
        match self.stage {
            Stage::Walking(_) => self.walk(now, out),
            Stage::Sealing(_) => self.seal(now),
            Stage::Ending(_) | Stage::Over => {}
        }
        if matches!(self.stage, Stage::Ending(_)) && self.walks.is_empty() {
            let stage = core::mem::replace(&mut self.stage, Stage::Over);
            let Stage::Ending(result) = stage else { unreachable!("just matched") };
            out.push(Effect::Done(Box::new(result)));
        }
    }

    /// A slice of the walk.
    fn walk(&mut self, now: Now, out: &mut Vec<Effect>) {
        for _ in 0..STEP_ITEMS_MAX {
            if self.pass(out) || self.visit() {
                continue;
            }
            if self.walks.is_empty() {
                self.complete(now);
            }
            return;
        }
        if matches!(self.stage, Stage::Walking(_)) {
            self.resume = Some(now.mono);
        }
    }

    /// Everything is in the filter, unless the sweep has ended: what is left is to hash it.
    fn complete(&mut self, now: Now) {
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Walking(filter) => {
                self.stage = Stage::Sealing(filter.seal());
                self.resume = Some(now.mono);
            }
            stage @ (Stage::Sealing(_) | Stage::Ending(_) | Stage::Over) => self.stage = stage,
        }
    }

    /// Puts the next chunk of a content at hand into the filter, or leaves a content behind; returns whether there was
    /// one that does not wait.
    fn pass(&mut self, out: &mut Vec<Effect>) -> bool {
        let Stage::Walking(filter) = &mut self.stage else { return false };
        let Some(at) = self.walks.iter().position(|walking| walking.load.is_none()) else { return false };
        let walking = &mut self.walks[at];
        let chunk = match walking.walk.step() {
            Step::Node(chunk) => {
                self.tickets_made += 1;
                walking.load = Some((self.tickets_made, chunk));
                out.push(Effect::Load { ticket: self.tickets_made, chunk });
                chunk
            }
            Step::Chunk { chunk, .. } => chunk,
            Step::Inline(_) => unreachable!("a content without chunks is not walked"),
            Step::Done => {
                self.walks.swap_remove(at);
                return true;
            }
        };
        filter.insert(&chunk);
        self.progress.chunks += 1;
        true
    }

    /// Comes to the next content, if there is one and room for another load; returns whether there was.
    fn visit(&mut self) -> bool {
        if self.walks.len() == SWEEP_LOADS_MAX || !matches!(self.stage, Stage::Walking(_)) {
            return false;
        }
        if let Some(manifest) = self.extras.pop() {
            self.begin(&manifest);
            return true;
        }
        let Rest::After(after) = &self.rest else { return false };
        // A content that a clean has made missing holds nothing, but is an item of the walk.
        let Some((file, manifest)) = self.frozen.held(after.as_ref()).advance() else {
            self.rest = Rest::Nothing;
            return false;
        };
        let manifest = manifest.cloned();
        self.rest = Rest::After(Some(file));
        if let Some(manifest) = manifest {
            self.begin(&manifest);
        }
        true
    }

    fn begin(&mut self, manifest: &Manifest) {
        self.progress.contents += 1;
        match manifest.body {
            Body::Inline(_) => return,
            Body::Entries(_) | Body::Tree(_) => {}
        }
        let file = manifest.file;
        match ManifestWalk::new(manifest, 0, manifest.size) {
            Ok(walk) => self.walks.push(Walking { file, walk, load: None }),
            Err(_) => self.end(Err(SweepError::BadManifest { file, chunk: None, fault: ChunkFault::Malformed })),
        }
    }

    /// Hashes one part of the filter.
    fn seal(&mut self, now: Now) {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Sealing(mut sealing) = stage else { unreachable!("only a filter that is complete is hashed") };
        let hashed = sealing.advance();
        assert!(hashed, "a filter of which all parts are hashed is given out");
        let (parts, all) = sealing.progress();
        self.progress.parts = parts;
        if parts < all {
            self.stage = Stage::Sealing(sealing);
            self.resume = Some(now.mono);
        } else {
            self.stage = Stage::Ending(Ok(sealing.finish()));
        }
    }
}

impl Machine for Sweep {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Wake => {}
            Event::Loaded { ticket, result } => self.loaded(ticket, result),
            Event::Cancel => self.end(Err(SweepError::Cancelled)),
        }
        self.settle(now, out);
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        self.resume
    }

    fn check(&self) {
        assert!(self.walks.len() <= SWEEP_LOADS_MAX, "few contents are walked at once");
        assert!(self.extras.len() <= SWEEP_EXTRAS_MAX, "few files are read at once");
        let loading = self.walks.iter().any(|walking| walking.load.is_some());
        let nothing_left = self.extras.is_empty() && matches!(self.rest, Rest::Nothing);
        match &self.stage {
            Stage::Walking(_) => assert!(loading || self.resume.is_some(), "something brings it further"),
            Stage::Sealing(_) => {
                assert!(nothing_left && self.walks.is_empty(), "what is hashed is complete");
                assert!(self.resume.is_some(), "it goes on by itself");
            }
            Stage::Ending(result) => {
                assert!(result.is_err(), "a filter is given out at once");
                assert!(self.walks.iter().all(|walking| walking.load.is_some()) && loading, "it waits for loads alone");
            }
            Stage::Over => assert!(self.walks.is_empty() && self.resume.is_none(), "nothing is left behind"),
        }
    }
}

#[cfg(test)]
mod tests;
