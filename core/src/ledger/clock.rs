//! Ledger time from the clocks of the voters (rule L3).

use alloc::vec::Vec;

use crate::time::WallTime;

/// The time that most voters stand for: half of `clocks` are no later, and half no earlier. Of an even number it is the
/// lower one in the middle, so that a fast clock alone moves nothing. `None` without a clock.
///
/// So a minority of wrong clocks gives a time that lies between two right ones. Whoever leads gives the clocks it was
/// told with the newest acknowledgements, its own among them, and proposes what comes out.
#[must_use]
pub fn median(clocks: &[WallTime]) -> Option<WallTime> {
    let mut sorted = Vec::from(clocks);
    sorted.sort_unstable();
    let middle = sorted.len().checked_sub(1)? / 2;
    sorted.get(middle).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn median_of(clocks: &[u64]) -> Option<u64> {
        let clocks: Vec<_> = clocks.iter().copied().map(WallTime::from_nanos).collect();
        median(&clocks).map(WallTime::as_nanos)
    }

    #[test]
    fn of_an_even_number_it_is_the_lower_middle() {
        assert_eq!(median_of(&[]), None);
        assert_eq!(median_of(&[7]), Some(7));
        assert_eq!(median_of(&[9, 7]), Some(7));
        assert_eq!(median_of(&[1, 9, 7]), Some(7));
        assert_eq!(median_of(&[u64::MAX, 7, 8, 0]), Some(7));
        assert_eq!(median_of(&[5, 5, 5, 9, 9]), Some(5));
    }

    proptest! {
        /// Whatever a minority says, the median is between two clocks of the others.
        #[test]
        fn a_minority_of_wrong_clocks_moves_it_nowhere(
            right in prop::collection::vec(100..200_u64, 1..8),
            wrong in prop::collection::vec(any::<u64>(), 0..8),
            turn in any::<prop::sample::Index>(),
        ) {
            let wrong = &wrong[..wrong.len().min(right.len() - 1)];
            let mut clocks = [&*right, wrong].concat();
            let at = turn.index(clocks.len());
            clocks.rotate_left(at);
            let median = median_of(&clocks).unwrap();
            prop_assert!(right.iter().any(|clock| *clock <= median) && right.iter().any(|clock| median <= *clock));
        }
    }
}
