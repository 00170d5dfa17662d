//! Fuzz targets of dps. Each is a total function over bytes that panics when a property does not hold, so that the same
//! code runs under libFuzzer and, over the corpus, in the tests.
//!
//! The bytes are decisions rather than data wherever a random input would be refused at its first byte: they write
//! honest files and then damage them, or script a whole node with its disk and its clients.

#![forbid(unsafe_code)]

mod any_disk;
mod boot_record;
mod command;
mod config;
mod filter;
mod image;
mod input;
mod journal;
mod judge;
mod manifest;
mod memory;
mod node_events;
mod volume;
mod wire;

pub use any_disk::any_disk;
pub use boot_record::boot_record;
pub use command::command;
pub use config::config;
pub use filter::filter;
pub use journal::journal;
pub use manifest::manifest;
pub use node_events::node_events;
pub use volume::volume;
pub use wire::wire;

/// A target: total, and panics only when a property does not hold.
pub type Target = fn(&[u8]);

/// Every target with the name of its folder in `corpus/` and `regressions/`.
pub const TARGETS: [(&str, Target); 10] = [
    ("any_disk", any_disk),
    ("boot_record", boot_record),
    ("command", command),
    ("config", config),
    ("filter", filter),
    ("journal", journal),
    ("manifest", manifest),
    ("node_events", node_events),
    ("volume", volume),
    ("wire", wire),
];
