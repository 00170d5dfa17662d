//! The luck of one message: everything that is drawn for it, before anything is decided.

use dps_core::rng::Seed;

/// Probabilities are in so many parts.
pub(super) const PERMILLE: u64 = 1_000;

/// What is drawn for one copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyLuck {
    /// Where its latency lies among all, of 2^64.
    pub(super) latency: u64,
    /// Below the chance of corruption, in per mille, a bit flips.
    pub(super) corrupt: u64,
    /// Picks the bit.
    pub(super) entropy: u64,
}

/// What is drawn for one message. It is drawn as a whole, whether it is needed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Luck {
    /// Below the chance of loss, in per mille, the message is lost.
    pub(super) loss: u64,
    /// Below the chance of duplication, in per mille, there are two of it.
    pub(super) duplicate: u64,
    pub(super) copies: [CopyLuck; 2],
}

impl Luck {
    /// The luck of message `number` from one node to another: a function of these four and of nothing else.
    pub(super) fn of(seed: &Seed, from: u32, to: u32, number: u64) -> Self {
        let link = seed.split("link", u64::from(from) << 32 | u64::from(to));
        let mut rng = link.split("message", number).rng();
        let loss = rng.below(PERMILLE);
        let duplicate = rng.below(PERMILLE);
        let copies = [(); 2].map(|()| CopyLuck {
            latency: rng.next_u64(),
            corrupt: rng.below(PERMILLE),
            entropy: rng.next_u64(),
        });
        Self { loss, duplicate, copies }
    }
}
