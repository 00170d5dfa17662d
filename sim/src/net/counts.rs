//! What became of all messages of a run.

use serde::Serialize;

/// Why a message or a copy of it never arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// It was lost by chance.
    Loss,
    /// Sender and receiver were parted, when it was sent or when it arrived.
    Cut,
    /// The sender's queue was full.
    QueueFull,
}

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Messages that were sent.
    pub sent: u64,
    /// Copies that the network added.
    pub duplicated: u64,
    /// Copies that arrived.
    pub delivered: u64,
    /// Messages dropped for [`DropReason::Loss`].
    pub lost: u64,
    /// Messages or copies dropped for [`DropReason::Cut`].
    pub cut: u64,
    /// Messages dropped for [`DropReason::QueueFull`].
    pub queue_full: u64,
    /// Copies in which a bit flips. They count as any other.
    pub corrupted: u64,
    /// How often a copy was held; a copy can be held several times.
    pub held: u64,
}

impl Counts {
    pub(super) const fn drop_one(&mut self, reason: DropReason) {
        match reason {
            DropReason::Loss => self.lost += 1,
            DropReason::Cut => self.cut += 1,
            DropReason::QueueFull => self.queue_full += 1,
        }
    }

    /// Messages and copies that were dropped, for whatever reason.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.lost + self.cut + self.queue_full
    }

    /// Conservation: what was sent or added was delivered, was dropped, or is one of the copies that the caller has in
    /// flight or holds.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check(&self, in_flight: u64) -> Result<(), String> {
        let made = self.sent + self.duplicated;
        let gone = self.delivered + self.dropped() + in_flight;
        if made == gone {
            Ok(())
        } else {
            Err(format!("{made} messages and copies, of which {gone} are known: {self:?}"))
        }
    }
}
