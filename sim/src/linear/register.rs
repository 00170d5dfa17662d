//! One key as it should behave: which outcomes an operation may have, and what it leaves.

use dps_core::ledger::file::Expect;

use super::{Operation, Outcome};

/// What is known of a key at one point of an order. Versions only grow, so that each variant has the least number that
/// the newest version so far can have; the smaller it is, the more may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// No value.
    Absent {
        /// The newest version is at least this.
        last: u64,
    },
    /// A value with its version.
    Present { value: u64, version: u64 },
    /// A value of a put that nobody answered.
    Loose {
        value: u64,
        /// The version is at least this.
        least: u64,
    },
}

/// Before anything happened.
pub(super) const START: State = State::Absent { last: 0 };

impl State {
    /// The newest version is at least this.
    pub(super) const fn last(self) -> u64 {
        match self {
            Self::Absent { last } => last,
            Self::Present { version, .. } => version,
            Self::Loose { least, .. } => least,
        }
    }

    /// The same, knowing that the key has this version; `None` if it can't.
    const fn pin(self, is: u64) -> Option<Self> {
        match self {
            Self::Present { version, .. } if version == is => Some(self),
            Self::Loose { value, least } if least <= is => Some(Self::Present { value, version: is }),
            Self::Absent { .. } | Self::Present { .. } | Self::Loose { .. } => None,
        }
    }

    /// The same, knowing that an expectation is met; `None` if it can't be.
    fn meet(self, expect: Expect) -> Option<Self> {
        match expect {
            Expect::Any => Some(self),
            Expect::Absent => self.is_absent().then_some(self),
            Expect::Version(version) => self.pin(version),
        }
    }

    /// The same, knowing that an expectation is not met, and by what; `None` if that can't be.
    fn miss(self, expect: Expect, current: Option<u64>) -> Option<Self> {
        let missed = match expect {
            Expect::Any => false,
            Expect::Absent => current.is_some(),
            Expect::Version(version) => current != Some(version),
        };
        match current {
            Some(version) => self.pin(version).filter(|_| missed),
            None => (missed && self.is_absent()).then_some(self),
        }
    }

    const fn is_absent(self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// What an operation with this outcome leaves; `None` if it can't have it.
    pub(super) fn answered(self, operation: Operation, outcome: Outcome) -> Option<Self> {
        match (operation, outcome) {
            (Operation::Put { value, expect }, Outcome::Stored { version }) => {
                let before = self.meet(expect)?;
                (version > before.last()).then_some(Self::Present { value, version })
            }
            (Operation::Delete { expect }, Outcome::Deleted) => self.meet(expect)?.removed(),
            (Operation::Delete { expect }, Outcome::NotFound) => self.meet(expect).filter(|state| state.is_absent()),
            (Operation::Put { expect, .. } | Operation::Delete { expect }, Outcome::Conflict { current }) => {
                self.miss(expect, current)
            }
            (Operation::Get, Outcome::NotFound) => Some(self).filter(|state| state.is_absent()),
            (Operation::Get, Outcome::Found { value, version }) => {
                self.pin(version).filter(|state| *state == Self::Present { value, version })
            }
            (Operation::Put { .. }, Outcome::Deleted | Outcome::NotFound | Outcome::Found { .. })
            | (Operation::Delete { .. }, Outcome::Stored { .. } | Outcome::Found { .. })
            | (Operation::Get, Outcome::Stored { .. } | Outcome::Deleted | Outcome::Conflict { .. }) => {
                unreachable!("{outcome:?} is refused as the outcome of {operation:?} when it comes in")
            }
        }
    }

    /// What an operation leaves that nobody answered; `None` if it would change nothing, which is as good as never
    /// taking effect.
    pub(super) fn unanswered(self, operation: Operation) -> Option<Self> {
        match operation {
            Operation::Put { value, expect } => {
                let least = self.meet(expect)?.last().checked_add(1)?;
                Some(Self::Loose { value, least })
            }
            Operation::Delete { expect } => self.meet(expect)?.removed(),
            Operation::Get => None,
        }
    }

    const fn removed(self) -> Option<Self> {
        match self {
            Self::Absent { .. } => None,
            Self::Present { .. } | Self::Loose { .. } => Some(Self::Absent { last: self.last() }),
        }
    }
}

/// An operation with this outcome can't come after a state whose newest version is larger than this.
pub(super) const fn last_max(operation: Operation, outcome: Outcome) -> u64 {
    let by_outcome = match outcome {
        Outcome::Stored { version } => version.saturating_sub(1),
        Outcome::Found { version, .. } | Outcome::Conflict { current: Some(version) } => version,
        Outcome::Deleted | Outcome::NotFound | Outcome::Conflict { current: None } => u64::MAX,
    };
    match (operation.expect(), outcome) {
        (Expect::Version(version), Outcome::Stored { .. } | Outcome::Deleted) if version < by_outcome => version,
        _ => by_outcome,
    }
}
