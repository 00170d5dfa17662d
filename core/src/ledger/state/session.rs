//! Sessions: a command that is proposed again is not applied again (rule L2).
//!
//! Whoever proposes can't always know whether a command was committed, and proposes it again. In a session it gives
//! each command a *serial*, the same one with each repetition, in any order of serials. The state keeps what each of
//! the last [`SESSION_SERIALS_MAX`] serials came to and answers a repetition with that. A serial below these is
//! refused: whether it was applied can't be told any more.
//!
//! Sessions have a tree of their own under a root of their own, since they are no part of what a backup has:
//!
//! ```text
//! key:   'i' | session            value: 01 | u64 used at | u64 index of its newest command | u64 highest serial
//! key:   'o' | session | serial   value: 02 | outcome
//! key:   'u' | index              value: 03 | u64 session
//! root:  SHA-256(03 | root of the tree)
//! ```
//!
//! Numbers are little-endian in values and big-endian in keys. The keys under 'u' are the order of use. A session is
//! over once it was not used for [`SESSION_IDLE`] of ledger time, and goes, with all its outcomes, no later than it is
//! one too many: each command of a session, and each that begins one, takes at most one session away.
//!
//! [`SESSION_SERIALS_MAX`]: crate::limits::SESSION_SERIALS_MAX
//! [`SESSION_IDLE`]: crate::limits::SESSION_IDLE

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::value::number_of;
use super::{BOUNDS, Bounds, State};
use crate::crypto::hash::{HASH_LEN, Sha256};
use crate::layout::Reader;
use crate::ledger::command::{Command, Outcome};
use crate::ledger::tree::{Builder, Tree, TreeValue};
use crate::time::WallTime;

/// First byte of what is hashed for all sessions; 0 and 1 are the tree's, 2 is the state's.
const DOMAIN_SESSIONS: u8 = 3;

const NAMESPACE_SESSIONS: u8 = b'i';
const NAMESPACE_OUTCOMES: u8 = b'o';
const NAMESPACE_USES: u8 = b'u';

const VALUE_SESSION: u8 = 1;
const VALUE_OUTCOME: u8 = 2;
const VALUE_USE: u8 = 3;

/// A session. Its identifier is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// When it was used last, in ledger time.
    used_at: WallTime,
    /// The index of the command that used it last, or began it.
    used_index: u64,
    /// The highest serial that was recorded; 0 before the first.
    highest: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SessionValue {
    Session(Session),
    Outcome(Outcome),
    /// A session's place in the order of use.
    Use(u64),
}

impl TreeValue for SessionValue {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Session(Session { used_at, used_index, highest }) => {
                out.push(VALUE_SESSION);
                out.extend_from_slice(&used_at.as_nanos().to_le_bytes());
                out.extend_from_slice(&used_index.to_le_bytes());
                out.extend_from_slice(&highest.to_le_bytes());
            }
            Self::Outcome(outcome) => {
                out.push(VALUE_OUTCOME);
                outcome.encode(out);
            }
            Self::Use(session) => {
                out.push(VALUE_USE);
                out.extend_from_slice(&session.to_le_bytes());
            }
        }
    }
}

impl SessionValue {
    /// The value that `bytes` are, from the first to the last, under a key of `namespace`; `None` if they are none.
    /// Total.
    fn decode(namespace: u8, bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let mut reader = Reader::new(rest);
        let value = match (namespace, *kind) {
            (NAMESPACE_SESSIONS, VALUE_SESSION) => {
                let (used_at, used_index) = (WallTime::from_nanos(reader.u64().ok()?), reader.u64().ok()?);
                Self::Session(Session { used_at, used_index, highest: reader.u64().ok()? })
            }
            (NAMESPACE_OUTCOMES, VALUE_OUTCOME) => {
                Self::Outcome(Outcome::decode(reader.bytes(reader.remaining()).ok()?)?)
            }
            (NAMESPACE_USES, VALUE_USE) => Self::Use(reader.u64().ok()?),
            _ => return None,
        };
        (reader.remaining() == 0).then_some(value)
    }
}

/// Sessions on their way out of a snapshot, in the order of their keys.
pub(super) struct SessionsBuilder {
    builder: Builder<SessionValue>,
    /// By identifier: the session, the highest serial that was found, and whether its place was.
    sessions: BTreeMap<u64, (Session, u64, bool)>,
    uses: u64,
}

impl SessionsBuilder {
    /// None yet. With `hashed` their hashes are computed on the way.
    pub(super) fn new(hashed: bool) -> Self {
        Self { builder: Builder::new(hashed), sessions: BTreeMap::new(), uses: 0 }
    }

    /// Takes the next entry. `None` if it can't be one.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8], applied: u64) -> Option<()> {
        let (namespace, rest) = key.split_first()?;
        let value = SessionValue::decode(*namespace, value)?;
        let (first, second) = rest.split_first_chunk()?;
        let first = u64::from_be_bytes(*first);
        match &value {
            SessionValue::Session(session) => {
                let known = (1..=session.used_index).contains(&first) && session.used_index <= applied;
                if !known || !second.is_empty() || self.sessions.len() as u64 == BOUNDS.sessions {
                    return None;
                }
                self.sessions.insert(first, (*session, 0, false));
            }
            SessionValue::Outcome(outcome) => {
                let serial = u64::from_be_bytes(second.try_into().ok()?);
                let (session, highest, _) = self.sessions.get_mut(&first)?;
                if !outcome.is_final() || serial < lowest(session.highest, &BOUNDS) || serial > session.highest {
                    return None;
                }
                *highest = serial;
            }
            SessionValue::Use(id) => {
                let (session, _, placed) = self.sessions.get_mut(id)?;
                if session.used_index != first || !second.is_empty() {
                    return None;
                }
                *placed = true;
                self.uses += 1;
            }
        }
        self.builder.push(key, value).ok()
    }

    pub(super) fn finish(self) -> Option<Sessions> {
        let count = self.sessions.len() as u64;
        let mut sessions = self.sessions.values();
        let whole = sessions.all(|(session, highest, placed)| *highest == session.highest && *placed);
        (whole && self.uses == count).then(|| Sessions { tree: self.builder.finish(), count })
    }
}

/// All sessions.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    pub(super) tree: Tree<SessionValue>,
    /// Invariant: how many sessions the tree has.
    count: u64,
}

/// What a session says of a serial.
enum Found {
    /// There is no such session.
    Unknown,
    /// The serial is below what is kept.
    TooOld,
    /// The serial came to this.
    Recorded(Outcome),
    /// The serial was not recorded.
    Free,
}

impl State {
    /// A hash of all sessions and what they remember, which is not part of [`State::root`].
    #[must_use]
    pub fn sessions_root(&self) -> [u8; HASH_LEN] {
        let mut hash = Sha256::new();
        hash.update(&[DOMAIN_SESSIONS]);
        hash.update(&self.sessions.tree.root());
        hash.finish()
    }

    /// How many sessions there are, with those that are over and have not gone yet.
    #[must_use]
    pub const fn session_count(&self) -> u64 {
        self.sessions.count
    }

    pub(super) fn register_session(&mut self, index: u64, bounds: &Bounds) -> Outcome {
        self.sessions.count += 1;
        let session = Session { used_at: self.time, used_index: index, highest: 0 };
        self.sessions.insert(index, session);
        self.retire_session(bounds);
        assert!(self.sessions.count <= bounds.sessions, "a command makes one more at most");
        Outcome::SessionRegistered { session: index }
    }

    /// Applies a command of a session, or tells what it came to when it was applied.
    ///
    /// # Panics
    /// If a session can't ask for the command.
    pub(super) fn apply_in_session(
        &mut self,
        index: u64,
        (session, serial): (u64, u64),
        command: &Command,
        bounds: &Bounds,
    ) -> Outcome {
        assert!(command.fits_session(), "such a command is neither written nor read");
        // Judged by the time that the command brings, even if it comes to nothing and brings none.
        let now = self.time.max(command.time());
        let over_at = (!self.clock_at(now, bounds).is_doubtful()).then_some(now);
        let found = self.sessions.find(session, serial, over_at, bounds);
        let outcome = match found {
            Found::Free => self.apply_plain(index, command, bounds),
            Found::Unknown => Outcome::SessionUnknown,
            Found::TooOld => Outcome::SerialTooOld,
            Found::Recorded(outcome) => outcome,
        };
        match found {
            Found::Free if !outcome.is_final() => return outcome,
            Found::Free => self.sessions.record(session, serial, outcome, bounds),
            Found::Unknown | Found::TooOld | Found::Recorded(_) => self.step_clock(now, bounds),
        }
        if !matches!(found, Found::Unknown) {
            self.sessions.touch(session, index, self.time);
        }
        self.retire_session(bounds);
        outcome
    }

    /// Takes the session away that was not used for longest, if it is over or one too many.
    fn retire_session(&mut self, bounds: &Bounds) {
        let Some((id, session)) = self.sessions.least_used() else { return };
        let over = self.doubtful_since().is_none() && session.is_over(self.time, bounds);
        if over || self.sessions.count > bounds.sessions {
            self.sessions.remove(id, session);
        }
    }
}

impl Session {
    fn is_over(&self, now: WallTime, bounds: &Bounds) -> bool {
        self.used_at.saturating_add(bounds.session_idle) <= now
    }
}

impl Sessions {
    fn get(&self, id: u64) -> Option<Session> {
        self.tree.get(&session_key(id)).map(SessionValue::as_session)
    }

    /// Without a time that can be believed, no session is over.
    fn find(&self, id: u64, serial: u64, now: Option<WallTime>, bounds: &Bounds) -> Found {
        let is_over = |session: &Session| now.is_some_and(|now| session.is_over(now, bounds));
        let Some(session) = self.get(id).filter(|session| !is_over(session)) else {
            return Found::Unknown;
        };
        if serial < lowest(session.highest, bounds) {
            return Found::TooOld;
        }
        match self.tree.get(&outcome_key(id, serial)) {
            Some(value) => Found::Recorded(value.as_outcome()),
            None => Found::Free,
        }
    }

    /// Remembers what a serial came to that is free, and forgets those that are too far below it.
    fn record(&mut self, id: u64, serial: u64, outcome: Outcome, bounds: &Bounds) {
        let old = self.tree.insert(&outcome_key(id, serial), SessionValue::Outcome(outcome));
        assert!(old.is_none(), "a serial is applied once");
        let mut session = self.get(id).expect("it was just found");
        if serial > session.highest {
            session.highest = serial;
            self.forget(id, lowest(serial, bounds));
            self.tree.insert(&session_key(id), SessionValue::Session(session));
        }
    }

    /// Notes that the command at `index` used a session.
    fn touch(&mut self, id: u64, index: u64, now: WallTime) {
        let session = self.get(id).expect("it was just found");
        self.tree.remove(&use_key(session.used_index)).expect("every session has a place");
        self.insert(id, Session { used_at: now, used_index: index, ..session });
    }

    fn insert(&mut self, id: u64, session: Session) {
        let old = self.tree.insert(&use_key(session.used_index), SessionValue::Use(id));
        assert!(old.is_none(), "a command uses one session");
        self.tree.insert(&session_key(id), SessionValue::Session(session));
    }

    fn remove(&mut self, id: u64, session: Session) {
        self.forget(id, u64::MAX);
        // The only one that is not below the largest number there is.
        self.tree.remove(&outcome_key(id, u64::MAX));
        self.tree.remove(&use_key(session.used_index)).expect("every session has a place");
        self.tree.remove(&session_key(id)).expect("it was found");
        self.count = self.count.checked_sub(1).expect("the session was counted");
    }

    /// Forgets the outcomes of all serials below `serial`: as many as are kept, at most.
    fn forget(&mut self, id: u64, serial: u64) {
        let mut scan = self.tree.scan(&outcomes_key(id), None);
        let mut below = Vec::new();
        while scan.advance().is_some() && number_of(scan.key()) < serial {
            below.push(number_of(scan.key()));
        }
        for serial in below {
            self.tree.remove(&outcome_key(id, serial));
        }
    }

    /// The session that was not used for longest.
    fn least_used(&self) -> Option<(u64, Session)> {
        let id = self.tree.scan(&[NAMESPACE_USES], None).advance()?.as_use();
        Some((id, self.get(id).expect("only sessions have a place")))
    }

    /// Asserts that sessions, their outcomes and their order fit together. Visits everything.
    ///
    /// # Panics
    /// When something does not hold, which is a bug.
    pub(super) fn check(&self, applied: u64, bounds: &Bounds) {
        self.tree.check();
        let (mut sessions, mut outcomes) = (0, 0);
        let mut scan = self.tree.scan(&[NAMESPACE_SESSIONS], None);
        while let Some(value) = scan.advance() {
            let (id, session) = (number_of(scan.key()), value.as_session());
            assert!((1..=session.used_index).contains(&id), "a session begins before it is used");
            assert!(session.used_index <= applied, "what used a session was applied");
            let place = self.tree.get(&use_key(session.used_index)).map(SessionValue::as_use);
            assert_eq!(place, Some(id), "every session has a place");
            let mut kept = self.tree.scan(&outcomes_key(id), None);
            let (mut highest, lowest) = (0, lowest(session.highest, bounds));
            while let Some(value) = kept.advance() {
                assert!(value.as_outcome().is_final(), "what is no outcome is not recorded");
                highest = number_of(kept.key());
                assert!(highest >= lowest, "what is too old is forgotten");
                outcomes += 1;
            }
            assert_eq!(highest, session.highest, "the highest serial is kept");
            sessions += 1;
        }
        assert_eq!(sessions, self.count, "what is counted is there");
        assert_eq!(2 * sessions + outcomes, self.tree.len(), "there is nothing else");
    }
}

impl SessionValue {
    fn as_session(&self) -> Session {
        let Self::Session(session) = self else { unreachable!("sessions have their own namespace") };
        *session
    }

    fn as_outcome(&self) -> Outcome {
        let Self::Outcome(outcome) = self else { unreachable!("outcomes have their own namespace") };
        *outcome
    }

    fn as_use(&self) -> u64 {
        let Self::Use(session) = self else { unreachable!("the order of use has its own namespace") };
        *session
    }
}

/// The lowest serial whose outcome is kept where `highest` is the highest.
const fn lowest(highest: u64, bounds: &Bounds) -> u64 {
    highest.saturating_sub(bounds.serials - 1)
}

fn session_key(id: u64) -> Vec<u8> {
    numbered(NAMESPACE_SESSIONS, id)
}

fn use_key(index: u64) -> Vec<u8> {
    numbered(NAMESPACE_USES, index)
}

fn outcomes_key(id: u64) -> Vec<u8> {
    numbered(NAMESPACE_OUTCOMES, id)
}

fn outcome_key(id: u64, serial: u64) -> Vec<u8> {
    let mut key = outcomes_key(id);
    key.extend_from_slice(&serial.to_be_bytes());
    key
}

/// Big-endian numbers in keys are in order as bytes.
fn numbered(namespace: u8, number: u64) -> Vec<u8> {
    let mut key = Vec::from([namespace]);
    key.extend_from_slice(&number.to_be_bytes());
    key
}
