//! Any configuration is either refused or kept exactly as it was asked for.

use std::time::Duration;

use dps_core::config::{Config, RawConfig};
use dps_core::limits::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX};

use crate::input::Input;

/// Asks for a configuration made of `data`.
///
/// # Panics
/// When the configuration is taken but breaks a limit, or is not what was asked for.
pub fn config(data: &[u8]) {
    let mut input = Input::new(data);
    let raw = RawConfig {
        block_bytes_min: input.u32(),
        block_bytes_max: input.u32(),
        blocks_target: input.u32(),
        large_file_blocks: input.u32(),
        inline_bytes_max: input.u32(),
        manifest_entries_max: input.u32(),
        manifest_fanout: input.u32(),
        volume_bytes: input.u64(),
        segment_bytes: input.u64(),
        ingest_bytes_max: input.u64(),
        settle_after: Duration::from_nanos(input.u64()),
        credit_timeout: Duration::new(input.u64(), input.u32() % 1_000_000_000),
    };
    let Ok(config) = Config::new(raw) else { return };
    let geometry = config.geometry();
    assert_eq!(geometry.block_bytes_max(), raw.block_bytes_max);
    assert_eq!(geometry.inline_bytes_max(), raw.inline_bytes_max);
    assert_eq!(config.volume_bytes(), raw.volume_bytes);
    assert_eq!(config.segment_bytes(), raw.segment_bytes);
    assert_eq!(config.ingest_bytes_max(), raw.ingest_bytes_max);
    assert_eq!(config.settle_after(), raw.settle_after);
    assert_eq!(config.credit_timeout(), raw.credit_timeout);
    assert!(raw.block_bytes_min.is_power_of_two() && raw.block_bytes_max.is_power_of_two());
    assert!(raw.block_bytes_min <= raw.block_bytes_max && raw.block_bytes_max <= CHUNK_BYTES_MAX);
    assert!(raw.inline_bytes_max <= INLINE_BYTES_MAX && raw.inline_bytes_max < raw.block_bytes_min);
    assert!(raw.ingest_bytes_max >= u64::from(raw.block_bytes_max), "one chunk must fit");
}
