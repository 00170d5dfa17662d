//! The only place that draws randomness from the operating system.

use std::io;

use dps_core::rng::Seed;
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

/// A fresh seed for a node, different at every start.
///
/// # Errors
/// When the operating system gives none.
pub fn seed() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    // Requests of up to 256 bytes are answered as a whole (getrandom(2)).
    let drawn = retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
    if drawn < bytes.len() {
        return Err(io::Error::other("the operating system gave too few random bytes"));
    }
    Ok(Seed::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
