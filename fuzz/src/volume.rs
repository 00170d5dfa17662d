//! Recovery of the volumes: records by the rules of [`crate::judge`], and the chunks that can be read afterwards.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::config::{Config, RawConfig};
use dps_core::disk::damage::Damage;
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
/// whole can't be read, comes with other bytes, or can't be read any more after a second recovery.
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
    let owed = owed(&image, &verdict);
    let mut first = BTreeSet::new();
    for chunk in image.chunks.keys() {
        if load(&mut store, &mut memory, *chunk, &damages) {
            first.insert(*chunk);
        } else {
            assert!(!owed.contains(chunk), "chunk {chunk} is whole on disk and can't be read");
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
        File::Journal(_) | File::Slot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => None,
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

/// Chunks that must be readable: every record of them that was handed out is whole, and at least one was known durable.
/// A tail counts where all of it is whole.
fn owed(image: &Image, verdict: &Verdict) -> BTreeSet<ChunkId> {
    let mut by_chunk: BTreeMap<ChunkId, Vec<(u64, u64, bool)>> = BTreeMap::new();
    for (number, position) in &verdict.found {
        let index = usize::try_from(*position).expect("positions are small") - 1;
        let record = &image.written[number].records[index];
        assert_eq!(record.header.kind, Kind::Chunk, "volumes hand out chunks");
        let chunk = chunk_id(&record.covered).expect("a chunk's record names it");
        let whole = image.is_intact(*number, record);
        by_chunk.entry(chunk).or_default().push((*number, *position, whole));
    }
    let places = by_chunk.values().flatten();
    let tail_is_whole = places.filter(|place| verdict.tail.contains(&(place.0, place.1))).all(|(_, _, whole)| *whole);
    let owed = |places: &Vec<(u64, u64, bool)>| {
        let durable = places.iter().any(|place| !verdict.tail.contains(&(place.0, place.1)));
        places.iter().all(|(_, _, whole)| *whole) && (durable || tail_is_whole)
    };
    by_chunk.iter().filter(|(_, places)| owed(places)).map(|(chunk, _)| *chunk).collect()
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
            Effect::Written { .. } | Effect::Stored { .. } | Effect::Closed => panic!("nothing else was asked for"),
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
