//! The boot record: which store this is, and how often it was started (format version 3).
//!
//! Two slots take turns, even boots in one, odd boots in the other, so that rot of one never loses the store's identity.
//! Layout, little-endian: magic `dpsB` (4), version (1), zero (3), length of the body (4), body, CRC-32 of all before it
//! (4). The version is that of the whole data directory. The body of all versions: store (16), file key (16), boot
//! counter (8), random bytes of the boot (16).
//!
//! | version | since then |
//! |---|---|
//! | 1 | records of kinds 1 to 5 |
//! | 2 | marked chunks, marks and drops in volumes (kinds 6 to 8), which a program of version 1 takes for damage |
//! | 3 | the journal of Raft (kinds 9 to 14, no new ones of kind 5), snapshots of the ledger, a catalog of segments |
//!
//! A start writes the newest version before anything else is written, so that an older program refuses the directory from
//! then on.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::halt::{FileOrList, HaltReason};
use super::record::FileKey;
use super::{DiskError, DiskReply, DiskRequest, DiskResult, File, Slot, Verify};
use crate::note::Note;
use crate::rng::Rng;

/// The format of data directories that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 3;

/// No boot record of any version is longer, in bytes.
pub const SLOT_BYTES_MAX: u32 = 4_096;

/// No store was ever started more often, so that counting on never overflows.
const BOOT_MAX: u64 = u64::MAX / 2;

const MAGIC: [u8; 4] = *b"dpsB";
const FRAME_LEN: usize = 12;
const BODY_LEN: usize = 56;

/// A store at one of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// Random bytes that name the store; the same for all its boots.
    pub store: [u8; 16],
    /// The secret from which its files' salts come.
    pub key: FileKey,
    /// Counts the starts, from 1.
    pub boot: u64,
    /// Random bytes of this start.
    pub random: [u8; 16],
}

/// Why bytes are not a boot record that this program can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBootRecord {
    /// Whole, but of a newer format.
    Newer(u32),
    /// Missing, torn or rotten.
    Damaged,
}

impl BootRecord {
    /// The bytes of its slot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_LEN + BODY_LEN + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[u8::try_from(FORMAT).expect("one byte of versions"), 0, 0, 0]);
        bytes.extend_from_slice(&(BODY_LEN as u32).to_le_bytes());
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.boot.to_le_bytes());
        bytes.extend_from_slice(&self.random);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a slot. Total.
    ///
    /// # Errors
    /// Why the bytes can't be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadBootRecord> {
        let damaged = BadBootRecord::Damaged;
        let frame: &[u8; FRAME_LEN] = bytes.first_chunk().ok_or(damaged)?;
        let body_len = u32::from_le_bytes(frame[8..12].try_into().expect("four of twelve bytes"));
        let end = FRAME_LEN.saturating_add(body_len as usize);
        if frame[..4] != MAGIC || body_len > SLOT_BYTES_MAX || bytes.len() != end + 4 {
            return Err(damaged);
        }
        let crc = u32::from_le_bytes(bytes[end..].try_into().expect("four bytes are left"));
        if crc32fast::hash(&bytes[..end]) != crc {
            return Err(damaged);
        }
        // The frame is the same in all versions, so a whole record tells its version honestly.
        if !(1..=FORMAT).contains(&u32::from(frame[4])) {
            return Err(BadBootRecord::Newer(u32::from(frame[4])));
        }
        let body: &[u8; BODY_LEN] = bytes[FRAME_LEN..end].try_into().map_err(|_| damaged)?;
        let boot = u64::from_le_bytes(body[32..40].try_into().expect("eight of 56 bytes"));
        if !(1..=BOOT_MAX).contains(&boot) || frame[5..8] != [0; 3] {
            return Err(damaged);
        }
        Ok(Self {
            store: body[..16].try_into().expect("sixteen of 56 bytes"),
            key: FileKey(body[16..32].try_into().expect("sixteen of 56 bytes")),
            boot,
            random: body[40..].try_into().expect("sixteen of 56 bytes"),
        })
    }

    /// The slot in which the record of this boot lies.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        if self.boot.is_multiple_of(2) { Slot::BootEven } else { Slot::BootOdd }
    }
}

/// What a start found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// The record of this start.
    pub record: BootRecord,
    /// Files of the store with their lengths, without slots and staged files.
    pub files: Vec<(File, u64)>,
    /// Why the record of this start could not be written, so that nothing may be written.
    pub read_only: Option<DiskError>,
}

/// What the start wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum BootStep {
    /// Perform this and call [`Boot::done`].
    Disk(DiskRequest),
    /// Something to tell.
    Note(Note),
    /// The store is known.
    Booted(Booted),
    /// It can't be started. Nothing was written.
    Halt(HaltReason),
}

#[derive(Debug)]
enum State {
    List,
    Read { slot: usize },
    Remove { stages: Vec<u64> },
    Append,
    Publish,
    Finished,
}

const SLOTS: [Slot; 2] = [Slot::BootEven, Slot::BootOdd];
/// The staged file in which the boot record is made.
const BOOT_STAGE: u64 = 0;

/// Reads the boot records, decides which counts, and writes that of this start. Pulled: ask for steps, feed results.
#[derive(Debug)]
pub struct Boot {
    state: State,
    rng: Rng,
    files: Vec<(File, u64)>,
    found: [Option<Result<BootRecord, BadBootRecord>>; 2],
    record: Option<BootRecord>,
    read_only: Option<DiskError>,
    halt: Option<HaltReason>,
    notes: Vec<Note>,
}

impl Boot {
    /// A start that has read nothing yet. `rng` gives the random bytes of the record.
    #[must_use]
    pub const fn new(rng: Rng) -> Self {
        Self {
            state: State::List,
            rng,
            files: Vec::new(),
            found: [None, None],
            record: None,
            read_only: None,
            halt: None,
            notes: Vec::new(),
        }
    }

    /// The next step.
    pub fn advance(&mut self) -> BootStep {
        if let Some(note) = self.notes.pop() {
            return BootStep::Note(note);
        }
        if let Some(reason) = self.halt {
            return BootStep::Halt(reason);
        }
        match &self.state {
            State::List => BootStep::Disk(DiskRequest::List),
            State::Read { slot } => BootStep::Disk(DiskRequest::Read {
                file: File::Slot(SLOTS[*slot]),
                offset: 0,
                len: SLOT_BYTES_MAX,
                verify: Verify::None,
            }),
            State::Remove { stages } => {
                let stage = *stages.last().expect("removal ends when none is left");
                BootStep::Disk(DiskRequest::Remove { file: File::Stage(stage) })
            }
            State::Append => BootStep::Disk(DiskRequest::Append {
                file: File::Stage(BOOT_STAGE),
                offset: 0,
                parts: [Bytes::from(self.decided().encode())].into(),
            }),
            State::Publish => {
                let to = File::Slot(self.decided().slot());
                BootStep::Disk(DiskRequest::Publish { stage: BOOT_STAGE, to })
            }
            State::Finished => BootStep::Booted(Booted {
                record: *self.decided(),
                files: self.files.clone(),
                read_only: self.read_only,
            }),
        }
    }

    /// The result of the request that was asked for.
    pub fn done(&mut self, result: DiskResult) {
        match mem::replace(&mut self.state, State::Finished) {
            State::List => self.listed(result),
            State::Read { slot } => self.read(slot, result),
            State::Remove { mut stages } => {
                stages.pop();
                match result {
                    Err(error) => self.read_only = Some(error),
                    Ok(_) if stages.is_empty() => self.state = State::Append,
                    Ok(_) => self.state = State::Remove { stages },
                }
            }
            State::Append => {
                if let Err(error) = result {
                    self.read_only = Some(error);
                } else {
                    self.state = State::Publish;
                }
            }
            State::Publish => self.read_only = result.err(),
            State::Finished => panic!("a finished start asks for nothing"),
        }
    }

    fn decided(&self) -> &BootRecord {
        self.record.as_ref().expect("the record is decided once both slots are read")
    }

    fn listed(&mut self, result: DiskResult) {
        match result {
            Ok(DiskReply::Listed(files)) => {
                self.files = files;
                self.state = State::Read { slot: 0 };
            }
            Ok(_) => panic!("a listing is answered by a list"),
            Err(error) => self.halt = Some(HaltReason::Unreadable { file: FileOrList::List, error }),
        }
    }

    fn read(&mut self, slot: usize, result: DiskResult) {
        let file = File::Slot(SLOTS[slot]);
        self.found[slot] = match result {
            Ok(DiskReply::Read(bytes)) => Some(BootRecord::decode(&bytes)),
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
            Err(DiskError::NotFound) => None,
            Err(DiskError::Denied) => {
                self.halt = Some(HaltReason::Unreadable { file: FileOrList::File(file), error: DiskError::Denied });
                return;
            }
            Err(_) => Some(Err(BadBootRecord::Damaged)),
        };
        if slot + 1 < SLOTS.len() {
            self.state = State::Read { slot: slot + 1 };
        } else {
            self.decide();
        }
    }

    /// Both slots are read: which record counts?
    fn decide(&mut self) {
        let newer = self.found.iter().flatten().find_map(|found| match found {
            Err(BadBootRecord::Newer(version)) => Some(*version),
            Ok(_) | Err(BadBootRecord::Damaged) => None,
        });
        if let Some(found) = newer {
            self.halt = Some(HaltReason::NewerFormat { found, supported: FORMAT });
            return;
        }
        let newest = self.found.iter().flatten().filter_map(|found| found.ok()).max_by_key(|record| record.boot);
        let damaged = self.damaged_slots(newest.as_ref());
        let stages = self.take_stages();
        let random = self.rng.bytes();
        self.record = Some(match newest {
            // The damaged slot may have held the next boot: its number is not used again, and the new record takes
            // that slot's place.
            Some(record) => BootRecord { boot: record.boot + 1 + 2 * damaged, random, ..record },
            None if !self.files.iter().any(|(file, _)| is_data(*file)) && damaged == 0 => {
                BootRecord { store: self.rng.bytes(), key: FileKey(self.rng.bytes()), boot: 1, random }
            }
            None => {
                self.halt = Some(HaltReason::BootRecordLost);
                return;
            }
        });
        self.state = if stages.is_empty() { State::Append } else { State::Remove { stages } };
    }

    /// Slots that should hold a record and don't, each noted. The first boot leaves one empty.
    fn damaged_slots(&mut self, newest: Option<&BootRecord>) -> u64 {
        let mut damaged = 0;
        for (slot, found) in SLOTS.into_iter().zip(self.found) {
            let missing = found.is_none() && newest.is_some_and(|record| record.boot > 1);
            if missing || found.is_some_and(|found| found.is_err()) {
                self.notes.push(Note::BootRecordDamaged(File::Slot(slot)));
                damaged += 1;
            }
        }
        damaged
    }

    /// Left-overs of a crash, out of the list of files.
    fn take_stages(&mut self) -> Vec<u64> {
        let mut stages = Vec::new();
        self.files.retain(|(file, _)| match file {
            File::Stage(number) => {
                stages.push(*number);
                false
            }
            File::Slot(_) => false,
            File::Journal(_) | File::Volume(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve => true,
        });
        stages
    }
}

/// Whether a file holds anything that can't be made anew.
const fn is_data(file: File) -> bool {
    match file {
        File::Journal(_) | File::Volume(_) | File::Snapshot(_) => true,
        File::Slot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use alloc::collections::BTreeMap;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    fn record(boot: u64) -> BootRecord {
        BootRecord { store: [1; 16], key: FileKey([2; 16]), boot, random: [3; 16] }
    }

    type Disk = BTreeMap<File, Vec<u8>>;

    fn perform(disk: &mut Disk, request: &DiskRequest) -> DiskResult {
        match request {
            DiskRequest::List => {
                Ok(DiskReply::Listed(disk.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect()))
            }
            DiskRequest::Read { file, .. } => {
                disk.get(file).map(|bytes| DiskReply::Read(Bytes::copy_from_slice(bytes))).ok_or(DiskError::NotFound)
            }
            DiskRequest::Append { file, parts, .. } => {
                assert!(disk.insert(*file, parts.concat()).is_none(), "an append at 0 creates");
                Ok(DiskReply::Done)
            }
            DiskRequest::Publish { stage, to } => {
                let bytes = disk.remove(&File::Stage(*stage)).ok_or(DiskError::NotFound)?;
                disk.insert(*to, bytes);
                Ok(DiskReply::Done)
            }
            DiskRequest::Remove { file } => {
                disk.remove(file);
                Ok(DiskReply::Done)
            }
            DiskRequest::Sync { .. } | DiskRequest::Allocate { .. } | DiskRequest::Space => {
                panic!("a boot record is published")
            }
        }
    }

    fn start(disk: &mut Disk) -> Result<Booted, HaltReason> {
        let mut boot = Boot::new(Seed::new([9; 32]).rng());
        loop {
            match boot.advance() {
                BootStep::Disk(request) => boot.done(perform(disk, &request)),
                BootStep::Note(_) => {}
                BootStep::Booted(booted) => return Ok(booted),
                BootStep::Halt(reason) => return Err(reason),
            }
        }
    }

    /// Golden: stores written today must be readable for ever.
    #[test]
    fn the_layout_is_fixed_for_ever() {
        let expected = concat!(
            "64707342030000003800000001010101010101010101010101010101020202020202020202020202020202020500000000000000",
            "03030303030303030303030303030303",
            "1d8e39c3"
        );
        assert_eq!(HEXLOWER.encode(&record(5).encode()), expected);
        assert_eq!(BootRecord::decode(&record(5).encode()), Ok(record(5)));
    }

    /// Golden: a record of an older format is read for ever, and the first start that writes makes it a newer one.
    #[test]
    fn older_formats_become_the_present_one() {
        for (format, crc) in [("01", "76d32206"), ("02", "88a30c4c")] {
            let rest = concat!(
                "0000003800000001010101010101010101010101010101020202020202020202020202020202020500000000000000",
                "03030303030303030303030303030303"
            );
            let old = HEXLOWER.decode(alloc::format!("64707342{format}{rest}{crc}").as_bytes()).unwrap();
            assert_eq!(BootRecord::decode(&old), Ok(record(5)));
            let mut disk = Disk::from([(File::Slot(Slot::BootOdd), old.clone())]);
            let booted = start(&mut disk).unwrap();
            // The other slot is missing, as after damage, so two numbers are left out.
            assert_eq!((booted.record.boot, booted.record.store), (8, record(5).store));
            assert_eq!(disk[&File::Slot(Slot::BootEven)][4], 3, "what a program of an older format refuses");
            assert_eq!(disk[&File::Slot(Slot::BootOdd)], old);
        }
    }

    #[test]
    fn every_start_counts_and_keeps_the_store() {
        let mut disk = Disk::new();
        let first = start(&mut disk).unwrap();
        assert_eq!((first.record.boot, first.read_only), (1, None));
        disk.insert(File::Journal(1), Vec::new());
        disk.insert(File::Stage(7), Vec::new());
        for boot in 2..5 {
            let booted = start(&mut disk).unwrap();
            assert_eq!((booted.record.boot, booted.record.store), (boot, first.record.store));
            assert_eq!(booted.files, [(File::Journal(1), 0)]);
        }
        assert!(!disk.contains_key(&File::Stage(7)), "left-overs are removed");
    }

    #[test]
    fn one_rotten_record_is_survived_and_replaced() {
        let mut disk = Disk::new();
        for _ in 0..4 {
            start(&mut disk).unwrap();
        }
        disk.get_mut(&File::Slot(Slot::BootEven)).unwrap()[20] ^= 1;
        let booted = start(&mut disk).unwrap();
        assert_eq!(booted.record.boot, 6, "boot 4 may have been the damaged one, so may 5 not be used twice");
        assert!(BootRecord::decode(&disk[&File::Slot(Slot::BootEven)]).is_ok());
    }

    #[test]
    fn files_without_any_boot_record_are_not_taken_for_a_new_store() {
        let mut disk = Disk::from([(File::Volume(1), Vec::new())]);
        assert_eq!(start(&mut disk), Err(HaltReason::BootRecordLost));
        assert_eq!(disk.len(), 1, "nothing was written");
    }

    #[test]
    fn a_newer_format_is_refused_before_anything_is_written() {
        let mut bytes = record(4).encode();
        bytes[4] = u8::try_from(FORMAT + 1).unwrap();
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        let mut disk = Disk::from([(File::Slot(Slot::BootEven), bytes)]);
        assert_eq!(start(&mut disk), Err(HaltReason::NewerFormat { found: FORMAT + 1, supported: FORMAT }));
        assert_eq!(disk.len(), 1);
    }

    #[test]
    fn a_directory_half_made_by_a_killed_first_start_is_empty() {
        let mut disk = Disk::from([(File::Stage(0), record(1).encode())]);
        let booted = start(&mut disk).unwrap();
        assert_eq!((booted.record.boot, booted.files.len()), (1, 0));
    }

    #[test]
    fn a_counter_that_could_not_go_on_is_damage() {
        let whole =
            [0, 1, BOOT_MAX, BOOT_MAX + 1, u64::MAX].map(|boot| BootRecord::decode(&record(boot).encode()).is_ok());
        assert_eq!(whole, [false, true, true, false, false]);
        let mut disk = Disk::from([(File::Slot(Slot::BootOdd), record(BOOT_MAX).encode())]);
        assert_eq!(start(&mut disk).unwrap().record.boot, BOOT_MAX + 3);
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(BootRecord::decode(&bytes).is_err());
        }

        #[test]
        fn any_flipped_bit_is_noticed(bit in 0..72_usize * 8) {
            let mut bytes = record(3).encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(BootRecord::decode(&bytes).is_err());
        }
    }
}
