//! Thin, total wrappers around cryptography, and what is built of them alone. No primitive is written here, only named.

pub mod hash;
pub mod merkle;
