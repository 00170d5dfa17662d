//! What a run of a group exercised.

use std::collections::BTreeMap;

use crate::plan::FaultKind;

/// Counters of a run, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    counts: BTreeMap<&'static str, u64>,
    /// How often each kind of fault took effect, by what the member was doing.
    cells: BTreeMap<(FaultKind, &'static str), u64>,
    /// Faults that took effect while a write was pending.
    under_write: u64,
    /// Faults of the network.
    net: u64,
}

/// In so many of a hundred runs each of these must happen.
pub(crate) const FLOORS: [(&str, u64); 34] = [
    ("leader changes", 60),
    ("commits", 98),
    ("logs truncated", 10),
    ("logs compacted", 30),
    ("snapshots installed", 10),
    ("memberships", 15),
    ("joint memberships", 5),
    ("changes of the membership committed", 15),
    ("transfers asked for", 15),
    ("reads at leaders", 90),
    ("reads at followers", 60),
    ("operations repeated", 60),
    ("answers lost", 20),
    ("partition", 5),
    ("isolation", 5),
    ("clogged node", 5),
    ("burst of duplicates", 5),
    ("crash while replicating", 10),
    ("crash while following", 30),
    ("crash while starting", 5),
    ("leader isolated", 10),
    ("leader isolated with a minority", 10),
    ("leader left with one follower", 5),
    ("messages replayed", 10),
    ("refusals believed", 30),
    ("trials with a deaf follower", 5),
    ("trials with a deaf leader", 5),
    ("backlogs judged", 60),
    ("trials in lockstep", 2),
    ("logs judged after much was written", 5),
    ("candidates alone with their term", 1),
    ("leaders that were frozen", 3),
    ("old disks found out", 7),
    ("witnesses started again", 3),
];

/// What a member may be doing when a fault strikes, as its host tells it.
const PHASES: [&str; 9] = [
    "starting",
    "in doubt",
    "snapshotting",
    "handing over",
    "electing",
    "changing the membership",
    "following",
    "replicating",
    "leading idle",
];

/// Kinds of faults that each must strike in one run of a hundred in each phase.
const KINDS: [FaultKind; 11] = super::draw::KINDS;

/// Why a kind need not strike in a phase in one run of a hundred.
fn excuse(kind: FaultKind, phase: &str) -> Option<&'static str> {
    EXCUSES.iter().find(|(excused, at, _)| *excused == kind && *at == phase).map(|(.., reason)| *reason)
}

/// Cells that need not be hit in one run of a hundred, each with the reason.
const EXCUSES: [(FaultKind, &str, &str); 1] =
    [(FaultKind::Close, "starting", "a member that reads its disk refuses every request, and so can't be closed")];

/// What must be hit in one run of a hundred.
pub(crate) fn cells() -> impl Iterator<Item = (FaultKind, &'static str)> {
    KINDS
        .into_iter()
        .flat_map(|kind| PHASES.map(|phase| (kind, phase)))
        .filter(|(kind, phase)| excuse(*kind, phase).is_none())
}

/// The row of a kind in a phase.
pub(crate) fn cell(kind: FaultKind, phase: &str) -> String {
    format!("{} while {phase}", kind.name())
}

impl Rows {
    pub(crate) fn add(&mut self, row: &'static str) {
        *self.counts.entry(row).or_default() += 1;
    }

    /// A row that counts nothing but the most that was reached.
    pub(crate) fn set_most(&mut self, row: &'static str, most: u64) {
        let known = self.counts.entry(row).or_default();
        *known = most.max(*known);
    }

    pub(crate) fn hit(&mut self, kind: FaultKind, doing: &'static str, writing: bool) {
        *self.cells.entry((kind, doing)).or_default() += 1;
        self.under_write += u64::from(writing);
    }

    /// Faults that took effect while a write was pending.
    #[must_use]
    pub const fn under_write(&self) -> u64 {
        self.under_write
    }

    /// A fault of the network begins.
    pub(crate) fn strike_net(&mut self, kind: &'static str) {
        self.net += 1;
        self.add(kind);
    }

    /// A fault that found its victims.
    pub(crate) fn blow(&mut self, kind: &'static str) {
        self.net += 1;
        self.add(kind);
    }

    /// Whether anything went wrong.
    #[must_use]
    pub const fn is_faulty(&self) -> bool {
        self.net > 0 || self.under_write > 0
    }

    /// Every row with its count.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let cells = self.cells.iter().map(|((kind, doing), count)| (cell(*kind, doing), *count));
        self.counts.iter().map(|(row, count)| ((*row).to_owned(), *count)).chain(cells)
    }

    /// How often something happened.
    #[must_use]
    pub fn count(&self, row: &str) -> u64 {
        self.counts.get(row).copied().unwrap_or(0)
    }
}
