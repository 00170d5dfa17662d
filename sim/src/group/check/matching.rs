//! LM: two logs that have an entry of one term and index are equal up to it (Ongaro 2014, section 3.5). And ROUND:
//! what a member said it has is there after every start, unless a leader replaced it.

use std::collections::BTreeMap;

use dps_core::raft::Raft;

use super::super::exercise::Rows;
use super::digest;
use crate::check::Findings;
use crate::plan::Point;

/// What a step did to a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) truncated: bool,
    pub(crate) appended: bool,
    pub(crate) compacted: bool,
    pub(crate) restored: bool,
}

impl Changed {
    pub(crate) const fn any(self) -> bool {
        self.truncated || self.appended || self.compacted || self.restored
    }

    pub(crate) fn points(self) -> impl Iterator<Item = Point> {
        let found = [
            (self.truncated, Point::Truncating),
            (self.compacted, Point::Compacting),
            (self.restored, Point::Restoring),
        ];
        found.into_iter().filter(|(holds, _)| *holds).map(|(_, point)| point)
    }
}

/// A log as it was seen last.
#[derive(Debug, Default)]
struct Seen {
    base: u64,
    last: u64,
    last_term: u64,
    /// Terms by index, after the base.
    terms: BTreeMap<u64, u64>,
    /// It said that it has everything up to here.
    acknowledged: u64,
    /// The largest index that it ever said it has.
    told: u64,
    /// Whether this is the log of an earlier start.
    old: bool,
}

/// All logs.
#[derive(Debug)]
pub(crate) struct Matching {
    logs: Vec<Seen>,
    /// By index and term: the term of the entry before, and what the entry says.
    entries: BTreeMap<(u64, u64), (u64, u64)>,
}

impl Matching {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { logs: std::iter::repeat_with(Seen::default).take(hosts).collect(), entries: BTreeMap::new() }
    }

    pub(crate) fn started(&mut self, host: u32) {
        self.logs[host as usize].old = true;
    }

    /// The member said that everything up to `index` is the leader's and durable.
    pub(crate) fn acknowledged(&mut self, host: u32, index: u64) {
        let seen = &mut self.logs[host as usize];
        seen.acknowledged = seen.acknowledged.max(index);
        seen.told = seen.told.max(index);
    }

    /// The largest index that a member ever said it has.
    pub(crate) fn told(&self, host: u32) -> u64 {
        self.logs.get(host as usize).map_or(0, |seen| seen.told)
    }

    /// What a start has acknowledged may be lost with a disk that was harmed (rule R2).
    pub(crate) fn forgive(&mut self, host: u32) {
        self.logs[host as usize].acknowledged = 0;
    }

    pub(crate) fn look(
        &mut self,
        at: u64,
        host: u32,
        raft: &Raft,
        rows: &mut Rows,
        findings: &mut Findings,
    ) -> Changed {
        let (base, last) = (raft.base().index, raft.last());
        let seen = &mut self.logs[host as usize];
        if !seen.old && (seen.base, seen.last, seen.last_term) == (base, last.index, last.term) {
            return Changed::default();
        }
        let is_first = std::mem::take(&mut seen.old);
        if is_first {
            check_round(at, host, raft, seen, findings);
        }
        let before = (seen.base, seen.last);
        let mut same = last.index.min(seen.last).max(base);
        while same > base && seen.terms.get(&same).copied() != raft.entry(same).map(|entry| entry.position.term) {
            same -= 1;
        }
        seen.terms.split_off(&(same + 1));
        seen.terms = seen.terms.split_off(&(base + 1));
        let mut prev = if same == base { raft.base().term } else { seen.terms[&same] };
        for index in same + 1..=last.index {
            let entry = raft.entry(index).expect("a log is dense after its base");
            let found = (prev, digest(entry));
            prev = entry.position.term;
            seen.terms.insert(index, prev);
            let known = *self.entries.entry((index, prev)).or_insert(found);
            if known != found && raft.is_alone() {
                // Nobody else has seen what a crash took before it was durable. What was committed is judged elsewhere.
                self.entries.insert((index, prev), found);
            } else if known != found {
                let text = format!("host {host} has another entry {} than was seen before", entry.position);
                findings.correctness("LM", at, text);
            }
        }
        let changed = Changed {
            truncated: same < before.1 && before.1 > base,
            appended: last.index > same,
            compacted: base > before.0 && base <= before.1,
            restored: base > before.1,
        };
        (seen.base, seen.last, seen.last_term) = (base, last.index, last.term);
        if changed.truncated {
            seen.acknowledged = seen.acknowledged.min(same);
        }
        // What a start lost was never acknowledged, or was told above.
        if is_first {
            return Changed { appended: changed.appended, ..Changed::default() };
        }
        let found = [
            (changed.truncated, "logs truncated"),
            (changed.compacted, "logs compacted"),
            (changed.restored, "snapshots installed"),
        ];
        found.iter().filter(|(holds, _)| *holds).for_each(|(_, row)| rows.add(row));
        changed
    }
}

/// The first look at a member after a start.
fn check_round(at: u64, host: u32, raft: &Raft, seen: &Seen, findings: &mut Findings) {
    let (base, last) = (raft.base().index, raft.last().index);
    if last < seen.acknowledged {
        let text = format!(
            "host {host} said that it has everything up to {}, and starts with {last} as its last entry",
            seen.acknowledged
        );
        return findings.correctness("ROUND", at, text);
    }
    let kept = |index: &u64| raft.entry(*index).map(|entry| entry.position.term);
    let acknowledged = seen.terms.range(base + 1..seen.acknowledged.max(base) + 1);
    for (index, term) in acknowledged {
        if kept(index) != Some(*term) {
            let text = format!("host {host} said that it has entry {term}.{index}, and starts with {:?}", kept(index));
            return findings.correctness("ROUND", at, text);
        }
    }
}
