//! The format of checkpoints, and what is believed of one.

use alloc::vec;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::disk::record::volume::{DropRecord, MarkRecord};
use crate::disk::record::{Header, Predecessor};
use crate::disk::testing::{KEY, fixed_cases};
use crate::disk::{DiskError, DiskReply, DiskResult};
use crate::id::ChunkId;
use crate::limits::{DROP_IDS_MAX, OFFSET_MAX, POSITION_MAX, SEQUENCE_FOUND_MAX, STEP_BYTES_MAX};

const STORE: [u8; 16] = [1; 16];
const VOLUME: u64 = 7;

fn record(kind: Kind, position: u64, offset: u64, body_len: u32, covered: Vec<u8>) -> Record {
    let header = Header { kind, boot: 0, position, sequence: 3 * position, durable_through: 0, body_len };
    Record { header, offset, covered: covered.into() }
}

/// One record of each kind that is listed, one after the other from the first position on.
fn records() -> Vec<Record> {
    let chunk = ChunkId::from_bytes([7; 32]);
    let mark = MarkRecord { chunk, mark: 5 }.encode().to_vec();
    let dropped = DropRecord { epoch: 3, from: 4, through: 6, chunks: vec![chunk] }.encode();
    vec![
        record(Kind::Chunk, 2, 120, 32 + 9, vec![7; 32]),
        record(Kind::MarkedChunk, 3, 225, 40, mark.clone()),
        record(Kind::Mark, 5, 400, 40, mark),
        record(Kind::Drop, 6, 504, 64, dropped),
    ]
}

fn subject() -> Subject {
    Subject { store: STORE, volume: VOLUME, volume_bytes: 1_000, position: 8, offset: 900 }
}

fn demand() -> Demand {
    Demand { store: STORE, volume: VOLUME, volume_bytes: 1_000, end: None, floor: 0 }
}

fn make(records: &[Record], subject: &Subject) -> Vec<u8> {
    let mut maker = Maker::new(&KEY, subject.volume);
    let mut bytes = Vec::new();
    let mut write = |(offset, block): (u64, Bytes)| {
        assert_eq!(offset, bytes.len() as u64, "blocks follow each other");
        assert!(block.len() <= CHECKPOINT_BLOCK_BYTES_MAX);
        bytes.extend_from_slice(&block);
    };
    for record in records {
        if maker.is_full() {
            write(maker.block().expect("a full block has items"));
        }
        maker.push(record);
    }
    maker.into_last_blocks(subject).into_iter().for_each(&mut write);
    bytes
}

/// What is told, and whether the checkpoint is believed to its end.
fn read_with(key: &FileKey, demand: Demand, bytes: &[u8], listed: u64) -> (Vec<Record>, Option<Subject>) {
    let mut reader = Reader::new(key, demand, listed);
    let mut told = Vec::new();
    loop {
        match reader.advance() {
            Reading::Read { offset, len } => {
                assert!(len as usize <= STEP_BYTES_MAX, "a step is bounded");
                let first = usize::try_from(offset).unwrap().min(bytes.len());
                let end = (first + len as usize).min(bytes.len());
                let result: DiskResult = Ok(DiskReply::Read(Bytes::copy_from_slice(&bytes[first..end])));
                reader.feed(&result);
            }
            Reading::Record(record) => told.push(record),
            Reading::End(subject) => return (told, Some(subject)),
            Reading::Unusable => {
                assert_eq!(reader.advance(), Reading::Unusable, "it stays so");
                return (told, None);
            }
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Record>, Option<Subject>) {
    read_with(&KEY, demand(), bytes, bytes.len() as u64)
}

/// Golden: checkpoints that are written today may be read for ever. An unknown one is only scanned past.
#[test]
fn the_layout_is_fixed_for_ever() {
    let bytes = make(&records(), &subject());
    assert_eq!(HEXLOWER.encode(&bytes), GOLDEN.concat());
    assert_eq!(read(&bytes), (records(), Some(subject())));
}

/// A block of four items, and the end.
const GOLDEN: [&str; 7] = [
    "6470734b010100003b3ce86a98828149040000002401000076c5e09d",
    "04020000000000000006000000000000007800000000000000290000000707070707070707070707070707070707070707070707070707070707070707",
    "0603000000000000000900000000000000e100000000000000280000000707070707070707070707070707070707070707070707070707070707070707\
     0500000000000000",
    "0705000000000000000f0000000000000090010000000000002800000007070707070707070707070707070707070707070707070707070707070707\
     070500000000000000",
    "0806000000000000001200000000000000f80100000000000040000000030000000000000004000000000000000600000000000000\
     01000000000000000707070707070707070707070707070707070707070707070707070707070707",
    "6470734b010200003b3ce86a988281490000000038000000659b7b84",
    "01010101010101010101010101010101\
     0700000000000000e803000000000000080000000000000084030000000000000400000000000000",
];

#[test]
fn heads_footers_and_empty_records_are_not_listed() {
    let mut maker = Maker::new(&KEY, VOLUME);
    maker.push(&record(Kind::Empty, 1, 0, 0, vec![]));
    maker.push(&record(Kind::Footer, 2, 64, 0, vec![]));
    assert_eq!(maker.block(), None);
    assert_eq!(read(&make(&[], &subject())), (vec![], Some(subject())));
}

#[test]
fn it_is_believed_only_of_exactly_its_volume() {
    let bytes = make(&records(), &subject());
    let len = bytes.len() as u64;
    let believed = |key: &FileKey, demand: Demand| read_with(key, demand, &bytes, len).1.is_some();
    let end = |number, position, offset| Demand { end: Some(Predecessor { number, position, offset }), ..demand() };
    for good in [demand(), end(VOLUME, 8, 900), Demand { floor: 8, ..demand() }] {
        assert!(believed(&KEY, good));
    }
    let bad = [
        ("another store", Demand { store: [2; 16], ..demand() }),
        ("another volume", Demand { volume: VOLUME + 1, ..demand() }),
        ("a volume that was cut", Demand { volume_bytes: 999, ..demand() }),
        ("a volume that has grown", Demand { volume_bytes: 1_001, ..demand() }),
        ("another last position", end(VOLUME, 7, 900)),
        ("another end", end(VOLUME, 8, 901)),
        ("an older state of the volume", Demand { floor: 9, ..demand() }),
    ];
    for (what, demand) in bad {
        assert!(!believed(&KEY, demand), "{what}");
    }
    assert!(!believed(&FileKey([4; 16]), demand()), "another key, as another store has");
    let beyond = Subject { volume_bytes: 899, ..subject() };
    let bytes = make(&records(), &beyond);
    let demand = Demand { volume_bytes: 899, ..demand() };
    assert_eq!(read_with(&KEY, demand, &bytes, bytes.len() as u64).1, None, "an end behind the file");
}

#[test]
fn one_that_is_not_whole_is_not_believed() {
    let bytes = make(&records(), &subject());
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len]).1, None, "cut to {len} bytes");
        assert_eq!(read_with(&KEY, demand(), &bytes[..len], bytes.len() as u64).1, None, "and listed before that");
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let (told, believed) = read(&bytes);
        assert_eq!(believed, None, "byte {at}");
        assert!(told.iter().all(|record| records().contains(record)), "what it told is true");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(read(&longer).1, None);
    // The end alone, and blocks in another order or twice.
    let end = bytes.len() - END_LEN;
    assert_eq!(read(&bytes[end..]).1, None);
    let twice = [&bytes[..end], &bytes].concat();
    assert_eq!(read(&twice).1, None);
    let mut reader = Reader::new(&KEY, demand(), bytes.len() as u64);
    assert!(matches!(reader.advance(), Reading::Read { .. }));
    reader.feed(&Err(DiskError::Denied));
    assert_eq!(reader.advance(), Reading::Unusable);
}

/// Even with the right checksums.
#[test]
fn items_that_no_volume_could_have_are_not_believed() {
    let chunk = |position, offset| record(Kind::Chunk, position, offset, 41, vec![7; 32]);
    let believed = |records: &[Record]| read(&make(records, &subject())).1.is_some();
    assert!(believed(&[chunk(2, 120), chunk(8, 795)]));
    assert!(!believed(&[chunk(9, 120)]), "behind the last position");
    assert!(!believed(&[chunk(8, 796)]), "behind the end");
    assert!(!believed(&[chunk(3, 120), chunk(3, 300)]), "a position twice");
    assert!(!believed(&[chunk(2, 120), chunk(3, 224)]), "on top of each other");
    let with = |change: fn(&mut Record)| {
        let mut record = chunk(2, 120);
        change(&mut record);
        let large = Subject { volume_bytes: u64::MAX, position: u64::MAX, offset: u64::MAX, ..subject() };
        let bytes = make(&[record], &large);
        let demand = Demand { volume_bytes: u64::MAX, ..demand() };
        read_with(&KEY, demand, &bytes, bytes.len() as u64).1.is_some()
    };
    assert!(with(|_| ()));
    assert!(!with(|record| record.header.position = POSITION_MAX + 1));
    assert!(!with(|record| record.header.sequence = SEQUENCE_FOUND_MAX + 1));
    assert!(!with(|record| record.offset = OFFSET_MAX + 1));
    assert!(!with(|record| record.header.body_len = 31), "shorter than its identifier");
    assert!(!with(|record| record.header.body_len = u32::MAX), "longer than a chunk may be");
    assert!(!with(|record| record.covered = vec![7; 31].into()), "cut");
    assert!(!with(|record| record.covered = vec![7; 33].into()), "with something behind it");
    assert!(!with(|record| (record.header.kind, record.covered) = (Kind::MarkedChunk, vec![0; 40].into())), "mark 0");
}

#[test]
fn long_checkpoints_are_read_in_bounded_pieces() {
    let ids =
        |count: u64| (0..count).map(|n| ChunkId::of(&n.to_le_bytes())).collect::<alloc::collections::BTreeSet<_>>();
    let chunks: Vec<ChunkId> = ids(DROP_IDS_MAX as u64).into_iter().collect();
    let body = DropRecord { epoch: 1, from: 1, through: 1, chunks }.encode();
    let body_len = u32::try_from(body.len()).unwrap();
    let mut records = Vec::new();
    let mut offset = 0;
    for position in 1..8_000 {
        let next = if position % 500 == 0 {
            record(Kind::Drop, position, offset, body_len, body.clone())
        } else {
            record(Kind::Chunk, position, offset, 132, position.to_le_bytes().repeat(4))
        };
        offset = next.end();
        records.push(next);
    }
    let subject = Subject { volume_bytes: offset, position: 8_000, offset, ..subject() };
    let bytes = make(&records, &subject);
    assert!(bytes.len() > 3 * STEP_BYTES_MAX);
    let read = read_with(&KEY, Demand { volume_bytes: offset, ..demand() }, &bytes, bytes.len() as u64);
    assert!(read == (records, Some(subject)));
}

fn any_record() -> impl Strategy<Value = (u8, [u8; 32], u64, u32, u64)> {
    (0..4u8, any::<[u8; 32]>(), 1..9u64, 0..500u32, 0..3u64)
}

/// Records of a volume, one after the other.
fn any_records() -> impl Strategy<Value = (Vec<Record>, Subject)> {
    proptest::collection::vec(any_record(), 0..40).prop_map(|drawn| {
        let (mut records, mut position, mut offset) = (Vec::new(), 0, 0);
        for (kind, id, mark, bytes, skip) in drawn {
            position += 1 + skip;
            offset += 64 * skip;
            let chunk = ChunkId::from_bytes(id);
            let marked = MarkRecord { chunk, mark }.encode().to_vec();
            let next = match kind {
                0 => record(Kind::Chunk, position, offset, 32 + bytes, id.to_vec()),
                1 => record(Kind::MarkedChunk, position, offset, 40 + bytes, marked),
                2 => record(Kind::Mark, position, offset, 40, marked),
                _ => {
                    let dropped = DropRecord { epoch: mark, from: 1, through: 1 + skip, chunks: vec![chunk] };
                    record(Kind::Drop, position, offset, 64, dropped.encode())
                }
            };
            offset = next.end();
            records.push(next);
        }
        let subject =
            Subject { store: STORE, volume: VOLUME, volume_bytes: offset + 64, position: position + 1, offset };
        (records, subject)
    })
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn what_is_written_comes_back((records, subject) in any_records()) {
        let bytes = make(&records, &subject);
        let demand = Demand { volume_bytes: subject.volume_bytes, ..demand() };
        let (told, believed) = read_with(&KEY, demand, &bytes, bytes.len() as u64);
        prop_assert_eq!(&told, &records);
        prop_assert_eq!(believed, Some(subject));
        // There is one way to write it down.
        prop_assert_eq!(make(&told, &subject), bytes);
    }

    /// Whatever lies there, even with the right checksums.
    #[test]
    fn any_bytes_are_judged(
        blocks in proptest::collection::vec((0..4u8, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..4),
        (records, subject) in any_records(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        listed in proptest::option::of(0..2_000u64),
    ) {
        let mut bytes = Vec::new();
        for (kind, count, body) in &blocks {
            let mut maker = Maker { offset: bytes.len() as u64, ..Maker::new(&KEY, VOLUME) };
            bytes.extend_from_slice(&maker.frame(*kind, *count % 9, body).1);
        }
        let items = u64::from(blocks.iter().map(|(_, count, _)| count % 9).sum::<u32>());
        let mut maker = Maker { offset: bytes.len() as u64, items, ..Maker::new(&KEY, VOLUME) };
        bytes.extend_from_slice(&maker.frame(END, 0, &subject.encode(items)).1);
        let mut whole = make(&records, &subject);
        for (at, value) in changes {
            let at = at.index(whole.len());
            whole[at] = value;
        }
        let demand = Demand { volume_bytes: subject.volume_bytes, ..demand() };
        for bytes in [bytes, whole] {
            let (told, believed) = read_with(&KEY, demand, &bytes, listed.unwrap_or(bytes.len() as u64));
            if let Some(subject) = believed {
                prop_assert!(told.is_sorted_by(|a, b| a.header.position < b.header.position));
                prop_assert!(told.iter().all(|record| record.end() <= subject.offset));
            }
        }
    }
}
