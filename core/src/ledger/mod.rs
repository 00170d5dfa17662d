//! The operational ledger: what a name means, and which contents exist.

pub mod clock;
pub mod command;
pub mod entry;
pub mod file;
pub mod name;
pub mod snapshot;
pub mod state;
pub mod tree;
