//! W1: conservation. Sent = delivered + dropped + in flight, for requests and for disk operations; a conversation is
//! answered as its rules say: within what was granted, and never again after its last answer.

use super::Findings;

/// The node granted or sent more than the rules allow.
pub(crate) fn within(what: &str, used: u64, allowed: u64, at: u64, findings: &mut Findings) {
    if used > allowed {
        findings.correctness("W1", at, format!("{what}: {used}, but {allowed} at most"));
    }
}

/// An answer to a conversation that is over, with nothing sent that could have crossed it.
pub(crate) fn after_last(id: u64, at: u64, answer: &str, findings: &mut Findings) {
    findings.correctness("W1", at, format!("conversation {id} was over and is answered again: {answer}"));
}

/// An answer that the state of the conversation does not allow.
pub(crate) fn unexpected(id: u64, at: u64, answer: &str, findings: &mut Findings) {
    findings.correctness("W1", at, format!("conversation {id} got an answer that makes no sense here: {answer}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_granted_is_found() {
        let mut findings = Findings::default();
        within("bytes", 5, 5, 0, &mut findings);
        assert!(findings.is_empty());
        within("bytes", 6, 5, 0, &mut findings);
        assert!(!findings.is_empty());
    }
}
