//! What starts say to get to know each other, in the types of the schema and out of them.

use bytes::Bytes;

use crate::raft::TERM_MAX;
use crate::raft::entry::Position;
use crate::replica::witness::{Because, Drawn, INCARNATION_MAX, Start, Words};
use crate::wire::error::WireError;
use crate::wire::pb::{self, letter::Body as Says, rolled_back};
use crate::wire::raft::{array, at_most, doubtful, position, standing};

fn drawn(bytes: &Drawn) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[expect(clippy::unnecessary_wraps, reason = "messages in messages may be missing in protobuf")]
const fn place(position: Position) -> Option<pb::Position> {
    let Position { term, index } = position;
    Some(pb::Position { term, index })
}

pub(super) fn written(words: &Words) -> Says {
    match words {
        Words::Introduction { start, nonce } => {
            let Start { random, end, term, whole } = start;
            Says::Introduction(pb::Introduction {
                random: drawn(random),
                nonce: nonce.as_ref().map(drawn).unwrap_or_default(),
                end: place(*end),
                term: *term,
                standing: standing(!whole),
            })
        }
        Words::Challenge { start, nonce } => Says::Challenge(pb::Challenge { start: *start, nonce: drawn(nonce) }),
        Words::Known { random } => Says::Known(pb::Known { random: drawn(random) }),
        Words::RolledBack { random, because } => {
            let because = match *because {
                Because::EarlierStart { known } => rolled_back::Because::EarlierStart(pb::EarlierStart { known }),
                Because::ShorterLog { acknowledged } => {
                    rolled_back::Because::ShorterLog(pb::ShorterLog { acknowledged: place(acknowledged) })
                }
                Because::EarlierTerm { told } => rolled_back::Because::EarlierTerm(pb::EarlierTerm { told }),
            };
            Says::RolledBack(pb::RolledBack { random: drawn(random), because: Some(because) })
        }
    }
}

/// An end of a log by accepted term: that may be of a leader that has cut all of the log, so its index may be 0.
fn end(field: &'static str, found: Option<pb::Position>) -> Result<Position, WireError> {
    match found {
        Some(pb::Position { term, index: 0 }) => Ok(Position { term: at_most(field, term, TERM_MAX)?, index: 0 }),
        found => position(field, found),
    }
}

pub(super) fn judge_introduction(introduction: &pb::Introduction) -> Result<Words, WireError> {
    let pb::Introduction { random, nonce, end: found, term, standing } = introduction;
    let start = Start {
        random: array("introduction.random", random)?,
        end: end("introduction.end", *found)?,
        term: at_most("introduction.term", *term, TERM_MAX)?,
        whole: !doubtful("introduction.standing", *standing)?,
    };
    let nonce = if nonce.is_empty() { None } else { Some(array("introduction.nonce", nonce)?) };
    Ok(Words::Introduction { start, nonce })
}

pub(super) fn judge_challenge(challenge: &pb::Challenge) -> Result<Words, WireError> {
    let pb::Challenge { start, nonce } = challenge;
    let start = at_most("challenge.start", *start, INCARNATION_MAX)?;
    Ok(Words::Challenge { start, nonce: array("challenge.nonce", nonce)? })
}

pub(super) fn judge_known(known: &pb::Known) -> Result<Words, WireError> {
    Ok(Words::Known { random: array("known.random", &known.random)? })
}

pub(super) fn judge_rolled_back(rolled_back: &pb::RolledBack) -> Result<Words, WireError> {
    let pb::RolledBack { random, because } = rolled_back;
    let because = match because.as_ref().ok_or(WireError::Missing("rolled_back.because"))? {
        rolled_back::Because::EarlierStart(pb::EarlierStart { known }) => {
            Because::EarlierStart { known: at_most("rolled_back.earlier_start.known", *known, INCARNATION_MAX)? }
        }
        rolled_back::Because::ShorterLog(pb::ShorterLog { acknowledged }) => {
            Because::ShorterLog { acknowledged: end("rolled_back.shorter_log.acknowledged", *acknowledged)? }
        }
        rolled_back::Because::EarlierTerm(pb::EarlierTerm { told }) => {
            Because::EarlierTerm { told: at_most("rolled_back.earlier_term.told", *told, TERM_MAX)? }
        }
    };
    Ok(Words::RolledBack { random: array("rolled_back.random", random)?, because })
}
