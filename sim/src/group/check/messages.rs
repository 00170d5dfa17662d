//! MSG: members that have nothing to do send heartbeats and their answers, and hardly anything else.

use dps_core::raft::settings::Settings;

use super::super::setup::nanos;
use crate::check::Findings;

/// Judges a time in which nobody wanted anything of a group: so many messages were sent in it by `members` members,
/// and by `strangers` that were removed and may not know it: each of them asks again and again whether it could win.
pub(crate) fn check_idle(
    at: u64,
    idle_ns: u64,
    sent: u64,
    members: u64,
    strangers: u64,
    settings: &Settings,
    findings: &mut Findings,
) {
    let beats = idle_ns / nanos(settings.heartbeat_interval) + 2;
    // A heartbeat and its answer for each follower, half as much for what was asked twice, and some for stragglers.
    let most = beats * members.saturating_sub(1) * 3 + beats * strangers * (members + strangers) + 40;
    if sent > most {
        let text =
            format!("{sent} messages in {idle_ns} ns in which nobody wanted anything, at most {most} are allowed");
        findings.correctness("MSG", at, text);
    }
}

/// Messages that one host may send for an entry that is committed while a group serves: an append and its answer for
/// each of two pipelined sends, a read and its round, and as much for what was asked twice.
const OF_A_COMMIT: u64 = 12;

/// Judges a time in which a group served: so many messages, and so many entries committed.
pub(crate) fn check_serving(at: u64, (sent, committed): (u64, u64), beats: u64, hosts: u32, findings: &mut Findings) {
    let hosts = u64::from(hosts);
    let most = hosts * (committed * OF_A_COMMIT + beats * (hosts + 2)) + 100;
    if sent > most {
        let text = format!("{sent} messages for {committed} entries in {beats} heartbeats, at most {most} are allowed");
        findings.correctness("MSG", at, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_found() {
        let mut findings = Findings::default();
        check_idle(0, 1_000_000_000, 170, 3, 0, &Settings::STANDARD, &mut findings);
        assert!(findings.is_empty());
        check_idle(0, 1_000_000_000, 170, 2, 0, &Settings::STANDARD, &mut findings);
        assert!(!findings.is_empty());
    }

    #[test]
    fn a_storm_while_serving_is_found() {
        let mut findings = Findings::default();
        check_serving(0, (510, 10), 2, 3, &mut findings);
        check_serving(0, (490, 10), 2, 3, &mut findings);
        assert_eq!(findings.into_violations().len(), 1);
    }
}
