//! MEM: nothing is left behind. A member that nobody wants anything of has no entry that counts as not committed, no
//! message that counts as on its way or waits, and nobody who waits.

use dps_core::raft::Backlog;
use dps_core::replica::Settings;

use crate::check::Findings;

/// Judges a member of a group at rest.
pub(crate) fn check(at: u64, host: u32, backlog: Backlog, findings: &mut Findings) {
    if backlog != Backlog::default() {
        let text = format!("host {host} has nothing to do since long, and has this under way: {backlog:?}");
        findings.correctness("MEM", at, text);
    }
}

/// What is known of a member's log.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    /// How many entries it has.
    pub(crate) entries: u64,
    /// How many were committed since nothing fails any more.
    pub(crate) since: u64,
    /// How many entries of the ledger a snapshot has.
    pub(crate) ledger: u64,
}

/// Judges the length of a member's log: where enough was committed for several snapshots, what they cover is gone.
pub(crate) fn check_log(at: u64, host: u32, log: Log, settings: &Settings, findings: &mut Findings) {
    let Log { entries, since, ledger } = log;
    let distance = settings.snapshot_distance(ledger);
    let most = 5 * distance + settings.raft.trailing_entries + 20;
    if since > 4 * distance && entries > most {
        let text = format!("the log of host {host} has {entries} entries, and snapshots should leave {most}");
        findings.correctness("MEM", at, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_is_found() {
        let mut findings = Findings::default();
        check(0, 0, Backlog::default(), &mut findings);
        let settings = Settings { snapshot_entries: 5, ..Settings::STANDARD };
        let log = |entries, since, ledger| Log { entries, since, ledger };
        check_log(0, 0, log(4_100, 21, 47), &settings, &mut findings);
        check_log(0, 0, log(9_999, 20, 47), &settings, &mut findings);
        check_log(0, 0, log(4_200, 21, 960), &settings, &mut findings);
        assert!(findings.is_empty());
        check(0, 0, Backlog { in_flight: 1, ..Backlog::default() }, &mut findings);
        check_log(0, 0, log(4_200, 21, 47), &settings, &mut findings);
        assert_eq!(findings.into_violations().len(), 2);
    }
}
