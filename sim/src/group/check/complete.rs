//! LC: who begins to lead has everything that was committed in earlier terms (Ongaro 2014, section 3.6.1).

use dps_core::raft::Raft;

use super::committed::Committed;
use crate::check::Findings;

pub(crate) fn check(at: u64, host: u32, raft: &Raft, committed: &Committed, findings: &mut Findings) {
    let base = raft.base();
    let earlier = committed.entries().filter(|entry| entry.in_term < raft.term());
    for entry in earlier {
        let index = entry.position.index;
        let term = if index == base.index { Some(base.term) } else { raft.entry(index).map(|own| own.position.term) };
        if index >= base.index && term != Some(entry.position.term) {
            let text = format!(
                "host {host} leads term {} without entry {}, which was committed in term {}",
                raft.term(),
                entry.position,
                entry.in_term
            );
            return findings.correctness("LC", at, text);
        }
    }
}
