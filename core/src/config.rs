//! Configuration, parsed once: an invalid one can't be represented afterwards.

use core::time::Duration;

use crate::limits::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX, MANIFEST_FANOUT_MAX, MANIFEST_INLINE_ENTRIES_MAX};

/// What a user or a simulation asks for, unchecked. Sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawConfig {
    /// Files below this size are one chunk; larger ones have no smaller chunks. A power of two.
    pub block_bytes_min: u32,
    /// No chunk is larger. A power of two, at most 4 MiB.
    pub block_bytes_max: u32,
    /// How many chunks a large file should have, about.
    pub blocks_target: u32,
    /// Files of up to this many of the largest blocks use the largest block.
    pub large_file_blocks: u32,
    /// Content up to this size is part of the ledger entry.
    pub inline_bytes_max: u32,
    /// Manifests of up to this many chunks sit in the ledger entry.
    pub manifest_entries_max: u32,
    /// Entries of one node of a manifest tree.
    pub manifest_fanout: u32,
    /// A volume that has reached this size takes no further record.
    pub volume_bytes: u64,
    /// A journal segment that has reached this size takes no further record.
    pub segment_bytes: u64,
    /// Entries of the journal after one snapshot of the ledger before the next is made, at least: more if it is large.
    pub snapshot_entries: u64,
    /// Bytes that all puts together may have on their way to a volume.
    pub ingest_bytes_max: u64,
    /// How long the journal is idle before it records that its last entry is durable.
    pub settle_after: Duration,
    /// How long a put may hold credit without sending before it is dropped.
    pub credit_timeout: Duration,
    /// How long what was deleted or overwritten can be brought back.
    pub retain: Duration,
    /// How long a sweep waits for puts and verifications that began before it.
    pub sweep_wait: Duration,
    /// How long a scrub takes to read and hash every chunk once.
    pub scrub_period: Duration,
}

impl RawConfig {
    /// What every real store uses.
    pub const STANDARD: Self = Self {
        block_bytes_min: 64 << 10,
        block_bytes_max: 4 << 20,
        blocks_target: 1_000,
        large_file_blocks: 128,
        inline_bytes_max: 512,
        manifest_entries_max: 16,
        manifest_fanout: 1_024,
        volume_bytes: 1 << 30,
        segment_bytes: 64 << 20,
        snapshot_entries: 100_000,
        ingest_bytes_max: 16 << 20,
        settle_after: Duration::from_millis(50),
        credit_timeout: Duration::from_secs(10),
        retain: Duration::from_secs(7 * 86_400),
        sweep_wait: Duration::from_secs(3_600),
        scrub_period: Duration::from_secs(30 * 86_400),
    };
}

/// Why a configuration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is not within its bounds.
    #[error("{field} is {value}, but must be from {low} to {high}")]
    OutOfBounds {
        /// The field of [`RawConfig`].
        field: &'static str,
        /// What it was set to.
        value: u64,
        /// The smallest value allowed.
        low: u64,
        /// The largest value allowed.
        high: u64,
    },
    /// A block size is not a power of two.
    #[error("{field} is {value}, but must be a power of two")]
    NotPowerOfTwo {
        /// The field of [`RawConfig`].
        field: &'static str,
        /// What it was set to.
        value: u64,
    },
}

/// How files are cut and where manifests go. Shared by everything that must agree on chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub(crate) block_bytes_min: u32,
    pub(crate) block_bytes_max: u32,
    pub(crate) blocks_target: u32,
    pub(crate) large_file_blocks: u32,
    pub(crate) inline_bytes_max: u32,
    pub(crate) manifest_entries_max: u32,
    pub(crate) manifest_fanout: u32,
}

impl Geometry {
    /// No chunk is larger than this many bytes.
    #[must_use]
    pub const fn block_bytes_max(&self) -> u32 {
        self.block_bytes_max
    }

    /// Content up to this many bytes is part of the ledger entry.
    #[must_use]
    pub const fn inline_bytes_max(&self) -> u32 {
        self.inline_bytes_max
    }
}

/// A valid configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    geometry: Geometry,
    volume_bytes: u64,
    segment_bytes: u64,
    snapshot_entries: u64,
    ingest_bytes_max: u64,
    settle_after: Duration,
    credit_timeout: Duration,
    retain: Duration,
    sweep_wait: Duration,
    scrub_period: Duration,
}

impl Config {
    /// Checks `raw`.
    ///
    /// # Errors
    /// The first field that is out of bounds, with its bounds.
    pub fn new(raw: RawConfig) -> Result<Self, ConfigError> {
        let fanout = u64::from(MANIFEST_FANOUT_MAX);
        within("block_bytes_max", raw.block_bytes_max, 2, CHUNK_BYTES_MAX)?;
        within("block_bytes_min", raw.block_bytes_min, 2, raw.block_bytes_max)?;
        power_of_two("block_bytes_max", raw.block_bytes_max)?;
        power_of_two("block_bytes_min", raw.block_bytes_min)?;
        within("blocks_target", raw.blocks_target, 1, 1 << 20)?;
        within("large_file_blocks", raw.large_file_blocks, 1, 1 << 20)?;
        within("inline_bytes_max", raw.inline_bytes_max, 0, INLINE_BYTES_MAX.min(raw.block_bytes_min - 1))?;
        within("manifest_entries_max", raw.manifest_entries_max, 1, MANIFEST_INLINE_ENTRIES_MAX)?;
        between("manifest_fanout", u64::from(raw.manifest_fanout), 2, fanout)?;
        between("volume_bytes", raw.volume_bytes, 256, 1 << 40)?;
        between("segment_bytes", raw.segment_bytes, 256, 1 << 40)?;
        between("snapshot_entries", raw.snapshot_entries, 1, 1 << 40)?;
        between("ingest_bytes_max", raw.ingest_bytes_max, u64::from(raw.block_bytes_max), 1 << 40)?;
        duration("settle_after", raw.settle_after, Duration::from_micros(1), HOUR)?;
        duration("credit_timeout", raw.credit_timeout, Duration::from_millis(1), HOUR)?;
        duration("retain", raw.retain, Duration::ZERO, CENTURY)?;
        duration("sweep_wait", raw.sweep_wait, Duration::ZERO, CENTURY)?;
        duration("scrub_period", raw.scrub_period, Duration::from_millis(1), CENTURY)?;
        Ok(Self {
            geometry: Geometry {
                block_bytes_min: raw.block_bytes_min,
                block_bytes_max: raw.block_bytes_max,
                blocks_target: raw.blocks_target,
                large_file_blocks: raw.large_file_blocks,
                inline_bytes_max: raw.inline_bytes_max,
                manifest_entries_max: raw.manifest_entries_max,
                manifest_fanout: raw.manifest_fanout,
            },
            volume_bytes: raw.volume_bytes,
            segment_bytes: raw.segment_bytes,
            snapshot_entries: raw.snapshot_entries,
            ingest_bytes_max: raw.ingest_bytes_max,
            settle_after: raw.settle_after,
            credit_timeout: raw.credit_timeout,
            retain: raw.retain,
            sweep_wait: raw.sweep_wait,
            scrub_period: raw.scrub_period,
        })
    }

    /// How files are cut.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// A volume that has reached this many bytes takes no further record.
    #[must_use]
    pub const fn volume_bytes(&self) -> u64 {
        self.volume_bytes
    }

    /// A journal segment that has reached this many bytes takes no further record.
    #[must_use]
    pub const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Entries of the journal after one snapshot of the ledger before the next is made, at least: more if it is large.
    #[must_use]
    pub const fn snapshot_entries(&self) -> u64 {
        self.snapshot_entries
    }

    /// Bytes that all puts together may have on their way to a volume.
    #[must_use]
    pub const fn ingest_bytes_max(&self) -> u64 {
        self.ingest_bytes_max
    }

    /// How long the journal is idle before it records that its last entry is durable.
    #[must_use]
    pub const fn settle_after(&self) -> Duration {
        self.settle_after
    }

    /// How long a put may hold credit without sending before it is dropped.
    #[must_use]
    pub const fn credit_timeout(&self) -> Duration {
        self.credit_timeout
    }

    /// How long what was deleted or overwritten can be brought back.
    #[must_use]
    pub const fn retain(&self) -> Duration {
        self.retain
    }

    /// How long a sweep waits for puts and verifications that began before it.
    #[must_use]
    pub const fn sweep_wait(&self) -> Duration {
        self.sweep_wait
    }

    /// How long a scrub takes to read and hash every chunk once.
    #[must_use]
    pub const fn scrub_period(&self) -> Duration {
        self.scrub_period
    }
}

fn within(field: &'static str, value: u32, low: u32, high: u32) -> Result<(), ConfigError> {
    between(field, u64::from(value), u64::from(low), u64::from(high))
}

fn between(field: &'static str, value: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(ConfigError::OutOfBounds { field, value, low, high }) }
}

fn power_of_two(field: &'static str, value: u32) -> Result<(), ConfigError> {
    if value.is_power_of_two() { Ok(()) } else { Err(ConfigError::NotPowerOfTwo { field, value: u64::from(value) }) }
}

const HOUR: Duration = Duration::from_secs(3_600);
const CENTURY: Duration = Duration::from_secs(36_525 * 86_400);

fn duration(field: &'static str, value: Duration, low: Duration, high: Duration) -> Result<(), ConfigError> {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    between(field, nanos(value), nanos(low), nanos(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_configuration_is_valid() {
        let config = Config::new(RawConfig::STANDARD).unwrap();
        assert_eq!(config.geometry().block_bytes_max(), CHUNK_BYTES_MAX);
    }

    #[test]
    fn each_bound_is_named_when_it_is_broken() {
        let standard = RawConfig::STANDARD;
        for (raw, expected) in [
            (RawConfig { block_bytes_max: 8 << 20, ..standard }, "block_bytes_max"),
            (RawConfig { block_bytes_min: 8 << 20, ..standard }, "block_bytes_min"),
            (RawConfig { block_bytes_min: 65_537, ..standard }, "block_bytes_min"),
            (RawConfig { blocks_target: 0, ..standard }, "blocks_target"),
            (RawConfig { large_file_blocks: 0, ..standard }, "large_file_blocks"),
            (RawConfig { inline_bytes_max: 513, ..standard }, "inline_bytes_max"),
            (RawConfig { block_bytes_min: 16, inline_bytes_max: 16, ..standard }, "inline_bytes_max"),
            (RawConfig { manifest_entries_max: 17, ..standard }, "manifest_entries_max"),
            (RawConfig { manifest_fanout: 1, ..standard }, "manifest_fanout"),
            (RawConfig { volume_bytes: 0, ..standard }, "volume_bytes"),
            (RawConfig { segment_bytes: 0, ..standard }, "segment_bytes"),
            (RawConfig { snapshot_entries: 0, ..standard }, "snapshot_entries"),
            (RawConfig { ingest_bytes_max: 1, ..standard }, "ingest_bytes_max"),
            (RawConfig { settle_after: Duration::ZERO, ..standard }, "settle_after"),
            (RawConfig { credit_timeout: Duration::MAX, ..standard }, "credit_timeout"),
            (RawConfig { retain: Duration::MAX, ..standard }, "retain"),
            (RawConfig { sweep_wait: Duration::MAX, ..standard }, "sweep_wait"),
            (RawConfig { scrub_period: Duration::ZERO, ..standard }, "scrub_period"),
        ] {
            let field = match Config::new(raw).unwrap_err() {
                ConfigError::OutOfBounds { field, .. } | ConfigError::NotPowerOfTwo { field, .. } => field,
            };
            assert_eq!(field, expected);
        }
    }
}
