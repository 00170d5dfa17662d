//! The envelope: its kinds, and what it is when there is none that is known.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::wire::frame::{self, Frames};
use crate::wire::raft::tests::{any_message, largest, sample};

#[test]
fn an_envelope_is_its_kind_and_the_message() {
    for body in sample::bodies() {
        let message = sample::message(body);
        let inner = raft::encode(&message);
        let envelope = encode(&Message::Raft(message.clone()));
        assert_eq!(envelope[0], 0x0a, "field 1, with a length");
        assert!(envelope.ends_with(&inner));
        assert_eq!(decode(&envelope), Ok(Message::Raft(message)));
    }
}

#[test]
fn a_kind_that_is_not_known_is_told_and_one_that_is_missing_too() {
    // Kind 9 with three bytes, kind 15 as a number, kind 200 with nothing.
    for (bytes, kind) in [(&[0x4a, 3, 1, 2, 3][..], 9), (&[0x78, 5], 15), (&[0xc2, 0x0c, 0], 200)] {
        assert_eq!(decode(bytes), Err(WireError::UnknownKind(kind)));
    }
    assert_eq!(decode(&[]), Err(WireError::Missing("kind")));
    // What a later version adds beside a known kind is skipped.
    let control = Message::Raft(sample::message(sample::bodies()[0].clone()));
    let later = [encode(&control), vec![0xc2, 0x0c, 1, 7]].concat();
    assert_eq!(decode(&later), Ok(control));
}

#[test]
fn what_protobuf_does_not_allow_is_malformed() {
    for bytes in [
        &[0x0a][..],                                                               // no length
        &[0x0a, 2, 0],                                                             // a length past the end
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],       // the largest length
        &[0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], // a length of eleven bytes
        &[0x02, 0],                                                                // field 0
        &[0x0b, 0x0c],                                                             // a group
        &[0x13, 0x14],                                                             // one that is not known
        &[0x0f],                                                                   // no such wire type
        &[0x08, 1],                                                                // a number in place of a message
        &[0x4a, 0, 0x0a],                                                          // behind a field that is not known
    ] {
        assert_eq!(decode(bytes), Err(WireError::Malformed), "{bytes:x?}");
    }
}

#[test]
fn the_largest_message_fits_a_frame() {
    for message in largest() {
        let control = Message::Raft(message);
        let mut stream = Vec::new();
        frame::encode(&encode(&control), &mut stream).expect("every message within the bounds fits");
        let mut frames = Frames::new();
        assert_eq!(frames.feed(&stream), stream.len());
        let bytes = frames.next().unwrap().expect("it is whole");
        assert_eq!(decode(&bytes), Ok(control));
    }
}

proptest! {
    #[test]
    fn every_message_comes_back(message in any_message()) {
        let control = Message::Raft(message);
        prop_assert_eq!(decode(&encode(&control)), Ok(control));
    }

    /// Any bytes, and messages of which some bytes were changed, are judged without panic; what is accepted comes back.
    #[test]
    fn any_bytes_are_judged(
        message in any_message(),
        harm in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = encode(&Message::Raft(message));
        for (at, byte) in harm {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let cut = &bytes[..end.index(bytes.len() + 1)];
        for bytes in [&bytes[..], cut, &junk, &[cut, &junk].concat()] {
            if let Ok(control) = decode(bytes) {
                prop_assert_eq!(decode(&encode(&control)), Ok(control));
            }
            let _ = raft::decode(bytes);
        }
    }
}
