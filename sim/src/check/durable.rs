//! S1: an acknowledged put can be read, with the same bytes, for ever unless it is deleted or replaced. What was seen or
//! acknowledged never reverts.

use dps_core::id::FileId;
use dps_core::ledger::file::TombstoneStat;
use dps_core::ledger::name::Name;

use super::{Findings, crash};
use crate::model::Refuted;

fn text(file: Option<FileId>) -> String {
    file.map_or_else(|| "nothing".into(), |file| format!("file {file}"))
}

/// Judges why an observation of a name was refuted by the model.
pub(crate) fn refuted(name: &Name, found: Option<FileId>, why: Refuted, at: u64, findings: &mut Findings) {
    match why {
        Refuted::Lost => {
            let text = format!("{name:?} means {}, but a change that was acknowledged or seen is lost", text(found));
            findings.correctness("S1", at, text);
        }
        Refuted::Version { expected } => {
            findings.correctness(
                "S1",
                at,
                format!("{name:?} has another version than the acknowledged one, {expected}"),
            );
        }
        Refuted::Phantom => crash::phantom(name, &text(found), at, findings),
    }
}

/// A new version that is not larger than one that was acknowledged before the write was sent.
pub(crate) fn version(name: &Name, version: u64, before: u64, at: u64, findings: &mut Findings) {
    if version <= before {
        let text = format!("{name:?} was stored as version {version}, but version {before} was acknowledged before");
        findings.correctness("S1", at, text);
    }
}

/// A name that must be in a page of a listing and is not.
pub(crate) fn unlisted(name: &Name, at: u64, findings: &mut Findings) {
    findings.correctness("S1", at, format!("{name:?} exists, but the listing goes past it"));
}

/// The tombstones of a name are not those that it must have or may have.
pub(crate) fn tombstones(name: &Name, found: &[TombstoneStat], why: Refuted, at: u64, findings: &mut Findings) {
    let versions: Vec<_> = found.iter().map(|stat| (stat.version, stat.reason)).collect();
    match why {
        Refuted::Lost | Refuted::Version { .. } => {
            let text =
                format!("{name:?} has the tombstones {versions:?}, but others were left and can't be reaped yet");
            findings.correctness("S1", at, text);
        }
        Refuted::Phantom => crash::phantom(name, &format!("among others {versions:?} once"), at, findings),
    }
}

/// Any other fact about a stored file that is not what was stored.
pub(crate) fn differs(what: &str, found: &str, expected: &str, at: u64, findings: &mut Findings) {
    findings.correctness("S1", at, format!("{what} is {found}, expected {expected}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refutation_has_its_checker() {
        let name = Name::new(b"n").unwrap();
        for (why, checker) in
            [(Refuted::Lost, "S1"), (Refuted::Phantom, "S3"), (Refuted::Version { expected: 3 }, "S1")]
        {
            let mut findings = Findings::default();
            refuted(&name, None, why, 0, &mut findings);
            assert_eq!(findings.into_violations()[0].checker, checker);
        }
    }

    #[test]
    fn versions_must_grow() {
        let name = Name::new(b"n").unwrap();
        let mut findings = Findings::default();
        version(&name, 4, 3, 0, &mut findings);
        assert!(findings.is_empty());
        version(&name, 3, 3, 0, &mut findings);
        assert!(!findings.is_empty());
    }
}
