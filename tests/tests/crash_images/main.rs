//! Crash images: what the real disk could hold after a crash at any moment of a busy run, opened again.
//!
//! The run's log of writes, syncs, renames and removals is followed to a place; from there an image is drawn, a data
//! directory is made of it and opened. Everything acknowledged before that place must be there. How the run goes depends
//! on the machine; the images are the same for the same log.

mod busy_run;
mod check;
mod content;
mod history;
mod medium;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use dps::disk::recorder::Entry;
use dps_core::crypto::hash::{HASH_LEN, Sha256};
use dps_core::disk::{DiskRequest, File, Slot};
use dps_core::rng::Seed;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use busy_run::BusyRun;
use check::{check, materialise};
use history::Expectation;
use medium::{Image, Medium, Stripped};

const SEED: Seed = Seed::new(*b"crash images: any subset of them");

/// Images at moments spread over the whole run.
const IMAGES_ANYWHERE: usize = 300;

/// Images at moments when two files at least have unsynced writes, spread over all such moments.
const IMAGES_OF_TWO_FILES: usize = 220;

/// Images at moments of a start, which has writes and renames of its own.
const IMAGES_OF_STARTS: usize = 80;

/// Images at moments when a volume is being removed: from the first write of the catalog without it.
const IMAGES_OF_REMOVALS: usize = 120;

/// Images for each way of stripping the log.
const IMAGES_STRIPPED: usize = 24;

/// Draws of an image that was seen before are repeated so often.
const DRAWS_MAX: u64 = 16;

/// Every so many images the store goes on and is opened once more.
const GO_ON_EVERY: usize = 8;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread().worker_threads(2).enable_time().build();
        built.expect("a runtime can be made")
    })
}

/// One run serves all tests.
fn run() -> &'static BusyRun {
    static RUN: OnceLock<BusyRun> = OnceLock::new();
    RUN.get_or_init(|| runtime().block_on(BusyRun::record(&SEED.split("run", 0))))
}

/// What was exercised.
#[derive(Debug, Default)]
struct Tally {
    images: usize,
    with_two_files: usize,
    with_names: usize,
    with_operations: usize,
    losses: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, with_two_files, with_names, with_operations, losses } = self;
        write!(
            f,
            "{images} images, {with_two_files} of them with unsynced writes in two files, {with_names} with unsynced \
             names, {with_operations} with operations on their way: {losses} with a loss"
        )
    }
}

/// A walk over the log that stops at some places and draws an image at each.
struct Walk {
    medium: Medium,
    expectation: Expectation,
    seen: BTreeSet<[u8; HASH_LEN]>,
    tally: Tally,
    losses: Vec<String>,
}

impl Walk {
    /// Draws an image at each of `places`, which are in ascending order, and checks it.
    fn over(run: &BusyRun, stripped: Stripped, places: &[usize]) -> Self {
        let mut walk = Self {
            medium: Medium::new(stripped),
            expectation: Expectation::default(),
            seen: BTreeSet::new(),
            tally: Tally::default(),
            losses: Vec::new(),
        };
        let mut followed = 0;
        for (number, place) in places.iter().enumerate() {
            for entry in &run.log[followed..*place] {
                walk.follow(run, entry);
            }
            followed = *place;
            walk.draw(run, number, *place);
        }
        walk.tally.losses = walk.losses.len();
        walk
    }

    fn follow(&mut self, run: &BusyRun, entry: &Entry) {
        self.medium.follow(entry);
        if let Entry::Mark(line) = entry {
            let line = usize::try_from(*line).expect("a line of the journal");
            self.expectation.learn(&run.happenings[line]);
        }
    }

    fn draw(&mut self, run: &BusyRun, number: usize, place: usize) {
        let seed = SEED.split("image", number as u64);
        let images = (0..DRAWS_MAX).map(|attempt| self.medium.image(&mut seed.split("attempt", attempt).rng()));
        let Some(image) = images.into_iter().find(|image| !self.seen.contains(&digest(image))) else { return };
        self.seen.insert(digest(&image));
        self.tally.images += 1;
        self.tally.with_two_files += usize::from(self.medium.unsynced_files() >= 2);
        self.tally.with_names += usize::from(self.medium.unsynced_names() > 0);
        self.tally.with_operations += usize::from(self.expectation.on_their_way() > 0);
        let directory = directory_of_an_image();
        materialise(&image, directory.path());
        let go_on = number.is_multiple_of(GO_ON_EVERY);
        let checked = runtime().block_on(check(directory.path(), &self.expectation, &run.contents, go_on));
        let Err(loss) = checked else { return };
        let mut report = format!("image {number} at line {place} of the log: {loss}\n  {}", image.drawn);
        if self.medium.is_honest() && self.losses.is_empty() {
            // The next run has another log, so this is the only way to look at it.
            let kept = tempfile::tempdir().expect("tests can write temporary files").keep();
            materialise(&image, &kept);
            report += &format!("\n  kept in {}", kept.display());
        }
        self.losses.push(report);
    }
}

/// Where an image becomes a data directory. Only what is read from it matters, so that syncs which take no time will do.
fn directory_of_an_image() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("tests can write temporary files")
}

/// Tells images apart.
fn digest(image: &Image) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    for (file, bytes) in &image.files {
        hash.update(file.to_string().as_bytes());
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finish()
}

/// So many of `places`, evenly spread; each may come more than once.
fn spread(places: &[usize], count: usize) -> impl Iterator<Item = usize> {
    assert!(!places.is_empty(), "there is no such moment in the whole run");
    (0..count).map(move |number| places[number * places.len() / count])
}

/// Places in the log, as lines before them, at which two files at least have unsynced writes.
fn places_of_two_files(run: &BusyRun) -> Vec<usize> {
    let mut medium = Medium::new(Stripped::Nothing);
    let mut places = Vec::new();
    for (line, entry) in (1..).zip(&run.log) {
        medium.follow(entry);
        if medium.unsynced_files() >= 2 {
            places.push(line);
        }
    }
    places
}

/// Places in the log at which the store is being opened: from its first write to its first listing.
fn places_of_starts(run: &BusyRun) -> Vec<usize> {
    let (mut starting, mut places) = (false, Vec::new());
    for (line, entry) in (1..).zip(&run.log) {
        match entry {
            Entry::Issued { request: DiskRequest::Append { file: File::Stage(_), .. }, .. } => starting = true,
            Entry::Mark(_) => starting = false,
            Entry::Issued { .. } | Entry::Done { .. } => {}
        }
        if starting {
            places.push(line);
        }
    }
    places
}

/// Places in the log at which a volume goes: from the first write of the catalog without it to a little after its removal;
/// and how many went.
fn places_of_removals(run: &BusyRun) -> (Vec<usize>, usize) {
    /// Lines after a removal at which a crash may still bring the volume back.
    const LINES_AFTER: usize = 8;
    let (mut until, mut places, mut removed) = (0, Vec::new(), 0);
    for (line, entry) in (1..).zip(&run.log) {
        match entry {
            Entry::Issued {
                request: DiskRequest::Publish { to: File::Slot(Slot::CatalogEven | Slot::CatalogOdd), .. },
                ..
            } => {
                until = line + LINES_AFTER;
            }
            Entry::Issued { request: DiskRequest::Remove { file: File::Volume(_) }, .. } => {
                removed += 1;
                until = line + LINES_AFTER;
            }
            Entry::Issued { .. } | Entry::Done { .. } | Entry::Mark(_) => {}
        }
        if line <= until {
            places.push(line);
        }
    }
    (places, removed)
}

#[test]
fn every_image_of_a_crash_has_all_that_was_acknowledged() {
    let run = run();
    let anywhere: Vec<usize> = (0..=run.log.len()).collect();
    let mut places: Vec<usize> = spread(&anywhere, IMAGES_ANYWHERE).collect();
    places.extend(spread(&places_of_two_files(run), IMAGES_OF_TWO_FILES));
    places.extend(spread(&places_of_starts(run), IMAGES_OF_STARTS));
    let (removals, removed) = places_of_removals(run);
    assert!(removed >= 10, "{removed} volumes were removed while clients worked");
    places.extend(spread(&removals, IMAGES_OF_REMOVALS));
    places.sort_unstable();
    let walk = Walk::over(run, Stripped::Nothing, &places);
    println!("{} lines in the log, {removed} volumes removed; {}", run.log.len(), walk.tally);
    assert!(walk.losses.is_empty(), "{}", walk.losses.join("\n"));
    assert!(walk.tally.images >= 500, "different images");
    assert!(walk.tally.with_two_files >= 200, "of writes to two files at once");
    assert!(walk.tally.with_names >= 20, "of names that were not durable");
    assert!(walk.tally.with_operations >= 200, "of operations on their way");
    assert!(walk.expectation.settled() > 10, "names were there to be lost");
}

/// What makes the other test pass is the syncs: without any one kind of them it fails.
#[test]
fn with_syncs_stripped_from_the_log_something_acknowledged_is_lost() {
    let run = run();
    let anywhere: Vec<usize> = (0..=run.log.len()).collect();
    let places: Vec<usize> = spread(&anywhere, IMAGES_STRIPPED).collect();
    for stripped in [Stripped::Everything, Stripped::Journals, Stripped::Volumes, Stripped::Names] {
        let walk = Walk::over(run, stripped, &places);
        println!("without {stripped:?}: {}", walk.tally);
        assert!(!walk.losses.is_empty(), "without {stripped:?} nothing is missed");
    }
}
