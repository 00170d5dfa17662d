//! Events and effects of members in the trace.

use std::fmt::Write as _;

use dps_core::replica::event::{Body, Effect, Event, Letter, Message};

use crate::trace::{Brief, TraceHash, Traced, debug, digest_request, digest_result};

impl Traced for Event {
    fn digest(&self, hash: &mut TraceHash) {
        match self {
            Self::Wake => hash.number(1),
            Self::DiskDone { op, result } => digest_result(hash, *op, result),
            Self::Received(message) => {
                hash.number(3);
                digest_message(hash, message);
            }
            Self::Propose { .. }
            | Self::Pass { .. }
            | Self::Change { .. }
            | Self::Read { .. }
            | Self::Transfer { .. }
            | Self::Tight(_)
            | Self::Close => debug(hash, self),
        }
    }

    fn brief(&self) -> String {
        match self {
            Self::DiskDone { op, result } => Brief::result(*op, result),
            Self::Received(message) => format!("received {}", brief_message(message)),
            Self::Wake
            | Self::Propose { .. }
            | Self::Pass { .. }
            | Self::Change { .. }
            | Self::Read { .. }
            | Self::Transfer { .. }
            | Self::Tight(_)
            | Self::Close => format!("{self:?}"),
        }
    }
}

impl Traced for Effect {
    fn digest(&self, hash: &mut TraceHash) {
        match self {
            Self::Disk { op, request } => digest_request(hash, *op, request),
            Self::Send(message) => {
                hash.number(6);
                digest_message(hash, message);
            }
            Self::Decided { .. }
            | Self::Passed { .. }
            | Self::Changed { .. }
            | Self::Readable { .. }
            | Self::Closed
            | Self::Note(_)
            | Self::Halt(_) => debug(hash, self),
        }
    }

    fn brief(&self) -> String {
        match self {
            Self::Disk { op, request } => Brief::request(*op, request),
            Self::Send(message) => format!("send {}", brief_message(message)),
            Self::Note(note) => format!("note: {note}"),
            Self::Decided { .. }
            | Self::Passed { .. }
            | Self::Changed { .. }
            | Self::Readable { .. }
            | Self::Closed
            | Self::Halt(_) => format!("{self:?}"),
        }
    }
}

fn digest_message(hash: &mut TraceHash, message: &Message) {
    match message {
        Message::Raft(message) => {
            let _ = write!(hash, "{message:?}");
        }
        Message::Member(Letter { from, incarnation, to, body: Body::Part { asker, piece, bytes } }) => {
            debug(hash, &(from, incarnation, to, asker, piece));
            hash.body(bytes);
        }
        Message::Member(letter) => debug(hash, letter),
    }
}

/// A name for a host by which people know it: the first byte of its identifier, less one.
fn brief_message(message: &Message) -> String {
    let host = |id: dps_core::id::NodeId| id.as_bytes()[0].wrapping_sub(1);
    let (from, to) = (host(message.from()), host(message.to()));
    match message {
        Message::Raft(message) => {
            format!("{from} to {to} of start {} in term {}: {:?}", message.incarnation, message.term, message.body)
        }
        Message::Member(Letter { incarnation, body: Body::Part { piece, bytes, .. }, .. }) => {
            let (index, offset) = (piece.index, piece.offset);
            format!(
                "{from} to {to} of start {incarnation}: {} bytes of snapshot {index} from byte {offset}",
                bytes.len()
            )
        }
        Message::Member(Letter { incarnation, body, .. }) => format!("{from} to {to} of start {incarnation}: {body:?}"),
    }
}
