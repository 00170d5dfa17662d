//! Recovery of the volumes: records by the rules of [`crate::judge`], the chunks that can be read afterwards, their marks,
//! and the chunks that are gone.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::config::{Config, RawConfig};
use dps_core::disk::damage::Damage;
use dps_core::disk::record::volume::{DropRecord, MarkRecord};
use dps_core::disk::record::{FileKind, Kind, chunk_id};
use dps_core::disk::{DiskError, File};
use dps_core::id::ChunkId;
use dps_core::keystore::ChunkFault;
use dps_core::keystore::recover::{Recovery, Step};
use dps_core::keystore::store::{Effect, Event, Store, Ticket};
use dps_core::machine::Machine as _;
use dps_core::time::Now;

use crate::image::{Image, boot_record};
use crate::input::Input;
use crate::judge::{Floors, Verdict, judge};
use crate::memory::Memory;

/// Writes volumes, harms them, recovers them twice and reads every chunk.
///
/// # Panics
/// When a record is invented, lost without a word or called damaged although it is whole; when a chunk whose records are
/// whole can't be read, comes with other bytes, or can't be read any more after a second recovery; when a chunk that was
/// dropped comes back, or one has a smaller mark than its records say.
pub fn volume(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    let mut image = Image::write(FileKind::Volume, &mut input);
    let floors = floors(&image, &mut input);
    image.harm(&mut input);
    let verdict = judge(&image, &floors);
    let read_only = (mode & 7 == 7).then_some(DiskError::ReadOnly);
    let mut memory = image.memory.clone();
    if mode & 7 == 6 {
        memory.writes_left = Some(u32::from(mode >> 3));
    }
    let (mut store, damages) = recover(&mut memory, image.boot + 1, &floors, read_only);
    assert!(read_only.is_none() || memory.writes == 0, "a store that only reads writes nothing");
    let tales = tales(&image, &verdict);
    let tail_is_whole = tales.values().flat_map(|tale| &tale.copies).all(|copy| copy.durable || copy.whole);
    let mut first = BTreeSet::new();
    for (chunk, tale) in &tales {
        let mark = store.index().get(chunk).map_or(0, |located| located.mark);
        if load(&mut store, &mut memory, *chunk, &damages) {
            assert!(!tale.is_gone(), "chunk {chunk} was dropped and comes back");
            assert!(mark >= tale.mark(), "chunk {chunk} has mark {mark} of {}", tale.mark());
            first.insert(*chunk);
        } else {
            assert!(!tale.is_owed(tail_is_whole), "chunk {chunk} is whole on disk and can't be read");
        }
    }
    assert!(!load(&mut store, &mut memory, ChunkId::of(b"never stored"), &damages), "nothing comes from nowhere");
    if store.failed().is_some() {
        // A tail that could not be copied was read where it is, also behind a break that will end it.
        return;
    }
    memory.remove_stages();
    let (mut store, damages) = recover(&mut memory, image.boot + 2, &floors, None);
    for chunk in first {
        assert!(load(&mut store, &mut memory, chunk, &damages), "chunk {chunk} was readable at the start before");
    }
}

/// Positions that a journal might name: chunks that were durable, each in the file where it counts.
fn floors(image: &Image, input: &mut Input<'_>) -> Floors {
    let mut floors = Floors::new();
    let numbers: Vec<u64> = image.written.keys().copied().collect();
    for _ in 0..input.below(3) {
        let number = numbers[input.below(numbers.len())];
        let written = &image.written[&number];
        let last = written.end.unwrap_or(written.records.len() as u64);
        let position = input.below(usize::try_from(last).expect("there are few") + 1) as u64;
        if position > 0 {
            floors.insert(number, position);
        }
    }
    if input.rarely(16) {
        floors.insert(100 + u64::from(input.u8()), 1 + u64::from(input.u8()));
    }
    floors
}

/// A start, as far as the volumes go.
fn recover(memory: &mut Memory, boot: u64, floors: &Floors, read_only: Option<DiskError>) -> (Store, Vec<Damage>) {
    let config = Config::new(RawConfig::STANDARD).expect("the standard configuration is valid");
    let volumes = memory.numbered(|file| match file {
        File::Volume(number) => Some(number),
        File::Journal(_) | File::Slot(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => {
            None
        }
    });
    let mut recovery = Recovery::new(&config, boot_record(boot), volumes, floors.clone(), read_only);
    loop {
        match recovery.advance() {
            Step::Disk(request) => recovery.done(memory.perform(request)),
            Step::Note(_) => {}
            Step::Ready => break,
        }
    }
    let (store, damages) = recovery.into_store();
    store.check();
    (store, damages)
}

/// A record of a chunk that was handed out.
struct Copy {
    sequence: u64,
    mark: u64,
    whole: bool,
    durable: bool,
}

/// Everything that was handed out of one chunk, and what was written of it.
#[derive(Default)]
struct Tale {
    copies: Vec<Copy>,
    /// Sequences and marks, of those known durable.
    marks: Vec<(u64, u64)>,
    /// Sequences of drops known durable.
    drops: Vec<u64>,
    /// The largest sequence of a drop that was written at all.
    dropped: u64,
}

impl Tale {
    /// Whether it must be readable: every copy is whole, the newest one is newer than any drop, and one was known durable.
    /// A tail counts where all of it is whole.
    fn is_owed(&self, tail_is_whole: bool) -> bool {
        let newest = self.copies.iter().map(|copy| copy.sequence).max().unwrap_or(0);
        let durable = self.copies.iter().any(|copy| copy.durable);
        newest > self.dropped && self.copies.iter().all(|copy| copy.whole) && (durable || tail_is_whole)
    }

    /// Whether a drop that counts is newer than every copy.
    fn is_gone(&self) -> bool {
        self.drops.iter().any(|drop| self.copies.iter().all(|copy| copy.sequence < *drop))
    }

    /// The mark that it has at least: that of a copy or of a mark after every drop.
    fn mark(&self) -> u64 {
        let copies = self.copies.iter().filter(|copy| copy.durable).map(|copy| (copy.sequence, copy.mark));
        let after = copies.chain(self.marks.iter().copied()).filter(|(sequence, _)| *sequence > self.dropped);
        after.map(|(_, mark)| mark).max().unwrap_or(0)
    }
}

fn tale_of(tales: &mut BTreeMap<ChunkId, Tale>, chunk: ChunkId) -> &mut Tale {
    tales.get_mut(&chunk).expect("only chunks that were written are spoken of")
}

fn tales(image: &Image, verdict: &Verdict) -> BTreeMap<ChunkId, Tale> {
    let mut tales: BTreeMap<ChunkId, Tale> = image.chunks.keys().map(|chunk| (*chunk, Tale::default())).collect();
    let written = image.written.values().flat_map(|written| &written.records);
    for record in written.filter(|record| record.header.kind == Kind::Drop) {
        let dropped = DropRecord::decode(&record.covered).expect("a drop that was written");
        for chunk in dropped.chunks {
            let tale = tale_of(&mut tales, chunk);
            tale.dropped = tale.dropped.max(record.header.sequence);
        }
    }
    for (number, position) in &verdict.found {
        let index = usize::try_from(*position).expect("positions are small") - 1;
        let record = &image.written[number].records[index];
        let sequence = record.header.sequence;
        let durable = !verdict.tail.contains(&(*number, *position));
        match record.header.kind {
            Kind::Chunk | Kind::MarkedChunk => {
                let chunk = chunk_id(&record.covered).expect("a chunk's record names it");
                let mark = MarkRecord::decode(&record.covered).map_or(0, |marked| marked.mark);
                let whole = image.is_intact(*number, record);
                tale_of(&mut tales, chunk).copies.push(Copy { sequence, mark, whole, durable });
            }
            Kind::Mark => {
                let MarkRecord { chunk, mark } = MarkRecord::decode(&record.covered).expect("a mark that was written");
                tale_of(&mut tales, chunk).marks.extend(durable.then_some((sequence, mark)));
            }
            Kind::Drop => {
                let dropped = DropRecord::decode(&record.covered).expect("a drop that was written");
                for chunk in dropped.chunks {
                    tale_of(&mut tales, chunk).drops.extend(durable.then_some(sequence));
                }
            }
            Kind::Head | Kind::Footer | Kind::Empty | Kind::Entry => panic!("volumes hand out what is said of chunks"),
            Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => {
                panic!("volumes have no records of journals")
            }
        }
    }
    tales
}

/// Reads a chunk; returns whether it came. What comes is what was asked for, and a miss names the volumes that may have
/// held it.
fn load(store: &mut Store, memory: &mut Memory, chunk: ChunkId, damages: &[Damage]) -> bool {
    let ticket = Ticket { owner: 1, number: 1 };
    let mut effects = Vec::new();
    store.step(Now::default(), Event::Get { ticket, chunk }, &mut effects);
    let mut result = None;
    while let Some(effect) = effects.pop() {
        match effect {
            Effect::Disk { token, request } => {
                let result = memory.perform(request);
                store.step(Now::default(), Event::DiskDone { token, result }, &mut effects);
            }
            Effect::Loaded { ticket: answered, result: loaded } => {
                assert_eq!(answered, ticket, "an answer to what was asked");
                assert!(result.replace(loaded).is_none(), "one answer");
            }
            Effect::Note(_) => {}
            Effect::Written { .. }
            | Effect::Stored { .. }
            | Effect::Collected { .. }
            | Effect::Compacted(_)
            | Effect::Closed => {
                panic!("nothing else was asked for")
            }
        }
    }
    store.check();
    match result.expect("a get is answered") {
        Ok(loaded) => {
            assert_eq!(ChunkId::of(loaded.bytes()), chunk, "other bytes");
            true
        }
        Err(ChunkFault::Missing { lost_volumes }) => {
            let lost: BTreeSet<File> = damages.iter().map(|damage| damage.file).collect();
            let named: BTreeSet<File> = lost_volumes.into_iter().map(File::Volume).collect();
            assert_eq!(named, lost, "a miss names the volumes that lost records");
            false
        }
        Err(ChunkFault::Mismatch(_) | ChunkFault::Unreadable(..)) => false,
        Err(ChunkFault::Malformed) => panic!("the store knows no manifests"),
    }
}
