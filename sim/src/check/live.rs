//! L1: once faults stop, everything pending is answered within a bound, and ten puts and ten gets succeed.

use super::Findings;

/// Simulated time within which everything pending must end once faults stop.
pub(crate) const BOUND_NS: u64 = 20_000_000_000;

/// Something did not happen within its bound.
pub(crate) fn stuck(what: &str, at: u64, findings: &mut Findings) {
    findings.liveness("L1", at, format!("{what} within {} s after the faults stopped", BOUND_NS / 1_000_000_000));
}

/// An operation failed although nothing stands in its way.
pub(crate) fn failed(what: &str, error: &str, at: u64, findings: &mut Findings) {
    findings.liveness("L1", at, format!("{what} failed although the faults stopped: {error}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Class;

    #[test]
    fn a_stuck_run_is_a_matter_of_liveness() {
        let mut findings = Findings::default();
        stuck("no answer came", 0, &mut findings);
        assert_eq!(findings.into_violations()[0].class, Class::Liveness);
    }
}
