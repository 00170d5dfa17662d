//! W2: time is monotone. What the event queue gives never lies before what it gave last.

use super::Findings;

pub(crate) fn check(before: u64, at: u64, findings: &mut Findings) {
    if at < before {
        findings.correctness("W2", before, format!("time went back from {before} to {at} ns"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_is_found() {
        let mut findings = Findings::default();
        check(5, 5, &mut findings);
        assert!(findings.is_empty());
        check(5, 4, &mut findings);
        assert!(!findings.is_empty());
    }
}
