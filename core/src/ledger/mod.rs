//! The operational ledger: what a name means, and which contents exist.

pub mod entry;
pub mod file;
pub mod log;
pub mod name;
pub mod recover;
