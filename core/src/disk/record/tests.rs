//! Golden bytes, and what is no record.

use super::*;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

fn stamp() -> Stamp {
    Stamp::new(&FileKey([3; 16]), FileKind::Journal, 7)
}

fn entry(body: &[u8]) -> (Header, Vec<u8>) {
    let body_len = u32::try_from(body.len()).unwrap();
    let header = Header { kind: Kind::Entry, boot: 2, position: 5, sequence: 0, durable_through: 4, body_len };
    let mut bytes = Vec::new();
    header.encode(&stamp(), 640, body, &mut bytes);
    (header, bytes)
}

/// Golden: stores written today must be readable for ever.
#[test]
fn the_layout_is_fixed_for_ever() {
    let (_, bytes) = entry(b"body");
    let expected = concat!(
        "6470734a01050000",
        "0700000000000000",
        "0200000000000000",
        "0500000000000000",
        "0000000000000000",
        "0400000000000000",
        "66894a926174da7f",
        "04000000aadd8183",
        "626f6479"
    );
    assert_eq!(HEXLOWER.encode(&bytes), expected);
}

#[test]
fn a_record_comes_back_and_asks_for_what_it_needs() {
    let (header, bytes) = entry(b"body");
    assert_eq!(parse(&stamp(), 640, &bytes), Parsed::Record(header));
    assert_eq!(parse(&stamp(), 640, &bytes[..66]), Parsed::Need(68));
    assert_eq!(parse(&stamp(), 640, &bytes[..63]), Parsed::Need(64));
    assert_eq!(parse(&stamp(), 640, b""), Parsed::Need(64));
    assert_eq!(parse(&stamp(), 640, b"dqs"), Parsed::Broken);
}

#[test]
fn any_flipped_bit_breaks_a_record() {
    let (_, bytes) = entry(b"some body");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!matches!(parse(&stamp(), 640, &flipped), Parsed::Record(_)), "bit {bit}");
    }
}

#[test]
fn a_record_of_another_place_file_store_or_kind_is_broken() {
    let (_, bytes) = entry(b"body");
    assert_eq!(parse(&stamp(), 641, &bytes), Parsed::Broken);
    let key = FileKey([3; 16]);
    assert_eq!(parse(&Stamp::new(&key, FileKind::Journal, 8), 640, &bytes), Parsed::Broken);
    assert_eq!(parse(&Stamp::new(&key, FileKind::Volume, 7), 640, &bytes), Parsed::Broken);
    assert_eq!(parse(&Stamp::new(&FileKey([4; 16]), FileKind::Journal, 7), 640, &bytes), Parsed::Broken);
}

#[test]
fn a_chunk_record_covers_its_identifier_and_not_its_bytes() {
    let id = ChunkId::of(b"chunk");
    let stamp = Stamp::new(&FileKey([3; 16]), FileKind::Volume, 1);
    let header = Header { kind: Kind::Chunk, boot: 1, position: 2, sequence: 9, durable_through: 0, body_len: 32 + 5 };
    let mut bytes = Vec::new();
    header.encode(&stamp, 0, id.as_bytes(), &mut bytes);
    assert_eq!(bytes.len(), HEADER_LEN + CHUNK_PREFIX_LEN);
    assert_eq!(parse(&stamp, 0, &bytes), Parsed::Record(header));
    assert_eq!(chunk_id(&bytes[HEADER_LEN..]), Some(id));
    assert_eq!(header.record_len(), 101);
}

#[test]
fn the_codes_of_kinds_are_fixed_for_ever() {
    let kinds: Vec<Kind> = (0..=u8::MAX).filter_map(Kind::from_code).collect();
    let known =
        [Kind::Head, Kind::Footer, Kind::Empty, Kind::Chunk, Kind::Entry, Kind::MarkedChunk, Kind::Mark, Kind::Drop];
    let of_raft = [Kind::Vote, Kind::Cut, Kind::Log, Kind::Base, Kind::Rely, Kind::State];
    assert_eq!(kinds, [&known[..], &of_raft].concat());
    assert!(kinds.iter().map(|kind| kind.code()).eq(1..=14));
    assert!(known.iter().all(|kind| kind.may_be_in(FileKind::Volume)), "as they ever were");
    assert!(!of_raft.iter().any(|kind| kind.may_be_in(FileKind::Volume)));
    assert!(kinds.iter().all(|kind| kind.may_be_in(FileKind::Journal)));
}

#[test]
fn a_head_comes_back() {
    let predecessor = Predecessor { number: 6, position: 40, offset: 4_000 };
    let head = Head { predecessor, store: [1; 16], boot_random: [2; 16] };
    assert_eq!(Head::decode(&head.encode()), Some(head));
    assert_eq!(Head::decode(&head.encode()[..55]), None);
}

proptest! {
    #[test]
    fn parsing_is_total(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        if magic && bytes.len() >= 6 {
            bytes[..6].copy_from_slice(b"dpsJ\x01\x05");
        }
        let parsed = parse(&stamp(), 640, &bytes);
        prop_assert!(!matches!(parsed, Parsed::Record(_)));
    }
}
