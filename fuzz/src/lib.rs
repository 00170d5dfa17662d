//! Fuzz targets as plain functions of bytes: `cargo +nightly fuzz run NAME` explores them, and the ordinary tests replay
//! everything that was found (`fuzz/corpus/NAME/*`) on stable Rust. A target fails by panicking.

mod config;
mod input;
mod node_events;

pub use config::config;
pub use node_events::node_events;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target by the name of its binary and of its folder of the corpus.
pub const TARGETS: [(&str, Target); 2] = [("config", config), ("node_events", node_events)];
