//! The operational ledger: what a name means, and which contents exist.

pub mod file;
pub mod name;
