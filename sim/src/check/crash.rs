//! S3: after a crash the state is everything that was acknowledged and any subset of what was not, nothing else. A put
//! that was cancelled before its commit, or refused, is never listed.

use dps_core::ledger::name::Name;

use super::Findings;

/// A name means something that was never committed under it.
pub(crate) fn phantom(name: &Name, found: &str, at: u64, findings: &mut Findings) {
    findings.correctness("S3", at, format!("{name:?} means {found}, which was never committed under this name"));
}

/// A write was refused, or answered as cancelled, although somebody had seen it take place.
pub(crate) fn refused_but_seen(name: &Name, at: u64, findings: &mut Findings) {
    findings.correctness("S3", at, format!("a write of {name:?} was refused, but it was seen before"));
}

/// A write took place although its condition did not hold.
pub(crate) fn condition(name: &Name, condition: &str, at: u64, findings: &mut Findings) {
    findings.correctness("S3", at, format!("a write of {name:?} took place although {condition} did not hold"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phantoms_are_found() {
        let mut findings = Findings::default();
        phantom(&Name::new(b"n").unwrap(), "x", 0, &mut findings);
        assert_eq!(findings.into_violations()[0].checker, "S3");
    }
}
