//! What a network is like while nothing is wrong with it.

use serde::{Deserialize, Serialize};

/// What a network is like: plain data, drawn by whoever makes the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Shape {
    /// How long messages take. Each is drawn by itself, so that messages overtake each other.
    pub latency: Latency,
    /// Messages that are lost, of a thousand.
    pub loss_permille: u16,
    /// Messages that come twice, of a thousand.
    pub duplicate_permille: u16,
    /// Copies in which a bit flips, of a thousand.
    pub corrupt_permille: u16,
    /// What each sender can send; 0 for no limit.
    pub bandwidth_bytes_per_s: u64,
    /// What may wait at each sender; what comes on top is dropped. A message that finds nothing waiting always passes.
    pub queue_bytes: u64,
}

impl Default for Shape {
    /// A quiet local network.
    fn default() -> Self {
        Self {
            latency: Latency { min_ns: 100_000, median_ns: 250_000, tail_ns: 10_000_000 },
            loss_permille: 0,
            duplicate_permille: 0,
            corrupt_permille: 0,
            bandwidth_bytes_per_s: 0,
            queue_bytes: 1 << 20,
        }
    }
}

/// How long messages take, as three points of a skewed distribution. Out of order they are put in order: the median is
/// at least the minimum, the tail at least the median.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Latency {
    /// No message is faster, in nanoseconds.
    pub min_ns: u64,
    /// Half of all messages are not slower, in nanoseconds.
    pub median_ns: u64,
    /// No message is slower, in nanoseconds; about one of a hundred takes more than a third of it.
    pub tail_ns: u64,
}

/// What stands for a whole in [`QUANTILES`].
const WHOLE: u32 = 1 << 16;

/// Which of [`QUANTILES`] is the median.
const MEDIAN: usize = 32;

/// The latency below which so many 64ths of all messages lie, from 1 to 64. The first half tells how far it is from
/// minimum to median, the second half how far from median to tail, both in 65,536ths: e^z of the normal quantile z,
/// computed once. The last stands for the quantile of 0.999.
const QUANTILES: [u32; 64] = [
    7604, 10174, 12264, 14133, 15876, 17542, 19158, 20744, 22311, 23870, 25427, 26990, 28562, 30150, 31756, 33385,
    35040, 36725, 38444, 40198, 41993, 43831, 45717, 47654, 49646, 51697, 53812, 55996, 58255, 60593, 63018, 65536,
    125, 255, 390, 532, 680, 836, 1000, 1172, 1354, 1547, 1751, 1969, 2201, 2450, 2718, 3008, 3322, 3666, 4043, 4461,
    4927, 5452, 6051, 6744, 7561, 8546, 9770, 11361, 13568, 16995, 23795, 65536,
];

impl Latency {
    /// The latency that a draw of any 64 bits stands for: six bits choose among equally likely ranges, sixteen a place
    /// in the range. It never falls when the draw grows.
    pub(super) fn at(&self, draw: u64) -> u64 {
        let range = usize::try_from(draw >> 58).expect("six bits");
        let (low_ns, high_ns) = (self.quantile_ns(range), self.quantile_ns(range + 1));
        low_ns + part(high_ns - low_ns, (draw >> 42) & 0xffff)
    }

    /// No slower than this are so many 64ths of all messages.
    fn quantile_ns(&self, of_64: usize) -> u64 {
        let median_ns = self.median_ns.max(self.min_ns);
        let tail_ns = self.tail_ns.max(median_ns);
        match of_64 {
            0 => self.min_ns,
            1..=MEDIAN => self.min_ns + part(median_ns - self.min_ns, u64::from(QUANTILES[of_64 - 1])),
            _ => median_ns + part(tail_ns - median_ns, u64::from(QUANTILES[of_64 - 1])),
        }
    }
}

/// So many 65,536ths of a number.
fn part(of: u64, parts: u64) -> u64 {
    let product = u128::from(of) * u128::from(parts) / u128::from(WHOLE);
    u64::try_from(product).expect("no more than the whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Latency = Latency { min_ns: 1_000, median_ns: 9_000, tail_ns: 900_000 };

    #[test]
    fn the_ends_and_the_middle_are_what_they_are_called() {
        assert_eq!(LATENCY.at(0), 1_000);
        assert_eq!(LATENCY.at(1 << 63), 9_000);
        assert!((880_000..=900_000).contains(&LATENCY.at(u64::MAX)), "{}", LATENCY.at(u64::MAX));
        assert_eq!(LATENCY.quantile_ns(64), 900_000);
    }

    #[test]
    fn a_larger_draw_is_never_faster() {
        let draws = (0..4_096_u64).map(|step| LATENCY.at(step << 52));
        assert!(draws.is_sorted());
        let extreme = Latency { min_ns: 0, median_ns: u64::MAX / 2, tail_ns: u64::MAX };
        assert!((0..4_096_u64).map(|step| extreme.at(step << 52)).is_sorted());
    }

    #[test]
    fn points_out_of_order_are_put_in_order() {
        let latency = Latency { min_ns: 7, median_ns: 3, tail_ns: 5 };
        assert_eq!([latency.at(0), latency.at(1 << 63), latency.at(u64::MAX)], [7; 3]);
    }
}
