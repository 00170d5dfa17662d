//! Bodies of the journal's records. Numbers are little-endian; a layout has exactly its length, and whatever no encoder
//! makes is refused.
//!
//! | kind | layout |
//! |---|---|
//! | vote (9) | term 8, whether there is a candidate 1, candidate 20 (else zero) |
//! | cut (10) | last index that stays 8, leader's term 8 |
//! | entry of the log (11) | term 8, index 8, kind 1 (0 empty, 1 command, 2 membership), payload |
//! | base (12) | term 8, index 8, membership |
//! | positions relied on (13) | count 4, and for each its volume 8 and position 8 |
//! | state (14) | vote 29, accepted term 8, flags 1 (1 replicated, 2 doubt, 4 a newer vote may be lost), last term 8 and index 8, doubtful term 8, index 8 and largest term 8 (else zero), base term 8 and index 8, membership |
//!
//! A membership: version (1), zero (3), numbers of voters, outgoing, learners and demoted (1 each), then the nodes of
//! each in ascending order (20 each).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Doubt;
use crate::id::{KEY_LEN, NodeId};
use crate::layout::{Reader, Truncated};
use crate::limits::{ENTRY_PAYLOAD_BYTES_MAX, LEARNERS_MAX, PUT_VOLUMES_MAX, VOTERS_MAX};
use crate::raft::entry::{Entry, Payload, Position};
use crate::raft::membership::Membership;
use crate::raft::{Base, Cut, Vote};

/// Bytes of a vote.
pub const VOTE_LEN: usize = 9 + KEY_LEN;

/// Bytes of a cut.
pub const CUT_LEN: usize = 16;

/// Bytes of an entry without its payload.
pub const LOG_LEN_MIN: usize = POSITION_LEN + 1;

/// Bytes of a base with one voter.
pub const BASE_LEN_MIN: usize = POSITION_LEN + MEMBERSHIP_LEN_MIN;

/// No base is longer, in bytes.
pub const BASE_LEN_MAX: usize = POSITION_LEN + MEMBERSHIP_LEN_MAX;

/// Bytes of positions relied on, with one volume.
pub const RELY_LEN_MIN: usize = 4 + RELIED_LEN;

/// No positions relied on are longer, in bytes.
pub const RELY_LEN_MAX: usize = 4 + RELIED_LEN * PUT_VOLUMES_MAX;

/// Bytes of a state with one voter.
pub const STATE_LEN_MIN: usize = STATE_FIXED_LEN + BASE_LEN_MIN;

/// No state is longer, in bytes.
pub const STATE_LEN_MAX: usize = STATE_FIXED_LEN + BASE_LEN_MAX;

const POSITION_LEN: usize = 16;
const RELIED_LEN: usize = 16;
const STATE_FIXED_LEN: usize = VOTE_LEN + 9 + POSITION_LEN + POSITION_LEN + 8;
const MEMBERSHIP_VERSION: u8 = 1;
const MEMBERSHIP_FIXED_LEN: usize = 8;
const MEMBERSHIP_LEN_MIN: usize = MEMBERSHIP_FIXED_LEN + KEY_LEN;
const MEMBERSHIP_LEN_MAX: usize = MEMBERSHIP_FIXED_LEN + KEY_LEN * (2 * VOTERS_MAX + LEARNERS_MAX);

const EMPTY: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

const REPLICATED: u8 = 1;
const DOUBTFUL: u8 = 2;
const VOTE_UNCERTAIN: u8 = 4;

/// Bytes that are no body of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no body of such a record")]
pub struct BadBody;

impl From<Truncated> for BadBody {
    fn from(_: Truncated) -> Self {
        Self
    }
}

/// What the records before it come to, but for entries and positions relied on. The first record of every segment after
/// its head, so that older segments can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The newest term and the vote in it.
    pub vote: Vote,
    /// Whether no newer one may have been lost.
    pub vote_certain: bool,
    /// The largest term whose leader this log was accepted from (rule R1).
    pub accepted: u64,
    /// Whether the log was ever meant for more than one node (rule R2).
    pub replicated: bool,
    /// The last entry of the log.
    pub last: Position,
    /// What may have followed, if that is open (rule R2).
    pub doubt: Option<Doubt>,
    /// Where the log begins.
    pub base: Base,
}

/// The body of a vote.
#[must_use]
pub fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut body = Vec::with_capacity(VOTE_LEN);
    put_vote(vote, &mut body);
    body
}

/// Reads the layout of [`encode_vote`]. Total.
///
/// # Errors
/// The bytes are none.
pub fn decode_vote(body: &[u8]) -> Result<Vote, BadBody> {
    whole(body, get_vote)
}

/// The body of a cut.
#[must_use]
pub fn encode_cut(cut: &Cut) -> Vec<u8> {
    let mut body = Vec::with_capacity(CUT_LEN);
    put_numbers([cut.after, cut.term], &mut body);
    body
}

/// Reads the layout of [`encode_cut`]. Total.
///
/// # Errors
/// The bytes are none.
pub fn decode_cut(body: &[u8]) -> Result<Cut, BadBody> {
    whole(body, |reader| Ok(Cut { after: reader.u64()?, term: reader.u64()? }))
}

/// The body of an entry.
///
/// # Panics
/// When its payload is longer than [`ENTRY_PAYLOAD_BYTES_MAX`]: whoever proposes it, or takes it from another node,
/// looks at that first.
#[must_use]
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut body = Vec::with_capacity(LOG_LEN_MIN);
    put_position(entry.position, &mut body);
    match &entry.payload {
        Payload::Empty => body.push(EMPTY),
        Payload::Command(command) => {
            body.push(COMMAND);
            body.extend_from_slice(command);
        }
        Payload::Membership(membership) => {
            body.push(MEMBERSHIP);
            put_membership(membership, &mut body);
        }
    }
    assert!(body.len() <= LOG_LEN_MIN + ENTRY_PAYLOAD_BYTES_MAX, "payloads are bounded where they come in");
    body
}

/// Reads the layout of [`encode_entry`]. Total; a command is not looked at.
///
/// # Errors
/// The bytes are none.
pub fn decode_entry(body: &[u8]) -> Result<Entry, BadBody> {
    whole(body, |reader| {
        let position = get_position(reader)?;
        let payload = match reader.u8()? {
            EMPTY => Payload::Empty,
            COMMAND => Payload::Command(Bytes::copy_from_slice(reader.bytes(reader.remaining())?)),
            MEMBERSHIP => Payload::Membership(Arc::new(get_membership(reader)?)),
            _ => return Err(BadBody),
        };
        Ok(Entry { position, payload })
    })
}

/// The body of a base.
#[must_use]
pub fn encode_base(base: &Base) -> Vec<u8> {
    let mut body = Vec::with_capacity(BASE_LEN_MIN);
    put_base(base, &mut body);
    body
}

/// Reads the layout of [`encode_base`]. Total.
///
/// # Errors
/// The bytes are none.
pub fn decode_base(body: &[u8]) -> Result<Base, BadBody> {
    whole(body, get_base)
}

/// The body of positions relied on.
///
/// # Panics
/// When there are none, or more than [`PUT_VOLUMES_MAX`].
#[must_use]
pub fn encode_rely(volumes: &[(u64, u64)]) -> Vec<u8> {
    assert!((1..=PUT_VOLUMES_MAX).contains(&volumes.len()), "a put names a bounded number of volumes");
    let mut body = Vec::with_capacity(4 + RELIED_LEN * volumes.len());
    body.extend_from_slice(&u32::try_from(volumes.len()).expect("bounded far below").to_le_bytes());
    for (volume, position) in volumes {
        put_numbers([*volume, *position], &mut body);
    }
    body
}

/// Reads the layout of [`encode_rely`]. Total.
///
/// # Errors
/// The bytes are none.
pub fn decode_rely(body: &[u8]) -> Result<Vec<(u64, u64)>, BadBody> {
    whole(body, |reader| {
        let count = reader.u32()? as usize;
        if !(1..=PUT_VOLUMES_MAX).contains(&count) {
            return Err(BadBody);
        }
        (0..count).map(|_| Ok((reader.u64()?, reader.u64()?))).collect()
    })
}

/// The body of a state.
#[must_use]
pub fn encode_state(state: &State) -> Vec<u8> {
    let mut body = Vec::with_capacity(STATE_LEN_MIN);
    put_vote(&state.vote, &mut body);
    put_numbers([state.accepted], &mut body);
    let doubtful = if state.doubt.is_some() { DOUBTFUL } else { 0 };
    let replicated = if state.replicated { REPLICATED } else { 0 };
    let uncertain = if state.vote_certain { 0 } else { VOTE_UNCERTAIN };
    body.push(replicated | doubtful | uncertain);
    put_position(state.last, &mut body);
    let doubt = state.doubt.unwrap_or_default();
    put_position(doubt.last, &mut body);
    put_numbers([doubt.term], &mut body);
    put_base(&state.base, &mut body);
    body
}

/// Reads the layout of [`encode_state`]. Total.
///
/// # Errors
/// The bytes are none.
pub fn decode_state(body: &[u8]) -> Result<State, BadBody> {
    whole(body, |reader| {
        let (vote, accepted, flags) = (get_vote(reader)?, reader.u64()?, reader.u8()?);
        let last = get_position(reader)?;
        let doubt = Doubt { last: get_position(reader)?, term: reader.u64()? };
        let base = get_base(reader)?;
        let is_doubtful = flags & DOUBTFUL != 0;
        if flags & !(REPLICATED | DOUBTFUL | VOTE_UNCERTAIN) != 0 || (!is_doubtful && doubt != Doubt::default()) {
            return Err(BadBody);
        }
        let replicated = flags & REPLICATED != 0;
        let vote_certain = flags & VOTE_UNCERTAIN == 0;
        Ok(State { vote, vote_certain, accepted, replicated, last, doubt: is_doubtful.then_some(doubt), base })
    })
}

fn whole<'a, T>(body: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Result<T, BadBody>) -> Result<T, BadBody> {
    let mut reader = Reader::new(body);
    let value = read(&mut reader)?;
    if reader.remaining() == 0 { Ok(value) } else { Err(BadBody) }
}

fn put_numbers<const N: usize>(numbers: [u64; N], body: &mut Vec<u8>) {
    for number in numbers {
        body.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_vote(vote: &Vote, body: &mut Vec<u8>) {
    put_numbers([vote.term], body);
    body.push(u8::from(vote.candidate.is_some()));
    let none = NodeId::from_bytes([0; KEY_LEN]);
    body.extend_from_slice(vote.candidate.as_ref().unwrap_or(&none).as_bytes());
}

fn get_vote(reader: &mut Reader<'_>) -> Result<Vote, BadBody> {
    let (term, present, candidate) = (reader.u64()?, reader.u8()?, reader.array::<KEY_LEN>()?);
    let candidate = match (present, candidate) {
        (0, bytes) if bytes == [0; KEY_LEN] => None,
        (1, bytes) => Some(NodeId::from_bytes(bytes)),
        _ => return Err(BadBody),
    };
    Ok(Vote { term, candidate })
}

fn put_position(position: Position, body: &mut Vec<u8>) {
    put_numbers([position.term, position.index], body);
}

fn get_position(reader: &mut Reader<'_>) -> Result<Position, BadBody> {
    Ok(Position { term: reader.u64()?, index: reader.u64()? })
}

fn put_base(base: &Base, body: &mut Vec<u8>) {
    put_position(base.position, body);
    put_membership(&base.membership, body);
}

fn get_base(reader: &mut Reader<'_>) -> Result<Base, BadBody> {
    Ok(Base { position: get_position(reader)?, membership: Arc::new(get_membership(reader)?) })
}

/// The bytes of a membership, as snapshots carry them too.
#[must_use]
pub fn encode_membership(membership: &Membership) -> Vec<u8> {
    let mut body = Vec::new();
    put_membership(membership, &mut body);
    body
}

/// Reads those bytes. Total.
///
/// # Errors
/// When they are not what [`encode_membership`] makes of a membership.
pub fn decode_membership(body: &[u8]) -> Result<Membership, BadBody> {
    whole(body, get_membership)
}

fn put_membership(membership: &Membership, body: &mut Vec<u8>) {
    let sets = [membership.voters(), membership.outgoing(), membership.learners(), membership.demoted()];
    body.extend_from_slice(&[MEMBERSHIP_VERSION, 0, 0, 0]);
    body.extend(sets.map(|nodes| u8::try_from(nodes.len()).expect("a group is bounded")));
    for node in sets.into_iter().flatten() {
        body.extend_from_slice(node.as_bytes());
    }
}

fn get_membership(reader: &mut Reader<'_>) -> Result<Membership, BadBody> {
    if reader.array()? != [MEMBERSHIP_VERSION, 0, 0, 0] {
        return Err(BadBody);
    }
    let counts: [u8; 4] = reader.array()?;
    let mut sets: [BTreeSet<NodeId>; 4] = core::array::from_fn(|_| BTreeSet::new());
    for (count, nodes) in counts.into_iter().zip(&mut sets) {
        for _ in 0..count {
            let node = NodeId::from_bytes(reader.array()?);
            if nodes.last().is_some_and(|last| *last >= node) {
                return Err(BadBody);
            }
            nodes.insert(node);
        }
    }
    let [voters, outgoing, learners, demoted] = sets;
    Membership::from_parts(voters, outgoing, learners, demoted).map_err(|_| BadBody)
}

#[cfg(test)]
mod tests;
