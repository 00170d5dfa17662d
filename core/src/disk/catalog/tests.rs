//! The catalog as bytes, and which of two counts.

use super::*;
use proptest::prelude::*;

const STORE: [u8; 16] = [7; 16];

fn catalog(number: u64, next: u64, volumes: &[u64]) -> Catalog {
    let volumes = volumes.iter().map(|volume| (*volume, (10 * volume, 1_000 * volume))).collect();
    Catalog { kind: FileKind::Volume, store: STORE, number, next, volumes }
}

fn read(slots: [Option<&[u8]>; 2]) -> (Option<Catalog>, bool, usize) {
    let mut reading = Reading::new(FileKind::Volume, STORE);
    let mut notes = 0;
    loop {
        match reading.advance() {
            ReadStep::Disk(DiskRequest::Read { file, offset: 0, .. }) => {
                let at = usize::from(file == File::Slot(Slot::CatalogOdd));
                let bytes = slots[at].map(Bytes::copy_from_slice).ok_or(DiskError::NotFound);
                reading.done(&bytes.map(DiskReply::Read));
            }
            ReadStep::Disk(request) => panic!("{request:?}"),
            ReadStep::Note(_) => notes += 1,
            ReadStep::Known { catalog, alone } => return (catalog, alone, notes),
        }
    }
}

#[test]
fn golden_bytes() {
    let bytes = catalog(5, 9, &[2]).encode();
    assert_eq!(&bytes[..12], b"dpsC\x01\0\0\0\x40\0\0\0");
    assert_eq!(bytes[12..28], STORE);
    assert_eq!(bytes[28..44], [5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[44..52], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[52..60], 2_u64.to_le_bytes());
    assert_eq!(bytes[60..68], 20_u64.to_le_bytes());
    assert_eq!(bytes[68..76], 2_000_u64.to_le_bytes());
    assert_eq!(bytes.len(), 80);
}

#[test]
fn what_it_does_not_name_below_its_next_number_is_gone() {
    let catalog = catalog(1, 6, &[2, 5]);
    let removed: Vec<u64> = (0..10).filter(|volume| catalog.is_removed(*volume)).collect();
    assert_eq!(removed, [0, 1, 3, 4]);
    assert_eq!(catalog.end(5), Some(Predecessor { number: 5, position: 50, offset: 5_000 }));
    assert_eq!(catalog.end(4), None);
    let ends = [(2, (0, 0)), (5, (50, GOES_ON))].into();
    let catalog = Catalog { volumes: ends, ..catalog };
    assert_eq!(catalog.end(2), Some(Predecessor { number: 2, position: 0, offset: 0 }), "nothing of it counts");
    assert_eq!(catalog.end(5), None);
}

#[test]
fn of_two_slots_the_larger_number_counts() {
    let (four, five, six) = (catalog(4, 9, &[2]).encode(), catalog(5, 9, &[3]).encode(), catalog(6, 9, &[4]).encode());
    assert_eq!(read([None, None]), (None, false, 0));
    assert_eq!(read([Some(&four), Some(&five)]).0, Some(catalog(5, 9, &[3])));
    assert_eq!(read([Some(&six), Some(&five)]).0, Some(catalog(6, 9, &[4])));
    let first = catalog(1, 9, &[2]).encode();
    assert_eq!(read([None, Some(&first)]), (Some(catalog(1, 9, &[2])), true, 0));
}

#[test]
fn one_slot_is_alone_until_the_other_knows_what_is_gone() {
    let four = catalog(4, 10, &[2, 3, 9]).encode();
    for (five, alone, what) in [
        (catalog(5, 10, &[2, 9]), true, "the even one names volume 3"),
        (catalog(5, 12, &[2, 3, 9, 11]), true, "the even one does not know that there was a volume 10"),
        (catalog(5, 12, &[2, 3, 9, 10, 11]), false, "nothing went since"),
        (catalog(5, 10, &[2, 3, 9]), false, "the same"),
    ] {
        assert_eq!(read([Some(&four), Some(&five.encode())]).1, alone, "{what}");
        let again = five.again();
        assert_eq!((again.number, again.slot()), (6, Slot::CatalogEven));
        assert!(!read([Some(&again.encode()), Some(&five.encode())]).1, "published again");
    }
}

#[test]
fn a_slot_that_is_lost_is_told_and_the_other_one_serves() {
    let (four, five) = (catalog(4, 9, &[2]).encode(), catalog(5, 9, &[3]).encode());
    assert_eq!(read([Some(&four), None]), (Some(catalog(4, 9, &[2])), true, 1));
    assert_eq!(read([None, Some(&five)]), (Some(catalog(5, 9, &[3])), true, 1));
    assert_eq!(read([Some(&four), Some(&five[..20])]), (Some(catalog(4, 9, &[2])), true, 1));
    assert_eq!(read([Some(b""), Some(b"")]), (None, false, 2));
    let foreign = Catalog { store: [8; 16], ..catalog(8, 9, &[]) }.encode();
    assert_eq!(read([Some(&foreign), Some(&five)]), (Some(catalog(5, 9, &[3])), true, 1), "of another store");
}

#[test]
fn any_flipped_bit_and_any_other_length_is_refused() {
    let bytes = catalog(3, 9, &[1, 4, 8]).encode();
    for at in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        assert_eq!(Catalog::decode(FileKind::Volume, &STORE, &bytes), None, "bit {at}");
    }
    for len in 0..bytes.len() {
        assert_eq!(Catalog::decode(FileKind::Volume, &STORE, &bytes[..len]), None);
    }
    assert_eq!(Catalog::decode(FileKind::Volume, &STORE, &[&bytes[..], &[0]].concat()), None);
}

/// Bytes with a checksum that fits.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn what_the_checksum_covers_is_judged_too() {
    let whole = catalog(3, 9, &[1, 4]).encode();
    let sound = whole[..whole.len() - 4].to_vec();
    assert!(Catalog::decode(FileKind::Volume, &STORE, &signed(sound.clone())).is_some());
    for (at, value, what) in [
        (4, 2, "another version"),
        (5, 1, "a byte that is zero"),
        (28, 0, "number 0"),
        (36, 4, "a volume at the next number"),
        (35, 128, "a number without a next one"),
        (43, 128, "a next volume without a next one"),
        (44, 1, "a wrong count"),
        (48, 1, "a byte that is zero"),
        (52, 4, "a volume twice"),
        (52, 5, "volumes out of order"),
    ] {
        let mut bytes = sound.clone();
        bytes[at] = value;
        assert_eq!(Catalog::decode(FileKind::Volume, &STORE, &signed(bytes)), None, "{what}");
    }
}

proptest! {
    #[test]
    fn a_catalog_comes_back_from_its_bytes(
        number in 1..=NUMBER_MAX,
        volumes in prop::collection::btree_map(0..NUMBER_MAX, (any::<u64>(), any::<u64>()), 0..20),
        above in any::<prop::sample::Index>(),
    ) {
        let last = volumes.last_key_value().map_or(0, |(last, _)| last + 1);
        let next = last + above.index(usize::try_from((NUMBER_MAX - last).min(1 << 40)).unwrap() + 1) as u64;
        let catalog = Catalog { kind: FileKind::Volume, store: STORE, number, next, volumes };
        prop_assert_eq!(Catalog::decode(FileKind::Volume, &STORE, &catalog.encode()), Some(catalog));
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), sign in any::<bool>()) {
        let bytes = if sign { signed([&magic(FileKind::Volume)[..], &[VERSION], &bytes].concat()) } else { bytes };
        if let Some(catalog) = Catalog::decode(FileKind::Volume, &STORE, &bytes) {
            prop_assert_eq!(catalog.encode(), bytes);
        }
    }
}

/// The same bytes under another magic, so that nobody takes one for the other.
#[test]
fn segments_have_a_catalog_of_their_own() {
    let volumes = catalog(5, 9, &[2]);
    let segments = Catalog { kind: FileKind::Journal, ..volumes.clone() };
    let bytes = segments.encode();
    assert_eq!((&bytes[..4], &bytes[4..76]), (&b"dpsG"[..], &volumes.encode()[4..76]));
    assert_eq!(Catalog::decode(FileKind::Journal, &STORE, &bytes), Some(segments.clone()));
    assert_eq!(Catalog::decode(FileKind::Volume, &STORE, &bytes), None);
    assert_eq!(Catalog::decode(FileKind::Journal, &STORE, &volumes.encode()), None);
    assert_eq!((segments.slot(), segments.again().slot()), (Slot::JournalOdd, Slot::JournalEven));
}
