//! What a start makes of a journal: tears and rot, doubt, holes, and what older formats left.

use alloc::vec;

use super::*;
use crate::disk::Slot;
use crate::disk::record::{Head, Stamp};
use crate::disk::stray::Stray;
use crate::disk::testing::{KEY, Pen, TestDisk, boot};
use crate::machine::Machine;
use crate::raft::entry::Payload;
use crate::raft::journal::Event;
use crate::raft::journal::codec::{encode_base, encode_cut, encode_entry, encode_vote};
use crate::raft::journal::tests::{Desk, based, config, entries, entry, group, node, records, start, write};
use crate::raft::{Cut, Write};

pub(super) const LONG: u64 = 1 << 20;

pub(super) fn was_cut(notes: &[Note]) -> bool {
    notes.iter().any(|note| matches!(note, Note::TailCut { .. }))
}

/// Flips a bit of the last record of this kind.
fn rot(disk: &mut TestDisk, segment: u64, kind: Kind) {
    let (_, offset) = records(disk, segment).into_iter().rfind(|(found, _)| *found == kind).expect("there is one");
    disk.bytes_mut(File::Journal(segment))[usize::try_from(offset).unwrap() + 30] ^= 1;
}

fn lived(voters: u8, writes: impl IntoIterator<Item = Write>, settle: bool) -> TestDisk {
    let mut desk = Desk::empty(LONG, voters);
    for write in writes {
        desk.write(write);
    }
    if settle {
        desk.settle();
    }
    desk.disk
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.index).collect()
}

/// The same flipped bit: a tear where nothing later knows the record durable, else damage.
#[test]
fn a_tear_and_rot_are_told_apart_by_what_a_later_record_knows() {
    let writes = || [entries(1, 1, 1..=2), entries(2, 1, 3..=3)];
    let mut torn = lived(1, writes(), false);
    rot(&mut torn, 1, Kind::Log);
    let torn = start(torn, 2, LONG, &group(1));
    assert!(was_cut(&torn.notes) && torn.recovered.damages.is_empty() && torn.recovered.doubtful.is_none());
    assert_eq!(indexes(&torn.recovered.entries), [1, 2]);
    let mut rotten = lived(1, writes(), true);
    rot(&mut rotten, 1, Kind::Log);
    let rotten = start(rotten, 2, LONG, &group(1));
    assert!(!was_cut(&rotten.notes));
    let [damage] = rotten.recovered.damages[..] else { panic!("one damage") };
    assert_eq!((damage.file, damage.first, damage.last), (File::Journal(1), 5, 5));
    assert_eq!(indexes(&rotten.recovered.entries), [1, 2]);
}

/// Rule R2: who was ever one of several does not decide by itself that its tail was never acknowledged. That lasts over
/// starts until it is settled.
#[test]
fn a_torn_tail_of_a_replicated_log_is_in_doubt_until_that_is_settled() {
    let vote = Vote { term: 4, candidate: Some(node(2)) };
    let writes = [Write { vote: Some(vote), ..entries(1, 3, 1..=2) }, entries(2, 4, 3..=3)];
    let mut disk = lived(2, writes, false);
    rot(&mut disk, 1, Kind::Log);
    let doubt = Doubt { last: Position { term: 3, index: 2 }, term: 4 };
    for number in 2..5 {
        let started = start(disk, number, LONG, &group(2));
        assert_eq!(started.recovered.doubtful, Some(doubt), "start {number}");
        assert_eq!(was_cut(&started.notes), number == 2, "bytes are missed once");
        let mut desk = started.sit();
        desk.settle();
        disk = desk.disk;
    }
    let mut desk = start(disk, 5, LONG, &group(2)).sit();
    desk.step(Event::Resolved);
    desk.settle();
    assert_eq!(start(desk.disk, 6, LONG, &group(2)).recovered.doubtful, None);
}

/// The word that others are to get the log is in a sealed segment, so that rot behind it does not hide it.
#[test]
fn a_log_that_began_alone_is_in_doubt_once_others_were_to_get_it() {
    let spread = Entry { position: Position { term: 1, index: 2 }, payload: Payload::Membership(group(2)) };
    let spread = Write { entries: Arc::from([spread]), ..write(2) };
    let mut disk = lived(1, [entries(1, 1, 1..=1), spread], false);
    // All of the segment that has it, its head as well.
    for kind in [Kind::Log, Kind::State, Kind::Head] {
        rot(&mut disk, 2, kind);
    }
    let started = start(disk, 2, LONG, &group(1));
    assert!(started.recovered.replicated);
    assert_eq!(started.recovered.doubtful, Some(Doubt { last: Position { term: 1, index: 1 }, term: 1 }));
}

/// A head says nothing of the log, and what lies before it does not end with it.
#[test]
fn rot_of_a_head_takes_no_entry() {
    let disk = lived(1, [entries(1, 1, 1..=3)], false);
    let mut desk = start(disk, 2, LONG, &group(1)).sit();
    desk.write(entries(1, 1, 4..=5));
    desk.settle();
    let mut disk = desk.disk;
    rot(&mut disk, 2, Kind::Head);
    let recovered = start(disk, 3, LONG, &group(1)).recovered;
    assert_eq!((indexes(&recovered.entries), recovered.damages.len()), (vec![1, 2, 3, 4, 5], 1));
    assert!(recovered.vote_certain);
}

/// The same where no state says so: a segment of format 2.
#[test]
fn rot_of_a_head_of_format_2_takes_no_entry() {
    let mut disk = TestDisk::default();
    let mut end = Predecessor::default();
    for index in [1, 2] {
        let mut pen = Pen::create(FileKind::Journal, 1, end);
        let old = crate::ledger::entry::Entry { term: 1, index, volumes: vec![], command: vec![] };
        pen.writer.record(Kind::Entry, &old.encode());
        pen.writer.seal();
        pen.settle(&mut disk);
        end = pen.writer.as_predecessor();
    }
    rot(&mut disk, 2, Kind::Head);
    let recovered = start(disk, 2, LONG, &group(1)).recovered;
    assert_eq!((indexes(&recovered.entries), recovered.damages.len()), (vec![1, 2], 1));
}

/// A state ends a loss only if it names an entry that the log has, term and all.
#[test]
fn a_state_that_names_another_entry_ends_no_loss() {
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    for index in 1..=4 {
        pen.writer.record(Kind::Log, &encode_entry(&entry(1, index)));
    }
    let cut = pen.writer.record(Kind::Cut, &encode_cut(&Cut { after: 3, term: 2 }));
    let fourth = pen.writer.record(Kind::Log, &encode_entry(&entry(2, 4)));
    let base = Base { position: Position::ZERO, membership: group(1) };
    let last = Position { term: 2, index: 4 };
    let vote = Vote { term: 2, candidate: None };
    let state = Summary { vote, vote_certain: true, accepted: 2, replicated: false, last, doubt: None, base };
    pen.writer.record(Kind::State, &encode_state(&state));
    pen.writer.record(Kind::Log, &encode_entry(&entry(2, 5)));
    pen.writer.seal();
    let mut disk = TestDisk::default();
    pen.settle(&mut disk);
    for lost in [cut, fourth] {
        disk.bytes_mut(File::Journal(1))[usize::try_from(lost.offset).unwrap() + 30] ^= 1;
    }
    let recovered = start(disk, 2, LONG, &group(1)).recovered;
    assert_eq!(recovered.entries, [1, 2, 3].map(|index| entry(1, index)), "the fourth was replaced");
    assert_eq!(recovered.beyond, [entry(2, 5)]);
}

/// Entries behind a loss are found, and are not the log's.
#[test]
fn nothing_is_glued_on_behind_damage() {
    let mut desk = Desk::empty(LONG, 1);
    desk.write(entries(1, 1, 1..=4));
    let replaced = Write { cut: Some(Cut { after: 2, term: 2 }), ..entries(2, 2, 3..=3) };
    desk.write(replaced);
    desk.write(entries(3, 2, 4..=6));
    desk.settle();
    let mut disk = desk.disk;
    // The cut, and the entry that replaced another one.
    let places = records(&disk, 1);
    let cut = places.iter().position(|(kind, _)| *kind == Kind::Cut).unwrap();
    for (_, offset) in &places[cut..cut + 2] {
        disk.bytes_mut(File::Journal(1))[usize::try_from(*offset).unwrap() + 30] ^= 1;
    }
    for number in 2..4 {
        let started = start(disk, number, LONG, &group(3));
        assert_eq!(started.recovered.damages.len(), 1);
        assert_eq!(started.recovered.entries, [1, 2, 3].map(|index| entry(1, index)), "what was there before the loss");
        assert_eq!(started.recovered.beyond, [4, 5, 6].map(|index| entry(2, index)));
        disk = started.disk;
    }
    // A leader sends what is right, from where the logs meet: then all is whole again, though the damage is still told.
    let mut desk = start(disk, 4, LONG, &group(3)).sit();
    desk.write(Write { cut: Some(Cut { after: 2, term: 3 }), ..entries(1, 3, 3..=4) });
    let healed = start(desk.disk, 5, LONG, &group(3)).recovered;
    let expected = [entry(1, 1), entry(1, 2), entry(3, 3), entry(3, 4)];
    assert_eq!((&healed.entries[..], &healed.beyond[..], healed.damages.len()), (&expected[..], &[][..], 1));
}

/// A base covers what was lost before it.
#[test]
fn damage_that_a_snapshot_covers_takes_nothing_of_the_log() {
    let mut desk = Desk::empty(LONG, 1);
    desk.write(entries(1, 1, 1..=6));
    desk.write(based(2, 1, 4));
    desk.write(entries(3, 1, 7..=8));
    desk.settle();
    let mut disk = desk.disk;
    let third = records(&disk, 1).into_iter().filter(|(kind, _)| *kind == Kind::Log).nth(2).unwrap().1;
    disk.bytes_mut(File::Journal(1))[usize::try_from(third).unwrap() + 30] ^= 1;
    let recovered = start(disk, 2, LONG, &group(1)).recovered;
    assert_eq!((indexes(&recovered.entries), recovered.damages.len()), (vec![5, 6, 7, 8], 1));
    assert_eq!(recovered.beyond, []);
}

/// The disk may yet give back what is lost of a log that nobody else has.
#[test]
fn a_log_without_others_is_only_read_while_something_is_lost() {
    let mut desk = Desk::empty(LONG, 1);
    desk.write(entries(1, 1, 1..=6));
    desk.settle();
    let mut disk = desk.disk;
    let third = records(&disk, 1).into_iter().filter(|(kind, _)| *kind == Kind::Log).nth(2).unwrap().1;
    let place = usize::try_from(third).unwrap() + 30;
    disk.bytes_mut(File::Journal(1))[place] ^= 1;
    let started = start(disk, 2, LONG, &group(1));
    assert_eq!((indexes(&started.recovered.entries), indexes(&started.recovered.beyond)), (vec![1, 2], vec![4, 5, 6]));
    assert!(started.recovered.read_only.is_some() && started.recovered.journal.failed().is_some());
    let mut disk = started.disk;
    assert!(disk.bytes(File::Journal(2)).is_none(), "no segment says that the log ends before the loss");
    disk.bytes_mut(File::Journal(1))[place] ^= 1;
    let whole = start(disk, 3, LONG, &group(1)).recovered;
    assert_eq!((indexes(&whole.entries), whole.damages.len(), whole.read_only), (vec![1, 2, 3, 4, 5, 6], 0, None));
}

/// Segments are not removed while something is lost: they may be what a repair needs.
#[test]
fn nothing_is_removed_while_something_is_lost() {
    let mut desk = Desk::empty(256, 1);
    desk.write(entries(1, 1, 1..=4));
    desk.settle();
    let mut disk = desk.disk;
    rot(&mut disk, 2, Kind::Log);
    let mut desk = start(disk, 2, 256, &group(1)).sit();
    desk.write(Write { cut: Some(Cut { after: 9, term: 1 }), ..based(1, 1, 9) });
    desk.write(entries(2, 1, 10..=12));
    desk.settle();
    assert!(!desk.notes.iter().any(|note| matches!(note, Note::SegmentRemoved { .. })));
}

#[test]
fn what_a_crash_brings_back_of_removed_segments_is_removed_unread() {
    let mut desk = Desk::empty(256, 1);
    desk.write(entries(1, 1, 1..=4));
    let old = desk.disk.bytes(File::Journal(2)).unwrap().to_vec();
    desk.write(based(2, 1, 4));
    desk.settle();
    let mut disk = desk.disk;
    assert!(disk.bytes(File::Journal(2)).is_none());
    disk.put(File::Journal(2), old);
    let started = start(disk, 2, 256, &group(1));
    assert!(started.notes.contains(&Note::RemovedAgain(File::Journal(2))));
    assert_eq!((started.recovered.damages.len(), started.recovered.base.position.index), (0, 4));
    assert!(started.disk.bytes(File::Journal(2)).is_none());
}

/// Before a removed segment is removed again, either slot alone knows that it is gone.
#[test]
fn a_catalog_that_is_alone_is_published_again() {
    let mut desk = Desk::empty(256, 1);
    desk.write(entries(1, 1, 1..=4));
    desk.write(based(2, 1, 4));
    desk.settle();
    for slot in [Slot::JournalOdd, Slot::JournalEven] {
        let mut disk = desk.disk.clone();
        disk.lose(File::Slot(slot));
        let started = start(disk, 2, 256, &group(1));
        assert!(started.disk.bytes(File::Slot(slot)).is_some());
        assert_eq!(started.recovered.base.position.index, 4);
    }
}

fn recovered_from(records: &[(Kind, Vec<u8>)]) -> Recovered {
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    for (kind, body) in records {
        pen.writer.record(*kind, body);
    }
    let mut disk = TestDisk::default();
    pen.settle(&mut disk);
    start(disk, 2, LONG, &group(1)).recovered
}

/// What was in a hole may have been acknowledged to others, whatever is known of votes.
#[test]
fn a_hole_in_a_log_of_several_nodes_leaves_it_in_doubt() {
    for voters in [1, 3] {
        let vote = Write { vote: Some(Vote { term: 2, candidate: None }), ..write(3) };
        let mut disk = lived(voters, [entries(1, 1, 1..=2), entries(2, 1, 3..=3), vote], true);
        rot(&mut disk, 1, Kind::Log);
        let recovered = start(disk, 2, LONG, &group(voters)).recovered;
        assert_eq!((recovered.damages.len(), recovered.vote_certain), (1, true));
        assert_eq!(recovered.doubtful.is_some(), voters > 1, "{voters} voters");
    }
}

/// Who had lost a vote and goes on writes that down, and no later vote says that it was found again.
#[test]
fn a_lost_vote_stays_lost_until_that_is_settled() {
    let vote = |term| (Kind::Vote, encode_vote(&Vote { term, candidate: Some(node(1)) }));
    let base = Base { position: Position::ZERO, membership: group(3) };
    let state = |vote_certain| {
        let vote = Vote { term: 2, candidate: None };
        let last = Position::ZERO;
        let state =
            Summary { vote, vote_certain, accepted: 2, replicated: true, last, doubt: None, base: base.clone() };
        (Kind::State, encode_state(&state))
    };
    let lost = recovered_from(&[state(false), vote(3), vote(4)]);
    assert_eq!((lost.vote_certain, lost.vote.term, lost.damages.len()), (false, 4, 0));
    let settled = recovered_from(&[state(false), vote(3), state(true), vote(4)]);
    assert_eq!((settled.vote_certain, settled.vote.term), (true, 4));
    // And the journal that goes on says so, until it hears that it is settled.
    for resolved in [false, true] {
        let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
        pen.writer.record(Kind::State, &state(false).1);
        let mut disk = TestDisk::default();
        pen.settle(&mut disk);
        let mut desk = start(disk, 2, LONG, &group(3)).sit();
        let vote = Some(Vote { term: 5, candidate: None });
        desk.write(Write { vote, ..write(1) });
        if resolved {
            desk.step(Event::Resolved);
        }
        desk.settle();
        assert_eq!(start(desk.disk, 3, LONG, &group(3)).recovered.vote_certain, resolved);
    }
}

#[test]
fn entries_that_a_base_covers_are_none_and_what_contradicts_it_goes() {
    let log = |term, index| (Kind::Log, encode_entry(&entry(term, index)));
    let base = |term, index| {
        let position = Position { term, index };
        (Kind::Base, encode_base(&Base { position, membership: group(1) }))
    };
    let covered = recovered_from(&[base(1, 4), log(1, 3), log(1, 4), log(1, 5)]);
    assert_eq!((indexes(&covered.entries), covered.damages.len()), (vec![5], 0));
    // What follows a base is of no older term.
    let other = recovered_from(&[log(1, 1), log(1, 4), log(1, 5), base(2, 3)]);
    assert_eq!((indexes(&other.entries), indexes(&other.beyond), other.base.position.index), (vec![], vec![], 3));
}

/// In one term a candidate once given never changes: bytes that say so were not written by Raft.
#[test]
fn votes_only_grow_and_a_contradiction_is_damage() {
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    let vote = |term, candidate: Option<u8>| Vote { term, candidate: candidate.map(node) };
    let votes = [vote(2, None), vote(2, Some(1)), vote(1, Some(2)), vote(2, None), vote(2, Some(3))];
    for vote in &votes {
        pen.writer.record(Kind::Vote, &encode_vote(vote));
    }
    let mut disk = TestDisk::default();
    pen.settle(&mut disk);
    let recovered = start(disk, 2, LONG, &group(3)).recovered;
    assert_eq!(recovered.vote, vote(2, Some(1)));
    assert_eq!(recovered.damages.iter().map(|damage| damage.first).collect::<Vec<_>>(), [6]);
    assert!(!recovered.vote_certain);
}

/// A journal of format 2, with a term of 1 throughout and volumes in each entry.
#[test]
fn entries_of_format_2_are_read_and_copied() {
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    for index in 1..=3 {
        let command = vec![u8::try_from(index).unwrap(); 5];
        let old = crate::ledger::entry::Entry { term: 1, index, volumes: vec![(index, 10 * index)], command };
        pen.writer.record(Kind::Entry, &old.encode());
    }
    let mut disk = TestDisk::default();
    pen.settle(&mut disk);
    for number in 2..4 {
        let started = start(disk, number, LONG, &group(1));
        let recovered = &started.recovered;
        assert_eq!((indexes(&recovered.entries), recovered.damages.len()), (vec![1, 2, 3], 0));
        let command = Payload::Command(Bytes::from(vec![3; 5]));
        assert_eq!(recovered.entries[2], Entry { position: Position { term: 1, index: 3 }, payload: command });
        assert_eq!(recovered.volumes, [(1, 10), (2, 20), (3, 30)].into());
        assert_eq!((recovered.vote.term, recovered.replicated), (1, false));
        disk = started.disk;
    }
    let mut desk = start(disk, 4, LONG, &group(1)).sit();
    desk.write(entries(1, 1, 4..=4));
    let recovered = start(desk.disk, 5, LONG, &group(1)).recovered;
    assert_eq!((indexes(&recovered.entries), recovered.damages.len()), (vec![1, 2, 3, 4], 0));
}

/// What entries rely on is told, also of segments that are gone.
#[test]
fn volume_positions_outlive_the_segment_that_named_them() {
    let mut desk = Desk::empty(256, 1);
    desk.step(Event::Rely(vec![(3, 30), (4, 7)]));
    desk.write(entries(1, 1, 1..=4));
    desk.step(Event::Rely(vec![(3, 20), (5, 1)]));
    desk.write(based(2, 1, 4));
    desk.settle();
    assert!(desk.disk.bytes(File::Journal(1)).is_none());
    let recovered = start(desk.disk, 2, 256, &group(1)).recovered;
    assert_eq!(recovered.volumes, [(3, 30), (4, 7), (5, 1)].into());
}

/// A hole that no base explains is told, even if every record is whole.
#[test]
fn a_hole_in_the_indexes_is_damage() {
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    for index in [1, 2, 4, 5] {
        pen.writer.record(Kind::Log, &encode_entry(&entry(1, index)));
    }
    let mut disk = TestDisk::default();
    pen.settle(&mut disk);
    let recovered = start(disk, 2, LONG, &group(1)).recovered;
    assert_eq!((indexes(&recovered.entries), indexes(&recovered.beyond)), (vec![1, 2], vec![4, 5]));
    assert_eq!(recovered.damages.len(), 1);
}

/// Nothing is written beside a segment that may come back, and a disk that can't be written is only read.
#[test]
fn a_log_that_may_not_be_written_is_read() {
    let disk = lived(1, [entries(1, 1, 1..=3)], false);
    for astray in [true, false] {
        let mut disk = disk.clone();
        let files = disk.files(FileKind::Journal);
        let read_only = (!astray).then_some(DiskError::ReadOnly);
        let mut recovery = Recovery::new(&config(LONG), boot(2), files, group(1), read_only);
        if astray {
            let stray = Stray { file: File::Journal(9), origin: Some(File::Journal(2)) };
            recovery = recovery.beside([stray].into_iter().collect());
        }
        loop {
            match recovery.advance() {
                Step::Disk(request @ DiskRequest::Read { .. }) => recovery.done(&disk.perform(&request)),
                Step::Disk(request) => panic!("{request:?}"),
                Step::Note(_) => {}
                Step::Ready => break,
            }
        }
        let mut recovered = recovery.into_recovered();
        assert_eq!(indexes(&recovered.entries), [1, 2, 3]);
        assert_eq!(recovered.damages.len(), usize::from(astray));
        assert_eq!(recovered.read_only, Some(if astray { DiskError::NotFound } else { DiskError::ReadOnly }));
        let mut out = Vec::new();
        let now = crate::time::Now::default();
        recovered.journal.step(now, Event::Persist(Box::new(entries(1, 1, 4..=4))), &mut out);
        recovered.journal.flush(now, &mut out);
        assert_eq!(out, []);
    }
}

/// A fresh segment that can't be made stops writing, not reading.
#[test]
fn a_full_disk_is_read() {
    let mut disk = lived(1, [entries(1, 1, 1..=3)], false);
    let files = disk.files(FileKind::Journal);
    let mut recovery = Recovery::new(&config(LONG), boot(2), files, group(1), None);
    loop {
        match recovery.advance() {
            Step::Disk(request @ DiskRequest::Read { .. }) => recovery.done(&disk.perform(&request)),
            Step::Disk(_) => recovery.done(&Err(DiskError::Full)),
            Step::Note(_) => {}
            Step::Ready => break,
        }
    }
    let recovered = recovery.into_recovered();
    assert_eq!((indexes(&recovered.entries), recovered.read_only), (vec![1, 2, 3], Some(DiskError::Full)));
    assert_eq!(recovered.journal.failed(), Some((File::Journal(2), DiskError::Full)));
}

/// A program that does not know of segments that are removed, and volumes that hold records of journals.
#[test]
fn a_volume_has_no_records_of_a_journal() {
    let stamp = Stamp::new(&KEY, FileKind::Volume, 1);
    let mut bytes = Vec::new();
    let body = encode_vote(&Vote::default());
    let body_len = u32::try_from(body.len()).unwrap();
    let header = crate::disk::record::Header {
        kind: Kind::Vote,
        boot: 1,
        position: 1,
        sequence: 0,
        durable_through: 0,
        body_len,
    };
    let journal = Stamp::new(&KEY, FileKind::Journal, 1);
    header.encode(&journal, 0, &body, &mut bytes);
    assert_eq!(crate::disk::record::parse(&journal, 0, &bytes), crate::disk::record::Parsed::Record(header));
    // The same with the magic, salt and checksum of a volume.
    let mut head = Vec::new();
    let body = Head { predecessor: Predecessor::default(), store: [0; 16], boot_random: [0; 16] }.encode();
    let like = crate::disk::record::Header { kind: Kind::Head, body_len: 56, ..header };
    like.encode(&stamp, 0, &body, &mut head);
    bytes[..4].copy_from_slice(&head[..4]);
    bytes[48..56].copy_from_slice(&head[48..56]);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..60]);
    crc.update(&0_u64.to_le_bytes());
    crc.update(&bytes[64..]);
    bytes[60..64].copy_from_slice(&crc.finalize().to_le_bytes());
    assert_eq!(crate::disk::record::parse(&stamp, 0, &bytes), crate::disk::record::Parsed::Broken);
}
