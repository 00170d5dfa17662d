//! W3: no event reaches a dead incarnation. What was under way for one start of a node never reaches a later one.

use super::Findings;

/// Whether an event may be taken by the start that runs.
pub(crate) fn check(at: u64, stamped: u64, running: u64, findings: &mut Findings) -> bool {
    if stamped != running {
        let text = format!("an event for start {stamped} reached start {running}");
        findings.correctness("W3", at, text);
    }
    stamped == running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_another_start_is_found() {
        let mut findings = Findings::default();
        assert!(check(0, 1, 1, &mut findings));
        assert!(findings.is_empty());
        assert!(!check(0, 1, 2, &mut findings));
        assert!(!findings.is_empty());
    }
}
