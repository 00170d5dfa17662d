//! The operational ledger: what a name means, and which contents exist.

pub mod clock;
pub mod command;
pub mod entry;
pub mod file;
pub mod log;
pub mod name;
pub mod recover;
pub mod snapshot;
pub mod state;
pub mod tree;
