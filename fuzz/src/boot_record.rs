//! The boot record: its bytes, and the start that decides between two of them.

use dps_core::disk::boot::{BadBootRecord, Boot, BootRecord, BootStep, Booted, FORMAT};
use dps_core::disk::halt::HaltReason;
use dps_core::disk::record::FileKey;
use dps_core::disk::{DiskError, DiskReply, DiskRequest, File, Slot};
use dps_core::rng::Seed;

use crate::input::{Input, noise};
use crate::memory::Memory;

/// Steps of a start besides those that remove what was left in the making.
const STEPS_MAX: usize = 16;

/// Decodes bytes, and starts a store whose slots and files the bytes describe.
///
/// # Panics
/// When bytes are accepted that are not the one way to write a record; when a start does not end, counts backwards,
/// forgets its store, or writes although it halts.
pub fn boot_record(data: &[u8]) {
    if let Ok(record) = BootRecord::decode(data) {
        let now = record.encode();
        let end = now.len() - 4;
        if u32::from(data[4]) == FORMAT {
            assert_eq!(now, data, "there is one way to write a record down");
        } else {
            assert_eq!(&now[5..end], &data[5..end], "an older record says the same in the same way");
        }
    }
    let mut input = Input::new(data);
    let mut memory = Memory::default();
    let mut slots = [None, None];
    for (slot, found) in [Slot::BootEven, Slot::BootOdd].into_iter().zip(&mut slots) {
        if let Some(bytes) = slot_bytes(&mut input) {
            *found = Some(BootRecord::decode(&bytes));
            memory.files.insert(File::Slot(slot), bytes);
        }
    }
    for number in 0..input.below(4) as u64 {
        memory.files.insert(File::Stage(number), Vec::new());
    }
    if input.rarely(3) {
        memory.files.insert(File::Journal(1), noise(1, 10));
    }
    if input.rarely(4) {
        memory.writes_left = Some(u32::from(input.u8() % 8));
    }
    if input.rarely(8) {
        memory.unreadable.entry(File::Slot(Slot::BootEven)).or_default().push(0..1);
        slots[0] = slots[0].map(|_| Err(BadBootRecord::Damaged));
    }
    let before = memory.files.clone();
    match start(&mut memory, 1) {
        Ok(booted) => judge(&slots, &before, &booted, memory),
        Err(reason) => {
            assert_eq!(memory.files, before, "a start that halts has written nothing");
            judge_halt(reason, &slots, &before);
        }
    }
}

type Found = Option<Result<BootRecord, BadBootRecord>>;

/// What is in a slot: nothing, any bytes, or a record that something may have happened to.
fn slot_bytes(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let how = input.below(8);
    if how == 0 {
        return None;
    }
    if how == 1 {
        let len = input.below(100);
        return Some(input.bytes(len).to_vec());
    }
    let boot = match input.below(8) {
        0 => u64::MAX - u64::from(input.u8() % 4),
        1 => input.u64().max(1),
        _ => 1 + u64::from(input.u8()),
    };
    let byte = input.u8() % 2;
    let record = BootRecord { store: [byte; 16], key: FileKey([byte; 16]), boot, random: [input.u8(); 16] };
    let mut bytes = record.encode();
    match how {
        2 => {
            let at = input.place(bytes.len());
            bytes[at] ^= 1 << input.below(8);
        }
        3 => bytes.truncate(input.place(bytes.len())),
        4 => {
            let end = bytes.len() - 4;
            bytes[4] = input.u8();
            let crc = crc32(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
        }
        _ => {}
    }
    Some(bytes)
}

/// A start, up to the point where the store is known.
fn start(memory: &mut Memory, seed: u8) -> Result<Booted, HaltReason> {
    let mut boot = Boot::new(Seed::new([seed; 32]).rng());
    let steps_max = STEPS_MAX + memory.files.len();
    for _ in 0..steps_max {
        match boot.advance() {
            BootStep::Disk(request) => {
                // The first read of a slot that is empty must not be mistaken for a damaged one.
                let empty = matches!(&request, DiskRequest::Read { file, .. } if !memory.files.contains_key(file));
                let result = memory.perform(request);
                assert!(!empty || result == Err(DiskError::NotFound), "an empty slot is not found");
                assert!(result != Ok(DiskReply::Mismatch), "boot records carry their own checksum");
                boot.done(result);
            }
            BootStep::Note(_) => {}
            BootStep::Booted(booted) => return Ok(booted),
            BootStep::Halt(reason) => return Err(reason),
        }
    }
    panic!("a start takes at most {steps_max} steps")
}

fn judge(slots: &[Found; 2], before: &std::collections::BTreeMap<File, Vec<u8>>, booted: &Booted, memory: Memory) {
    let record = booted.record;
    let readable: Vec<BootRecord> = slots.iter().flatten().filter_map(|found| found.ok()).collect();
    assert!(readable.iter().all(|older| older.boot < record.boot), "the boot counter only grows");
    match readable.iter().max_by_key(|older| older.boot) {
        Some(newest) => assert_eq!((record.store, record.key), (newest.store, newest.key), "the store stays itself"),
        None => assert!(
            slots.iter().all(Option::is_none) && !before.contains_key(&File::Journal(1)),
            "only an empty directory becomes a new store"
        ),
    }
    assert_eq!(booted.files.len(), usize::from(before.contains_key(&File::Journal(1))), "files, and nothing else");
    if booted.read_only.is_some() {
        assert!(memory.writes_left.is_some(), "writes work");
        return;
    }
    let slot = File::Slot(record.slot());
    assert_eq!(BootRecord::decode(&memory.files[&slot]), Ok(record), "the record of this start is on disk");
    assert!(!memory.files.keys().any(|file| matches!(file, File::Stage(_))), "nothing is left in the making");
    let mut memory = Memory { writes_left: None, ..memory };
    let next = start(&mut memory, 2).expect("a store that has started starts again").record;
    assert!(next.boot > record.boot && next.store == record.store, "and counts on");
}

fn judge_halt(reason: HaltReason, slots: &[Found; 2], before: &std::collections::BTreeMap<File, Vec<u8>>) {
    match reason {
        HaltReason::NewerFormat { found, supported } => {
            assert_eq!(supported, FORMAT);
            assert!(slots.contains(&Some(Err(BadBootRecord::Newer(found)))), "a slot has that format");
        }
        HaltReason::BootRecordLost => {
            assert!(!slots.iter().flatten().any(Result::is_ok), "no record can be read");
            let data = before.contains_key(&File::Journal(1));
            assert!(data || slots.iter().any(Option::is_some), "there was a store");
        }
        HaltReason::SnapshotLost { .. } | HaltReason::OfGroup | HaltReason::UnknownCommand { .. } => {
            panic!("nothing of a ledger was read")
        }
        HaltReason::RolledBack { .. } => panic!("nobody else was asked"),
        HaltReason::Unreadable { .. } => panic!("the list can be read, and slots are not denied"),
    }
}

/// CRC-32 (IEEE), bit by bit: only to make whole records of versions that this program can't write.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
