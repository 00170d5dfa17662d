//! XO: a command of a session has its effect once, and whoever repeats it hears the same.

use std::collections::BTreeMap;

use dps_core::ledger::command::Outcome;

use crate::check::Findings;

/// What each serial of each session came to.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<(u64, u64), Outcome>);

impl Sessions {
    fn meet(&mut self, serial: (u64, u64), outcome: Outcome) -> Option<Outcome> {
        // These tell nothing of whether the command was applied.
        if !outcome.is_final() || matches!(outcome, Outcome::SessionUnknown | Outcome::SerialTooOld) {
            return None;
        }
        let first = *self.0.entry(serial).or_insert(outcome);
        (first != outcome).then_some(first)
    }

    /// A command was applied.
    pub(crate) fn applied(&mut self, at: u64, serial: (u64, u64), outcome: Outcome, findings: &mut Findings) {
        if let Some(first) = self.meet(serial, outcome) {
            let text = format!("command {serial:?} came to {first:?}, and when it was repeated to {outcome:?}");
            findings.correctness("XO", at, text);
        }
    }

    /// A member says what a command came to.
    pub(crate) fn decided(&mut self, at: u64, serial: (u64, u64), outcome: Outcome, findings: &mut Findings) {
        if let Some(first) = self.meet(serial, outcome) {
            let text = format!("somebody hears that {serial:?} came to {outcome:?}, and it was {first:?}");
            findings.correctness("XO", at, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_answer_to_a_repetition_is_found() {
        let (mut sessions, mut findings) = (Sessions::default(), Findings::default());
        sessions.applied(0, (1, 1), Outcome::Stored { version: 5 }, &mut findings);
        sessions.applied(0, (1, 1), Outcome::SessionUnknown, &mut findings);
        sessions.decided(0, (1, 1), Outcome::Stored { version: 5 }, &mut findings);
        assert!(findings.is_empty());
        sessions.applied(0, (1, 1), Outcome::Stored { version: 6 }, &mut findings);
        assert_eq!(findings.into_violations()[0].checker, "XO");
    }
}
