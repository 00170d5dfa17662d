//! ES: at most one member leads in a term (Ongaro 2014, figure 3.2).

use std::collections::BTreeMap;

use dps_core::raft::Raft;

use super::super::exercise::Rows;
use crate::check::Findings;

/// Whether a member leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    No,
    /// It led before this step.
    Ended,
    /// Since this step.
    Newly,
    Still,
}

/// Who led which term.
#[derive(Debug, Default)]
pub(crate) struct Elections {
    leaders: BTreeMap<u64, u32>,
    /// The term that each host leads at the moment.
    leading: BTreeMap<u32, u64>,
}

impl Elections {
    pub(crate) fn started(&mut self, host: u32) {
        self.leading.remove(&host);
    }

    pub(crate) fn look(&mut self, at: u64, host: u32, raft: &Raft, rows: &mut Rows, findings: &mut Findings) -> Leads {
        if !raft.is_leader() {
            return if self.leading.remove(&host).is_some() { Leads::Ended } else { Leads::No };
        }
        let term = raft.term();
        if self.leading.insert(host, term) == Some(term) {
            return Leads::Still;
        }
        rows.add(if self.leaders.is_empty() { "first leaders" } else { "leader changes" });
        // A term that is not durable and that nobody has heard of may be led again by the next start of who is alone.
        if let Some(other) = self.leaders.insert(term, host).filter(|other| *other != host || !raft.is_alone()) {
            let text = format!("host {host} begins to lead term {term}, which host {other} led");
            findings.correctness("ES", at, text);
        }
        Leads::Newly
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{alone, step_until_leader};
    use super::*;

    #[test]
    fn a_second_leader_of_a_term_is_found() {
        let leader = step_until_leader(alone());
        let (mut elections, mut rows, mut findings) = (Elections::default(), Rows::default(), Findings::default());
        assert_eq!(elections.look(0, 0, &leader, &mut rows, &mut findings), Leads::Newly);
        assert_eq!(elections.look(1, 0, &leader, &mut rows, &mut findings), Leads::Still);
        assert!(findings.is_empty());
        elections.look(2, 1, &leader, &mut rows, &mut findings);
        assert_eq!(findings.into_violations()[0].checker, "ES");
    }
}
