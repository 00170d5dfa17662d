//! Golden bytes, what comes back, and what is no body.

use super::*;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use crate::disk::testing::fixed_cases;

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; KEY_LEN])
}

fn set(numbers: &[u8]) -> BTreeSet<NodeId> {
    numbers.iter().map(|number| node(*number)).collect()
}

fn joint() -> Membership {
    Membership::from_parts(set(&[1, 2]), set(&[1, 3]), set(&[4]), set(&[3])).unwrap()
}

fn hex(bytes: &[u8]) -> alloc::string::String {
    HEXLOWER.encode(bytes)
}

const ONE: &str = "0101010101010101010101010101010101010101";
const TWO: &str = "0202020202020202020202020202020202020202";
const THREE: &str = "0303030303030303030303030303030303030303";
const FOUR: &str = "0404040404040404040404040404040404040404";

fn golden_joint() -> alloc::string::String {
    ["01000000", "02020101", ONE, TWO, ONE, THREE, FOUR, THREE].concat()
}

/// Golden: journals written today must be readable for ever.
#[test]
fn the_layouts_are_fixed_for_ever() {
    let vote = Vote { term: 7, candidate: Some(node(1)) };
    assert_eq!(hex(&encode_vote(&vote)), ["0700000000000000", "01", ONE].concat());
    let none = "0000000000000000000000000000000000000000";
    assert_eq!(hex(&encode_vote(&Vote { term: 7, candidate: None })), ["0700000000000000", "00", none].concat());
    assert_eq!(hex(&encode_cut(&Cut { after: 5, term: 6 })), "05000000000000000600000000000000");
    let at = "03000000000000000400000000000000";
    let position = Position { term: 3, index: 4 };
    let entry = |payload| hex(&encode_entry(&Entry { position, payload }));
    assert_eq!(entry(Payload::Empty), [at, "00"].concat());
    assert_eq!(entry(Payload::Command(Bytes::from_static(b"abc"))), [at, "01", "616263"].concat());
    assert_eq!(entry(Payload::Membership(Arc::new(joint()))), [at, "02", &golden_joint()].concat());
    let base = Base { position, membership: Arc::new(joint()) };
    assert_eq!(hex(&encode_base(&base)), [at, &golden_joint()].concat());
    assert_eq!(hex(&encode_rely(&[(9, 8)])), "0100000009000000000000000800000000000000");
    let doubt = Some(Doubt { last: Position { term: 1, index: 2 }, term: 8 });
    let last = Position { term: 5, index: 10 };
    let state = State { vote, vote_certain: false, accepted: 6, replicated: true, last, doubt, base };
    let expected = [
        "0700000000000000",
        "01",
        ONE,
        "0600000000000000",
        "07",
        "05000000000000000a00000000000000",
        "01000000000000000200000000000000",
        "0800000000000000",
        at,
        &golden_joint(),
    ];
    assert_eq!(hex(&encode_state(&state)), expected.concat());
}

#[test]
fn bounds_are_those_of_what_they_bound() {
    let membership = Arc::new(Membership::new([node(1)]).unwrap());
    let base = Base { position: Position::ZERO, membership };
    assert_eq!(encode_base(&base).len(), BASE_LEN_MIN);
    assert_eq!(encode_vote(&Vote::default()).len(), VOTE_LEN);
    let many: Vec<u8> = (1..=30).collect();
    let full = Membership::from_parts(set(&many[..7]), set(&many[7..14]), set(&many[14..]), set(&[])).unwrap();
    let base = Base { position: Position::ZERO, membership: Arc::new(full) };
    assert_eq!(encode_base(&base).len(), BASE_LEN_MAX);
    assert_eq!(base.membership.encoded_len(), MEMBERSHIP_LEN_MAX);
    let state = State {
        vote: Vote::default(),
        vote_certain: true,
        accepted: 0,
        replicated: false,
        last: Position::ZERO,
        doubt: None,
        base: base.clone(),
    };
    assert_eq!(encode_state(&state).len(), STATE_LEN_MAX);
    assert_eq!(encode_rely(&[(1, 1); PUT_VOLUMES_MAX]).len(), RELY_LEN_MAX);
    assert_eq!(decode_rely(&encode_rely(&[(1, 1); PUT_VOLUMES_MAX])).unwrap().len(), PUT_VOLUMES_MAX);
}

#[test]
fn what_no_encoder_makes_is_refused() {
    let vote = encode_vote(&Vote { term: 1, candidate: Some(node(1)) });
    let with = |at: usize, byte: u8| {
        let mut bytes = vote.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(decode_vote(&with(8, 2)), Err(BadBody), "neither with nor without a candidate");
    assert_eq!(decode_vote(&with(8, 0)), Err(BadBody), "a candidate that is not there");
    assert_eq!(decode_rely(&[0; 4]), Err(BadBody), "nothing is relied on");
    let entry = |kind, rest: &[u8]| [&[0; 16], &[kind][..], rest].concat();
    assert_eq!(decode_entry(&entry(0, b"x")), Err(BadBody), "an empty entry has no payload");
    assert_eq!(decode_entry(&entry(3, b"")), Err(BadBody));
    let nobody = [1, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode_entry(&entry(2, &nobody)), Err(BadBody), "nobody votes");
    let twice = [&[1, 0, 0, 0, 1, 0, 1, 0][..], &[1; 40]].concat();
    assert_eq!(decode_entry(&entry(2, &twice)), Err(BadBody), "a voter learns");
    let unsorted = [&[1, 0, 0, 0, 2, 0, 0, 0][..], &[2; 20], &[1; 20]].concat();
    assert_eq!(decode_entry(&entry(2, &unsorted)), Err(BadBody));
    let many = [&[1, 0, 0, 0, 8, 0, 0, 0][..], &(1..=8).flat_map(|byte| [byte; 20]).collect::<Vec<u8>>()].concat();
    assert_eq!(decode_entry(&entry(2, &many)), Err(BadBody), "more voters than there may be");
}

fn any_membership() -> impl Strategy<Value = Membership> {
    let subset = |range: core::ops::Range<u8>, max| proptest::collection::btree_set(range, 0..=max);
    let sets = (proptest::collection::btree_set(1..8_u8, 1..=7_usize), subset(1..14, 7), subset(20..40, 8));
    (sets, any::<u8>()).prop_map(|((voters, outgoing, learners), demoted)| {
        let nodes = |set: &BTreeSet<u8>| set.iter().map(|number| node(*number)).collect::<BTreeSet<NodeId>>();
        let leaving: BTreeSet<u8> =
            outgoing.difference(&voters).copied().filter(|node| demoted & (node % 8) != 0).collect();
        Membership::from_parts(nodes(&voters), nodes(&outgoing), nodes(&learners), nodes(&leaving)).unwrap()
    })
}

fn any_position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(term, index)| Position { term, index })
}

fn any_base() -> impl Strategy<Value = Base> {
    (any_position(), any_membership())
        .prop_map(|(position, membership)| Base { position, membership: Arc::new(membership) })
}

fn any_vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), proptest::option::of(any::<u8>().prop_map(node)))
        .prop_map(|(term, candidate)| Vote { term, candidate })
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn bodies_come_back(
        vote in any_vote(),
        base in any_base(),
        numbers in any::<(u64, u64)>(),
        command in proptest::collection::vec(any::<u8>(), 0..50),
        positions in [any_position(), any_position()],
        flags in any::<(bool, bool, u8)>(),
        volumes in proptest::collection::vec(any::<(u64, u64)>(), 1..5),
    ) {
        prop_assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote));
        prop_assert_eq!(decode_base(&encode_base(&base)), Ok(base.clone()));
        let cut = Cut { after: numbers.0, term: numbers.1 };
        prop_assert_eq!(decode_cut(&encode_cut(&cut)), Ok(cut));
        let payload = match flags.2 % 3 {
            0 => Payload::Empty,
            1 => Payload::Command(command.into()),
            _ => Payload::Membership(Arc::clone(&base.membership)),
        };
        let entry = Entry { position: positions[0], payload };
        prop_assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
        prop_assert_eq!(decode_rely(&encode_rely(&volumes)), Ok(volumes));
        let doubt = flags.0.then_some(Doubt { last: positions[1], term: numbers.0 });
        let (replicated, vote_certain) = (flags.1, flags.2 > 99);
        let (accepted, last) = (numbers.1, positions[0]);
        let state = State { vote, vote_certain, accepted, replicated, last, doubt, base };
        prop_assert_eq!(decode_state(&encode_state(&state)), Ok(state));
    }

    /// Bytes that are nearly right, and any others: judged without a panic, and what is a body is the only encoding of
    /// it.
    #[test]
    fn decoding_is_total(
        base in any_base(),
        vote in any_vote(),
        at in any::<usize>(),
        byte in 0..4_u8,
        len in any::<usize>(),
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let (last, doubt) = (base.position, None);
        let state =
            State { vote, vote_certain: true, accepted: 1, replicated: true, last, doubt, base: base.clone() };
        let entry = Entry { position: base.position, payload: Payload::Membership(Arc::clone(&base.membership)) };
        let bodies = [
            encode_vote(&vote),
            encode_base(&base),
            encode_state(&state),
            encode_entry(&entry),
            encode_rely(&[(1, 2), (3, 4)]),
            noise,
        ];
        for mut body in bodies {
            if !body.is_empty() {
                let at = at % body.len();
                body[at] = byte;
            }
            if len % 3 == 0 {
                body.truncate(len % (body.len() + 1));
            } else if len % 3 == 1 {
                body.push(byte);
            }
            prop_assert!(decode_vote(&body).is_err() || encode_vote(&decode_vote(&body).unwrap()) == body);
            prop_assert!(decode_cut(&body).is_err() || encode_cut(&decode_cut(&body).unwrap()) == body);
            prop_assert!(decode_entry(&body).is_err() || encode_entry(&decode_entry(&body).unwrap()) == body);
            prop_assert!(decode_base(&body).is_err() || encode_base(&decode_base(&body).unwrap()) == body);
            prop_assert!(decode_rely(&body).is_err() || encode_rely(&decode_rely(&body).unwrap()) == body);
            prop_assert!(decode_state(&body).is_err() || encode_state(&decode_state(&body).unwrap()) == body);
        }
    }
}
