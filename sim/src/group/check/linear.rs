//! LIN: one order of all operations, each between its beginning and its end, explains what clients saw of each name.

use crate::check::Findings;
use crate::linear::{History, Verdict};

/// Configurations that are tried for each name.
const BUDGET: u64 = 30_000;

/// Judges a whole history. False if the search was given up.
pub(crate) fn check(at: u64, history: &History, findings: &mut Findings) -> bool {
    match history.check(BUDGET) {
        Verdict::Linearizable => true,
        Verdict::NotLinearizable { key, window, refuted_by } => {
            let last: Vec<String> = window.iter().rev().take(12).rev().map(|id| history.line(*id)).collect();
            let text = format!(
                "no order explains what clients saw of name {key}, which shows at: {}\n  {}",
                history.line(refuted_by),
                last.join("\n  ")
            );
            findings.correctness("LIN", at, text);
            true
        }
        Verdict::OutOfBudget { .. } => false,
    }
}
