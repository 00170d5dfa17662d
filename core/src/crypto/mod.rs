//! Thin, total wrappers around cryptography. No algorithm is written here, only named.

pub mod hash;
