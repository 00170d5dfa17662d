//! The operational ledger: what a name means, and which contents exist.

pub mod command;
pub mod file;
pub mod name;
pub mod state;
pub mod tree;
