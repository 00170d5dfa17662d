//! The simulator of dps.
