//! Frames in any cuts, and lengths that can't be.

use alloc::vec;

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

const MAX: usize = FRAME_BYTES_MAX as usize;

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        encode(message, &mut stream).expect("a message within the bounds");
    }
    stream
}

/// Feeds everything, takes every message, and stops where the stream fails.
fn read(frames: &mut Frames, mut bytes: &[u8], messages: &mut Vec<Bytes>) -> Result<(), FrameError> {
    loop {
        let taken = frames.feed(bytes);
        bytes = &bytes[taken..];
        let next = frames.next()?;
        assert!(taken > 0 || next.is_some() || bytes.is_empty(), "it goes on as long as there is something");
        match next {
            Some(message) => messages.push(message),
            None if bytes.is_empty() => return Ok(()),
            None => {}
        }
    }
}

#[test]
fn a_frame_has_its_golden_bytes() {
    let stream = framed(&[b"abc".to_vec(), vec![0xff]]);
    assert_eq!(HEXLOWER.encode(&stream), "0300000061626301000000ff");
}

#[test]
fn the_longest_message_passes_and_one_byte_more_does_not() {
    let longest = vec![7; MAX];
    let mut messages = Vec::new();
    read(&mut Frames::new(), &framed(core::slice::from_ref(&longest)), &mut messages).unwrap();
    assert_eq!(messages, [longest]);

    let (mut out, bytes) = (vec![9], MAX as u64 + 1);
    assert_eq!(encode(&vec![7; MAX + 1], &mut out), Err(FrameError::TooLong { bytes }));
    assert_eq!(encode(&[], &mut out), Err(FrameError::Empty));
    assert_eq!(out, [9], "nothing is appended");
    let mut frames = Frames::new();
    let header = (FRAME_BYTES_MAX + 1).to_le_bytes();
    assert_eq!(read(&mut frames, &header, &mut messages), Err(FrameError::TooLong { bytes }));
}

#[test]
fn a_length_that_can_not_be_ends_the_stream_for_ever_and_allocates_nothing() {
    for (len, error) in [
        (0, FrameError::Empty),
        (FRAME_BYTES_MAX + 1, FrameError::TooLong { bytes: u64::from(FRAME_BYTES_MAX) + 1 }),
        (u32::MAX, FrameError::TooLong { bytes: u64::from(u32::MAX) }),
    ] {
        let mut frames = Frames::new();
        let mut messages = Vec::new();
        let stream = [framed(&[b"good".to_vec()]), len.to_le_bytes().to_vec(), framed(&[b"late".to_vec()])].concat();
        assert_eq!(read(&mut frames, &stream, &mut messages), Err(error));
        assert_eq!(messages, [&b"good"[..]], "what came before counts");
        assert_eq!(frames.capacity(), 0);
        for _ in 0..2 {
            assert_eq!((frames.next(), frames.next()), (Err(error), Err(error)));
            assert_eq!(frames.feed(b"anything"), 0);
        }
        assert!(!frames.is_at_boundary());
    }
}

#[test]
fn memory_grows_with_what_came_and_not_with_what_was_announced() {
    let mut frames = Frames::new();
    assert_eq!(frames.feed(&FRAME_BYTES_MAX.to_le_bytes()), HEADER_LEN);
    assert_eq!(frames.capacity(), 0, "a length alone allocates nothing");
    let mut fed = 0;
    while fed < MAX {
        let piece = vec![1; 1_000.min(MAX - fed)];
        assert_eq!(frames.feed(&piece), piece.len());
        fed += piece.len();
        assert!(frames.capacity() <= (2 * fed).min(MAX), "{} bytes for {fed}", frames.capacity());
    }
    // A whole frame waits: nothing more is taken, whatever comes.
    assert_eq!(frames.feed(&[0; 64]), 0);
    assert_eq!(frames.next().unwrap().map(|message| message.len()), Some(MAX));
    assert_eq!((frames.next(), frames.capacity()), (Ok(None), 0));
}

#[test]
fn a_stream_may_end_between_frames_only() {
    let stream = framed(&[b"abc".to_vec()]);
    let mut frames = Frames::new();
    assert!(frames.is_at_boundary());
    for byte in &stream {
        assert_eq!(frames.feed(core::slice::from_ref(byte)), 1);
        assert!(!frames.is_at_boundary());
    }
    assert_eq!(frames.next(), Ok(Some(Bytes::from_static(b"abc"))));
    assert!(frames.is_at_boundary());
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_messages(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let stream = framed(&messages);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let (mut frames, mut found, mut start) = (Frames::new(), Vec::new(), 0);
        for end in ends {
            prop_assert_eq!(read(&mut frames, &stream[start..end], &mut found), Ok(()));
            start = end;
        }
        prop_assert_eq!(found, messages);
        prop_assert!(frames.is_at_boundary());
    }

    /// Any bytes are judged without panic, and what comes out, framed again, is how they begin.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..400)) {
        let (mut frames, mut found) = (Frames::new(), Vec::new());
        let end = read(&mut frames, &bytes, &mut found);
        let again = framed(&found.iter().map(|message| message.to_vec()).collect::<Vec<_>>());
        prop_assert!(bytes.starts_with(&again));
        prop_assert!(end.is_err() || frames.is_at_boundary() == (again.len() == bytes.len()));
        prop_assert!(frames.capacity() <= 2 * bytes.len());
    }
}
