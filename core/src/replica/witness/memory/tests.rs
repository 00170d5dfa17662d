//! The slots: golden bytes, any bytes, and which of two counts.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

const STORE: [u8; 16] = [5; 16];

const fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; KEY_LEN])
}

fn any_memory() -> impl Strategy<Value = Memory> {
    let record = (any::<[u64; 4]>(), any::<[u8; 16]>()).prop_map(|([boot, term, index, last], random)| Record {
        boot,
        random,
        end: Position { term, index },
        term: last,
    });
    let nodes = prop::collection::btree_map(any::<u8>().prop_map(node), record, 0..=WITNESSED_MAX);
    let because = prop_oneof![
        any::<u64>().prop_map(|known| Because::EarlierStart { known }),
        any::<[u64; 2]>().prop_map(|[term, index]| Because::ShorterLog { acknowledged: Position { term, index } }),
        any::<u64>().prop_map(|told| Because::EarlierTerm { told }),
    ];
    let verdict = (any::<u8>().prop_map(node), because).prop_map(|(by, because)| Verdict { by, because });
    let all = (1..=NUMBER_MAX, nodes, prop::option::of(verdict));
    all.prop_map(|(number, nodes, verdict)| Memory { number, nodes, verdict })
}

proptest! {
    #[test]
    fn every_memory_comes_back(memory in any_memory()) {
        prop_assert_eq!(Memory::decode(&STORE, &memory.encode(&STORE)), Some(memory));
    }

    #[test]
    fn harm_is_noticed(
        memory in any_memory(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = memory.encode(&STORE);
        prop_assert_eq!(Memory::decode(&STORE, &bytes[..end.index(bytes.len())]), None);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(Memory::decode(&STORE, &bytes), None);
    }
}

const RECORD: Record = Record { boot: 3, random: [9; 16], end: Position { term: 4, index: 7 }, term: 6 };

/// Golden: what one version has written another one reads.
#[test]
fn the_bytes_never_change() {
    let memory = Memory { number: 2, nodes: [(node(1), RECORD)].into(), verdict: None };
    let number = |number: u8| format!("{number:02x}{}", "00".repeat(7));
    let (store, id, random) = ("05".repeat(16), "01".repeat(20), "09".repeat(16));
    let head = format!("647073570100000064000000{store}{}0100000000000000", number(2));
    let body = [head, id, number(3), random, number(4), number(7), number(6)].concat();
    let bytes = memory.encode(&STORE);
    let (covered, crc) = bytes.split_at(bytes.len() - 4);
    assert_eq!(HEXLOWER.encode(covered), body);
    assert_eq!(crc, crc32fast::hash(covered).to_le_bytes());
    assert_eq!(Memory::decode(&[6; 16], &bytes), None, "of another store");
}

/// Golden as well.
#[test]
fn the_bytes_of_a_verdict_never_change() {
    let number = |number: u8| format!("{number:02x}{}", "00".repeat(7));
    let told = |because| {
        let memory = Memory { number: 2, nodes: BTreeMap::new(), verdict: Some(Verdict { by: node(7), because }) };
        let bytes = memory.encode(&STORE);
        HEXLOWER.encode(&bytes[..bytes.len() - 4])
    };
    let head = |kind: u8| {
        format!("647073570100000044000000{}{}00000000{kind:02x}000000{}", "05".repeat(16), number(2), "07".repeat(20))
    };
    let shorter = Because::ShorterLog { acknowledged: Position { term: 4, index: 9 } };
    assert_eq!(told(Because::EarlierStart { known: 3 }), head(1) + &number(3) + &number(0));
    assert_eq!(told(shorter), head(2) + &number(4) + &number(9));
    assert_eq!(told(Because::EarlierTerm { told: 6 }), head(3) + &number(6) + &number(0));
}

#[test]
fn the_newest_slot_that_is_whole_counts() {
    let memory = |number| Some(Memory { number, nodes: [(node(1), RECORD)].into(), verdict: None });
    let read = |slots: [Option<Memory>; 2], rotten: Option<usize>| {
        let mut reading = Reading::new(STORE);
        let mut damaged = Vec::new();
        for (at, slot) in slots.into_iter().enumerate() {
            assert!(reading.advance().is_some());
            let result = match slot {
                _ if rotten == Some(at) => Ok(DiskReply::Read(Bytes::from_static(b"rot"))),
                Some(memory) => Ok(DiskReply::Read(memory.encode(&STORE).into())),
                None => Err(DiskError::NotFound),
            };
            damaged.extend(reading.done(&result).map(|file| file.to_string()));
        }
        assert_eq!(reading.advance(), None);
        (reading.into_memory().number, damaged)
    };
    assert_eq!(read([None, None], None), (0, Vec::new()));
    assert_eq!(read([memory(4), memory(3)], None), (4, Vec::new()));
    assert_eq!(read([memory(4), memory(5)], None), (5, Vec::new()));
    let odd = Vec::from([String::from("memory of other members (odd)")]);
    assert_eq!(read([memory(4), memory(5)], Some(1)), (4, odd));
}
