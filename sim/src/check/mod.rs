//! The checkers, one file per property, and what they found.

pub(crate) mod bytes;
pub(crate) mod conservation;
pub(crate) mod crash;
pub(crate) mod damage;
pub(crate) mod durable;
pub(crate) mod full;
pub(crate) mod garbage;
pub(crate) mod incarnation;
pub(crate) mod live;
pub(crate) mod space;
pub(crate) mod time;
pub(crate) mod twin;

use serde::Serialize;

/// How bad a violation is; the exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The node panicked: one of its assertions failed.
    Crash,
    /// Something that must happen did not.
    Liveness,
    /// Something happened that must not.
    Correctness,
}

impl Class {
    /// The exit code: 127, 128 or 129.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Crash => 127,
            Self::Liveness => 128,
            Self::Correctness => 129,
        }
    }
}

/// Every checker by name, in the order of the table in ARCHITECTURE.md.
pub(crate) const CHECKERS: [&str; 13] = ["S1", "S2", "S3", "S4", "S7", "S8", "D1", "L1", "W1", "W2", "W3", "W4", "P0"];

/// Whether there is such a checker, of one store or of a group.
pub(crate) fn is_known(checker: &str) -> bool {
    CHECKERS.contains(&checker) || crate::group::CHECKERS.contains(&checker)
}

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The checker: `S1`, `W2`, ...; `P0` for a panic.
    pub checker: &'static str,
    /// How bad it is.
    pub class: Class,
    /// Nanoseconds since the start of the run.
    pub at_ns: u64,
    /// What was expected and what was found.
    pub message: String,
}

/// Violations kept of one run; more tell nothing new.
const VIOLATIONS_MAX: usize = 20;

/// What the checkers found in one run.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    violations: Vec<Violation>,
}

impl Findings {
    pub(crate) fn correctness(&mut self, checker: &'static str, at_ns: u64, message: String) {
        self.add(Violation { checker, class: Class::Correctness, at_ns, message });
    }

    pub(crate) fn liveness(&mut self, checker: &'static str, at_ns: u64, message: String) {
        self.add(Violation { checker, class: Class::Liveness, at_ns, message });
    }

    pub(crate) fn add(&mut self, violation: Violation) {
        assert!(is_known(violation.checker), "{} is not in the list of checkers", violation.checker);
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// Requests to the disk that break its contract.
    pub(crate) fn misuse(&mut self, at_ns: u64, misuse: Vec<String>) {
        misuse.into_iter().for_each(|text| self.correctness("W1", at_ns, text));
    }

    /// Keeps only what is true of the test.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Violation) -> bool) {
        self.violations.retain(keep);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        other.violations.drain(..).for_each(|violation| self.add(violation));
    }

    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }
}
