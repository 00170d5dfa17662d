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
pub(crate) const FLOORS: [(&str, u64); 21] = [
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
    ("crash while leading", 15),
    ("crash while following", 30),
    ("crash while starting", 5),
    ("pause while leading", 2),
];

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

    /// Whether anything went wrong.
    #[must_use]
    pub const fn is_faulty(&self) -> bool {
        self.net > 0 || self.under_write > 0
    }

    /// Every row with its count.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let cells = self.cells.iter().map(|((kind, doing), count)| (format!("{} while {doing}", kind.name()), *count));
        self.counts.iter().map(|(row, count)| ((*row).to_owned(), *count)).chain(cells)
    }

    /// How often something happened.
    #[must_use]
    pub fn count(&self, row: &str) -> u64 {
        self.counts.get(row).copied().unwrap_or(0)
    }
}
