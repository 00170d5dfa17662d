//! The simulator of dps.

pub mod mutants;
