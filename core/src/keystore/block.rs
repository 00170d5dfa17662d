//! How long the blocks of a file are: the rule of the Go original (`key_store/config.go`, `CalculateBlockSize`), in
//! integers, over any [`Geometry`].
//!
//! With the standard geometry: up to 4 MiB blocks of 64 KiB, up to 512 MiB blocks of 4 MiB, above that the power of two
//! nearest to a thousandth of the file (512 KiB, 1 MiB, 2 MiB, from 2,965,821,000 bytes on 4 MiB for ever).

use crate::config::Geometry;

/// A file that needs more blocks than a `u32` can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file of {size} bytes in blocks of {block_bytes} has more than 4,294,967,295 blocks")]
pub struct TooManyBlocks {
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of a block.
    pub block_bytes: u32,
}

/// Bytes of every block but the last of a file of `size` bytes; 0 for the empty file, never more than `size`.
#[must_use]
pub fn block_bytes(geometry: &Geometry, size: u64) -> u32 {
    let (min, max) = (u64::from(geometry.block_bytes_min), u64::from(geometry.block_bytes_max));
    assert!(min <= max, "a geometry is checked when it is made");
    if size < min {
        return u32::try_from(size).expect("below block_bytes_min, a u32");
    }
    let candidate = nearest_power_of_two(size / u64::from(geometry.blocks_target));
    let block = promote(geometry, size, candidate).clamp(min, max).min(size);
    u32::try_from(block).expect("at most block_bytes_max, a u32")
}

/// Bytes of every block but the last of a file of `size` bytes whose size was not known before its end was seen.
///
/// A pipe is held back until it is longer than one largest block; then it has largest blocks for ever. That is what
/// [`block_bytes`] says as well, up to `large_file_blocks` of them.
#[must_use]
pub fn piped_block_bytes(geometry: &Geometry, size: u64) -> u32 {
    if size <= u64::from(geometry.block_bytes_max) { block_bytes(geometry, size) } else { geometry.block_bytes_max }
}

/// Files of more than one largest block but no more than `large_file_blocks` of them take the largest block; all
/// others keep `candidate`.
fn promote(geometry: &Geometry, size: u64, candidate: u64) -> u64 {
    let max = u64::from(geometry.block_bytes_max);
    let large = max * u64::from(geometry.large_file_blocks);
    if size > max && size <= large { max } else { candidate }
}

/// 2 to the power of `log2 value`, rounded half away from zero; 0 for 0.
///
/// `log2 value` is at least `k + 1/2` if and only if `value` squared is at least 2 to the `2k + 1`. That odd power is no
/// square, so the two are never equal and "half" never occurs: no rounding of a float can matter.
fn nearest_power_of_two(value: u64) -> u64 {
    let Some(floor) = value.checked_ilog2() else { return 0 };
    let square = u128::from(value) * u128::from(value);
    let exponent = if square >= 1 << (2 * floor + 1) { floor + 1 } else { floor };
    1_u64.checked_shl(exponent).unwrap_or(u64::MAX)
}

/// How a file lies in blocks: all of one length but the last, which has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: u64,
    /// Invariant: 0 exactly if `size` is 0.
    block_bytes: u32,
    count: u32,
}

impl Layout {
    /// The layout of `size` bytes in blocks of `block_bytes`.
    ///
    /// # Errors
    /// When there are more blocks than a `u32` counts.
    ///
    /// # Panics
    /// When just one of the two is 0.
    pub fn new(size: u64, block_bytes: u32) -> Result<Self, TooManyBlocks> {
        assert_eq!(size == 0, block_bytes == 0, "the empty file, and only that, has no block length");
        let count = if size == 0 { 0 } else { size.div_ceil(u64::from(block_bytes)) };
        let count = u32::try_from(count).map_err(|_| TooManyBlocks { size, block_bytes })?;
        Ok(Self { size, block_bytes, count })
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of every block but the last; 0 for the empty file.
    #[must_use]
    pub const fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// How many blocks there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of block `index`.
    ///
    /// # Panics
    /// When there is no such block.
    #[must_use]
    pub fn bytes_of(&self, index: u32) -> u32 {
        assert!(index < self.count, "block {index} of {}", self.count);
        let rest = self.size - self.start_of(index);
        u32::try_from(rest.min(u64::from(self.block_bytes))).expect("at most block_bytes, a u32")
    }

    /// Where block `index` starts, in bytes.
    #[must_use]
    pub fn start_of(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.block_bytes)
    }

    /// The block that byte `offset` lies in.
    ///
    /// # Panics
    /// When the file ends before it.
    #[must_use]
    pub fn index_of(&self, offset: u64) -> u32 {
        assert!(offset < self.size, "byte {offset} of {}", self.size);
        u32::try_from(offset / u64::from(self.block_bytes)).expect("below count, a u32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RawConfig};
    use proptest::prelude::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn standard() -> Geometry {
        *Config::new(RawConfig::STANDARD).unwrap().geometry()
    }

    #[test]
    fn every_vector_of_the_original_holds() {
        for (size, block, count, last) in [
            (0, 0, 0, 0),
            (1, 1, 1, 1),
            (1_000, 1_000, 1, 1_000),
            (65_535, 65_535, 1, 65_535),
            (65_536, 65_536, 1, 65_536),
            (65_537, 65_536, 2, 1),
            (100_000, 65_536, 2, 34_464),
            (131_072, 65_536, 2, 65_536),
            (1_048_576, 65_536, 16, 65_536),
            (4_194_303, 65_536, 64, 65_535),
            (4_194_304, 65_536, 64, 65_536),
            (4_194_305, 4_194_304, 2, 1),
            (5_242_880, 4_194_304, 2, 1_048_576),
            (100_000_000, 4_194_304, 24, 3_531_008),
            (268_435_456, 4_194_304, 64, 4_194_304),
            (536_870_911, 4_194_304, 128, 4_194_303),
            (536_870_912, 4_194_304, 128, 4_194_304),
            (536_870_913, 524_288, 1_025, 1),
            (741_455_200, 524_288, 1_415, 111_968),
            (741_456_000, 1_048_576, 708, 112_768),
            (1_000_000_000, 1_048_576, 954, 707_072),
            (1_073_741_824, 1_048_576, 1_024, 1_048_576),
            (1_482_910_400, 1_048_576, 1_415, 223_936),
            (1_482_911_000, 2_097_152, 708, 224_536),
            (2_147_483_648, 2_097_152, 1_024, 2_097_152),
            (3_000_000_000, 4_194_304, 716, 1_072_640),
            (10_000_000_000, 4_194_304, 2_385, 779_264),
            (1_099_511_627_776, 4_194_304, 262_144, 4_194_304),
        ] {
            let found = block_bytes(&standard(), size);
            assert_eq!(found, block, "block of {size}");
            let layout = Layout::new(size, found).unwrap();
            assert_eq!(layout.count(), count, "blocks of {size}");
            if count > 0 {
                assert_eq!(layout.bytes_of(count - 1), last, "last block of {size}");
            }
        }
    }

    #[test]
    fn the_originals_own_tests_hold() {
        let geometry = standard();
        for (size, candidate, expected) in [
            (0, 12_345, 0),
            (4 * MIB - 1, 64 * KIB, 64 * KIB),
            (4 * MIB, 64 * KIB, 64 * KIB),
            (4 * MIB + 1, 64 * KIB, 4 * MIB),
            (4 * MIB + 1, 8 * MIB, 4 * MIB),
            (512 * MIB, 64 * KIB, 4 * MIB),
            (512 * MIB + 1, 64 * KIB, 64 * KIB),
            (GIB, MIB, MIB),
        ] {
            // The original's promotion answers 0 for the empty file; here that is decided before.
            let found =
                if size == 0 { u64::from(block_bytes(&geometry, 0)) } else { promote(&geometry, size, candidate) };
            assert_eq!(found, expected, "{size} with {candidate}");
        }
        for (size, expected) in
            [(1_024, 1_024), (4 * MIB + 1, 4 << 20), (512 * MIB, 4 << 20), (512 * MIB + 1, 512 << 10), (GIB, 1 << 20)]
        {
            assert_eq!(block_bytes(&geometry, size), expected, "{size}");
        }
    }

    #[test]
    fn blocks_double_exactly_at_their_thresholds() {
        for (first, below, from) in [
            (741_456_000, 512 * KIB, MIB),
            (1_482_911_000, MIB, 2 * MIB),
            (2_965_821_000, 2 * MIB, 4 * MIB),
            (4 * MIB + 1, 64 * KIB, 4 * MIB),
            (512 * MIB + 1, 4 * MIB, 512 * KIB),
        ] {
            assert_eq!(u64::from(block_bytes(&standard(), first - 1)), below, "just below {first}");
            assert_eq!(u64::from(block_bytes(&standard(), first)), from, "from {first}");
        }
        assert_eq!(block_bytes(&standard(), u64::MAX), 4 << 20);
    }

    #[test]
    fn a_pipe_has_the_blocks_of_a_file_up_to_512_mib() {
        for size in [0, 1, 65_536, 4 * MIB, 4 * MIB + 1, 512 * MIB] {
            assert_eq!(piped_block_bytes(&standard(), size), block_bytes(&standard(), size), "{size}");
        }
        assert_eq!(piped_block_bytes(&standard(), 512 * MIB + 1), 4 << 20);
        assert_eq!(piped_block_bytes(&standard(), GIB), 4 << 20);
    }

    #[test]
    fn more_blocks_than_a_u32_counts_are_an_error() {
        let most = u64::from(u32::MAX) * (4 << 20);
        assert_eq!(Layout::new(most, 4 << 20).unwrap().count(), u32::MAX);
        assert_eq!(Layout::new(most + 1, 4 << 20), Err(TooManyBlocks { size: most + 1, block_bytes: 4 << 20 }));
        assert!(Layout::new(u64::MAX, 4 << 20).is_err());
    }

    #[test]
    fn offsets_and_blocks_agree() {
        let layout = Layout::new(10, 4).unwrap();
        assert_eq!((layout.count(), layout.bytes_of(0), layout.bytes_of(2)), (3, 4, 2));
        for offset in 0..10 {
            let index = layout.index_of(offset);
            let start = layout.start_of(index);
            assert!(start <= offset && offset < start + u64::from(layout.bytes_of(index)));
        }
    }

    /// The power of two whose logarithm is nearest: tried one by one.
    fn nearest_by_search(value: u64) -> u64 {
        let fits = |exponent: &u32| {
            let square = u128::from(value) * u128::from(value);
            let low = if *exponent == 0 { 0 } else { 1_u128 << (2 * exponent - 1) };
            square >= low && square < 1_u128 << (2 * exponent + 1)
        };
        1 << (0..63).find(fits).unwrap()
    }

    proptest! {
        #[test]
        fn rounding_is_to_the_nearest_power(bits in 1_u32..62, low in any::<u64>()) {
            let value = (1 << bits) | (low & ((1 << bits) - 1));
            prop_assert_eq!(nearest_power_of_two(value), nearest_by_search(value));
        }

        #[test]
        fn a_block_keeps_its_bounds_in_any_geometry(
            (low, high) in (1_u32..8, 0_u32..8),
            target in 1_u32..40,
            large in 1_u32..20,
            size in 0_u64..50_000,
        ) {
            let raw = RawConfig {
                block_bytes_min: 1 << low,
                block_bytes_max: 1 << (low + high),
                blocks_target: target,
                large_file_blocks: large,
                inline_bytes_max: 0,
                ..RawConfig::STANDARD
            };
            let geometry = *Config::new(raw).unwrap().geometry();
            let block = u64::from(block_bytes(&geometry, size));
            let (min, max) = (u64::from(raw.block_bytes_min), u64::from(raw.block_bytes_max));
            prop_assert!(block >= min.min(size) && block <= max.min(size));
            prop_assert!(block == size || block.is_power_of_two());
            if size > max && size <= max * u64::from(large) {
                prop_assert_eq!(block, max);
                prop_assert_eq!(u64::from(piped_block_bytes(&geometry, size)), max);
            }
        }
    }
}
