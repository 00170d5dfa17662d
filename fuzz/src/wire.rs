//! What nodes tell each other: any bytes as a stream of frames, and as messages.

use bytes::Bytes;
use dps_core::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, FRAME_BYTES_MAX};
use dps_core::raft::entry::Entry;
use dps_core::raft::message::{Body, Message as Words};
use dps_core::replica::Message;
use dps_core::wire::control;
use dps_core::wire::frame::{self, FrameError, Frames};
use dps_core::wire::raft;

/// Cuts the bytes into frames in two ways, and takes every message, and the bytes as a whole, for one.
///
/// # Panics
/// When the cuts make a difference, when frames hold more memory than came, or when a message that is accepted is out
/// of bounds or does not come back.
pub fn wire(data: &[u8]) {
    judge(data);
    let (messages, end) = read(data, data.len());
    assert_eq!((&messages, end), (&read(data, 7).0, read(data, 7).1), "cuts make no difference");
    let mut again = Vec::new();
    for message in &messages {
        frame::encode(message, &mut again).expect("a message that came in a frame");
        judge(message);
    }
    assert!(data.starts_with(&again), "frames are written as they are read");
}

/// Every message of a stream that comes in pieces, and how it ended.
fn read(data: &[u8], piece: usize) -> (Vec<Bytes>, Option<FrameError>) {
    let (mut frames, mut messages) = (Frames::new(), Vec::new());
    for mut bytes in data.chunks(piece.max(1)) {
        while !bytes.is_empty() {
            bytes = &bytes[frames.feed(bytes)..];
            assert!(frames.capacity() <= (2 * data.len()).min(FRAME_BYTES_MAX as usize), "memory grows with what came");
            match frames.next() {
                Ok(message) => messages.extend(message),
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn judge(bytes: &[u8]) {
    if let Ok(control) = control::decode(bytes) {
        if let Message::Raft(Words { body: Body::Append { entries, .. }, .. }) = &control {
            let sum: u64 = entries.iter().map(Entry::bytes).sum();
            assert!(entries.len() <= APPEND_ENTRIES_MAX && sum <= APPEND_BYTES_MAX, "one step can take them");
        }
        assert_eq!(control::decode(&control::encode(&control)).as_ref(), Ok(&control), "a message comes back");
    }
    if let Ok(message) = raft::decode(bytes) {
        assert_eq!(raft::decode(&raft::encode(&message)).as_ref(), Ok(&message), "a message comes back");
    }
}
