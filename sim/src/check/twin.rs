//! W4: a run and its twin, which uses the other event queue, have the same trace hash.

use super::{Class, Violation};

pub(crate) fn check(first: u64, twin: u64, at_ns: u64) -> Option<Violation> {
    let message = format!("the run has trace hash {first:016x}, its twin with the other event queue {twin:016x}");
    (first != twin).then_some(Violation { checker: "W4", class: Class::Correctness, at_ns, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_hashes_are_found() {
        assert_eq!(check(7, 7, 0), None);
        assert!(check(7, 8, 0).is_some());
    }
}
