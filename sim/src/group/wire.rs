//! Messages as bytes: what a message weighs on the network, and that its bytes say the same.

use dps_core::replica::event::{Body as Says, Message};
use dps_core::wire::control;

use crate::check::Findings;

/// Every so many messages one is encoded and decoded.
const SAMPLED: u64 = 16;

/// Bytes of a message that is not encoded: about what the encoding takes.
fn guessed(message: &Message) -> u64 {
    use dps_core::raft::message::Body;
    match message {
        Message::Raft(message) => match &message.body {
            Body::Append { entries, .. } => 90 + entries.iter().map(|entry| 8 + entry.bytes()).sum::<u64>(),
            Body::Install { .. } => 200,
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Vote { .. }
            | Body::VoteReply { .. }
            | Body::AppendReply { .. }
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::Read { .. }
            | Body::ReadReply { .. }
            | Body::TimeoutNow { .. }
            | Body::Survey { .. }
            | Body::SurveyReply { .. }
            | Body::Stale => 60,
        },
        Message::Member(letter) => match &letter.body {
            Says::Ask(_) | Says::Unfit(_) => 100,
            Says::Propose { .. } => 300,
            Says::Proposed { .. } | Says::Wanted { .. } => 80,
            Says::Part { bytes, .. } => 110 + bytes.len() as u64,
            Says::Offered { .. } => 200,
            Says::Meet(_) => 120,
        },
    }
}

/// What a message weighs. One of some is encoded, decoded and compared.
pub(crate) fn bytes_of(message: &Message, number: u64, at: u64, findings: &mut Findings) -> u64 {
    if number.is_multiple_of(SAMPLED) {
        let bytes = control::encode(message);
        if control::decode(&bytes).as_ref() != Ok(message) {
            findings.correctness("W1", at, format!("{message:?} comes back as {:?}", control::decode(&bytes)));
        }
    }
    guessed(message)
}

/// A bit of a message flips. Whoever decodes that must not panic; the transport would have dropped it before.
pub(crate) fn judge_corrupt(message: &Message, entropy: u64) {
    let mut bytes = control::encode(message);
    let bit = entropy % (8 * bytes.len() as u64).max(1);
    if let Some(byte) = bytes.get_mut(usize::try_from(bit / 8).expect("a position in memory")) {
        *byte ^= 1 << (bit % 8);
    }
    let _ = control::decode(&bytes);
}
