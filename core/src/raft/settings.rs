//! How patient a group is, and how much may be on its way.

use core::time::Duration;

use crate::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX};

/// Settings of one node. Those of a group should be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A follower that hears nothing of a leader for this long, or up to `election_timeout_max`, wants to become one.
    /// Nobody votes against a leader that it heard of within this time.
    pub election_timeout_min: Duration,
    /// The longest that it waits.
    pub election_timeout_max: Duration,
    /// How often a leader says that it is there.
    pub heartbeat_interval: Duration,
    /// Entries of one message.
    pub append_entries_max: usize,
    /// Bytes of the entries of one message; one entry may have more.
    pub append_bytes_max: u64,
    /// Messages with entries that one follower has not answered.
    pub in_flight_max: usize,
    /// Bytes of entries that are not committed. A leader that has more refuses proposals.
    pub uncommitted_bytes_max: u64,
    /// Entries before the newest snapshot that stay in the log, so that who is only a little behind needs no snapshot.
    pub trailing_entries: u64,
}

impl Settings {
    /// 150 to 300 ms (Ongaro 2014, section 9.3), a heartbeat every 50.
    pub const STANDARD: Self = Self {
        election_timeout_min: Duration::from_millis(150),
        election_timeout_max: Duration::from_millis(300),
        heartbeat_interval: Duration::from_millis(50),
        append_entries_max: 1_024,
        append_bytes_max: 256 << 10,
        in_flight_max: 64,
        uncommitted_bytes_max: 16 << 20,
        trailing_entries: 4_096,
    };

    /// The settings, if they make sense together.
    ///
    /// # Errors
    /// Which of them does not.
    pub fn checked(self) -> Result<Self, SettingsError> {
        let Self { election_timeout_min, election_timeout_max, heartbeat_interval, .. } = self;
        if heartbeat_interval.is_zero() || heartbeat_interval * 2 > election_timeout_min {
            return Err(SettingsError::Heartbeat);
        }
        if election_timeout_max <= election_timeout_min {
            return Err(SettingsError::Timeout);
        }
        let entries = 1..=APPEND_ENTRIES_MAX;
        let bytes = 1..=APPEND_BYTES_MAX;
        let fits = entries.contains(&self.append_entries_max) && bytes.contains(&self.append_bytes_max);
        if !fits || self.in_flight_max == 0 {
            return Err(SettingsError::Window);
        }
        Ok(self)
    }
}

/// Settings that can't work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Followers would lose patience with a leader that is there.
    #[error("the heartbeat interval must be above zero and at most half of the shortest election timeout")]
    Heartbeat,
    /// Everybody would become a candidate at the same time.
    #[error("the longest election timeout must be above the shortest")]
    Timeout,
    /// Nothing could be sent, or what is sent not be taken.
    #[error(
        "a message has 1 to {APPEND_ENTRIES_MAX} entries and 1 to {APPEND_BYTES_MAX} bytes of them, and at least one is on its way"
    )]
    Window,
}
