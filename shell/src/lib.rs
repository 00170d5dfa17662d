//! The shell of dps.
