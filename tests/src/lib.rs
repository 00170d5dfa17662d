//! Harness of the tests that need more than one crate.

pub mod command;
pub mod disk_contract;
pub mod laws;
pub mod members;
pub mod seeds;
pub mod source;
pub mod tree;
