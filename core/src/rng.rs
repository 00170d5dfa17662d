//! Randomness as data: one 32-byte seed, split by label, so that one machine's draws never shift another's.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::crypto::hash::Sha256;

/// Where all randomness of a node comes from. The shell takes it from the operating system, the simulator from its own
/// seed. No secret is ever drawn from it except through [`Rng::bytes`] of a seed that the operating system gave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// A seed of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The seed of a part: SHA-256 over a domain string, this seed, the label with its length, and a counter.
    ///
    /// Children with different labels or counters are independent, and drawing from one never changes another.
    #[must_use]
    pub fn split(&self, label: &str, counter: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"dps seed v1");
        hash.update(&self.0);
        hash.update(&(label.len() as u64).to_le_bytes());
        hash.update(label.as_bytes());
        hash.update(&counter.to_le_bytes());
        Self(hash.finish())
    }

    /// The stream of this seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng(ChaCha8Rng::from_seed(self.0))
    }
}

/// A stream of ChaCha8 draws. Integers only: no float ever decides anything.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// Any 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, each equally likely (Lemire's multiply-shift with rejection).
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            #[expect(clippy::cast_possible_truncation, reason = "the low half is what the method compares")]
            let low = product as u64;
            // What is to be rejected is below the bound, so that a division is nearly never needed.
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return u64::try_from(product >> 64).expect("the high half of a product below 2^128 is 64 bits");
            }
        }
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low > high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range has no number");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.next_u64(),
        }
    }

    /// True in `numerator` of `denominator` cases.
    ///
    /// # Panics
    /// When `denominator` is zero.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: a change here changes every seed ever recorded.
    #[test]
    fn streams_are_fixed_for_ever() {
        let root = Seed::new([7; 32]);
        let mut raft = root.split("raft", 0).rng();
        assert_eq!([raft.next_u64(), raft.next_u64()], GOLDEN_RAFT);
        let mut disk = root.split("disk", 1).rng();
        assert_eq!(disk.below(1000), GOLDEN_DISK);
    }

    const GOLDEN_RAFT: [u64; 2] = [1_415_997_115_674_515_107, 16_705_828_068_706_352_240];
    const GOLDEN_DISK: u64 = 215;

    #[test]
    fn labels_and_counters_give_unrelated_streams() {
        let root = Seed::new([1; 32]);
        assert_ne!(root.split("a", 0), root.split("a", 1));
        assert_ne!(root.split("a", 0), root.split("b", 0));
        assert_ne!(root.split("ab", 0), root.split("a", u64::from(b'b')));
    }

    #[test]
    fn bounds_are_kept_at_the_edges() {
        let mut rng = Seed::new([2; 32]).rng();
        let mut seen = [false; 3];
        for _ in 0..200 {
            seen[usize::try_from(rng.below(3)).unwrap()] = true;
            assert_eq!(rng.below(1), 0);
            assert!((5..=6).contains(&rng.between(5, 6)));
        }
        assert_eq!(seen, [true; 3]);
        assert!(!rng.chance(0, 1));
        assert!(rng.chance(1, 1));
        rng.between(0, u64::MAX);
    }
}
