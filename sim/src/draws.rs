//! Shapes of draws that several parts need.

use dps_core::rng::Rng;

/// A number whose magnitude is drawn first, so that small ones are as likely as large ones: below 2 to the power of a
/// number from `low` to `high`.
pub(crate) fn below_power(rng: &mut Rng, low: u64, high: u64) -> u64 {
    let exponent = rng.between(low, high);
    rng.below(1 << exponent)
}

/// A position in something of this length; 0 when it is empty.
pub(crate) fn index(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len.max(1) as u64)).expect("below a length")
}

/// One of several.
///
/// # Panics
/// When there are none.
pub(crate) fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[index(rng, all.len())]
}
