//! What commands come to, and the bytes by which a session remembers it.
//!
//! Little-endian, from the first byte to the last; the kinds are counted on and never given again:
//!
//! ```text
//! u8 kind | by kind:
//!  1 stored           u64 version          8 superseded
//!  2 deleted                               9 reaped    u32 count | u8 more: 0 or 1
//!  3 conflict         u8 exists: 0, or 1   10 purged   u32 tombstones
//!                     and u64 version      11 cleaned
//!  4 not found                             12 session registered  u64 session
//!  5 stale lease      u64 epoch            13 session unknown
//!  6 sweep started    u64 epoch            14 serial too old
//!  7 sweep completed                       15 renamed   u64 version
//! 16 target conflict  as conflict           17 expired   as reaped
//! 18 clock doubtful                        19 clock set
//! ```

use alloc::vec::Vec;

use crate::layout::{Reader, Truncated};

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The name means the content now.
    Stored {
        /// The name's new version.
        version: u64,
    },
    /// The name is gone.
    Deleted,
    /// The name does not mean what was expected; only ledger time changed.
    Conflict {
        /// The version it has; `None` if it does not exist.
        current: Option<u64>,
    },
    /// The name to be deleted, renamed or purged, or the tombstone to be undeleted, does not exist; only ledger time
    /// changed.
    NotFound,
    /// The put's lease is older than the newest sweep; nothing changed. Its chunks must be touched again under the
    /// epoch of now.
    StaleLease {
        /// The epoch of now.
        epoch: u64,
    },
    /// A sweep has begun.
    SweepStarted {
        /// Its epoch, which is that of every lease from now on.
        epoch: u64,
    },
    /// The sweep is over, and chunks may be dropped by its filter.
    SweepCompleted,
    /// The sweep to be completed is not the open one; only ledger time changed.
    Superseded,
    /// Tombstones were removed.
    Reaped {
        /// How many.
        count: u32,
        /// Whether there are more of that age.
        more: bool,
    },
    /// The name and its tombstones are gone.
    Purged {
        /// How many tombstones there were.
        tombstones: u32,
    },
    /// Every content is missing, or after a deep clean everything is gone.
    Cleaned,
    /// The name means what the other one meant.
    Renamed {
        /// The name's new version; if it was renamed to itself, the one that it has and had.
        version: u64,
    },
    /// The name to be renamed to does not mean what was expected; only ledger time changed.
    TargetConflict {
        /// The version it has; `None` if it does not exist.
        current: Option<u64>,
    },
    /// Names that had expired were taken away.
    Expired {
        /// How many.
        count: u32,
        /// Whether there are more.
        more: bool,
    },
    /// Ledger time made a large step that nobody has confirmed, so that nothing goes by time; only ledger time changed.
    ClockDoubtful,
    /// The rule, the doubt or ledger time itself is as was asked for.
    ClockSet,
    /// The session has begun.
    SessionRegistered {
        /// Its identifier.
        session: u64,
    },
    /// There is no such session, or not any more; only ledger time changed. Whether the command was applied when it was
    /// proposed before can't be told.
    SessionUnknown,
    /// The session has come to serials so far above this one that its outcome is forgotten. The command was not applied
    /// now; whether it was before can't be told.
    SerialTooOld,
}

impl Outcome {
    /// Whether a session remembers this. What asks for the same command in another form is no outcome: nothing of it is
    /// recorded, and the serial stays free.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::StaleLease { .. })
    }

    /// Appends the bytes of this outcome.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        match self {
            Self::Stored { version: number }
            | Self::StaleLease { epoch: number }
            | Self::SweepStarted { epoch: number }
            | Self::Renamed { version: number }
            | Self::SessionRegistered { session: number } => out.extend_from_slice(&number.to_le_bytes()),
            Self::Conflict { current } | Self::TargetConflict { current } => {
                out.push(u8::from(current.is_some()));
                if let Some(version) = current {
                    out.extend_from_slice(&version.to_le_bytes());
                }
            }
            Self::Reaped { count, more } | Self::Expired { count, more } => {
                out.extend_from_slice(&count.to_le_bytes());
                out.push(u8::from(*more));
            }
            Self::Purged { tombstones } => out.extend_from_slice(&tombstones.to_le_bytes()),
            Self::Deleted
            | Self::NotFound
            | Self::SweepCompleted
            | Self::Superseded
            | Self::Cleaned
            | Self::SessionUnknown
            | Self::SerialTooOld
            | Self::ClockDoubtful
            | Self::ClockSet => {}
        }
    }

    /// The outcome that `bytes` are, from the first to the last; `None` if they are none. Total.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let outcome = decode_kind(&mut reader).ok()??;
        (reader.remaining() == 0).then_some(outcome)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Stored { .. } => 1,
            Self::Deleted => 2,
            Self::Conflict { .. } => 3,
            Self::NotFound => 4,
            Self::StaleLease { .. } => 5,
            Self::SweepStarted { .. } => 6,
            Self::SweepCompleted => 7,
            Self::Superseded => 8,
            Self::Reaped { .. } => 9,
            Self::Purged { .. } => 10,
            Self::Cleaned => 11,
            Self::SessionRegistered { .. } => 12,
            Self::SessionUnknown => 13,
            Self::SerialTooOld => 14,
            Self::Renamed { .. } => 15,
            Self::TargetConflict { .. } => 16,
            Self::Expired { .. } => 17,
            Self::ClockDoubtful => 18,
            Self::ClockSet => 19,
        }
    }
}

fn decode_kind(reader: &mut Reader<'_>) -> Result<Option<Outcome>, Truncated> {
    Ok(Some(match reader.u8()? {
        1 => Outcome::Stored { version: reader.u64()? },
        2 => Outcome::Deleted,
        kind @ (3 | 16) => {
            let current = match decode_flag(reader)? {
                Some(false) => None,
                Some(true) => Some(reader.u64()?),
                None => return Ok(None),
            };
            if kind == 3 { Outcome::Conflict { current } } else { Outcome::TargetConflict { current } }
        }
        4 => Outcome::NotFound,
        5 => Outcome::StaleLease { epoch: reader.u64()? },
        6 => Outcome::SweepStarted { epoch: reader.u64()? },
        7 => Outcome::SweepCompleted,
        8 => Outcome::Superseded,
        kind @ (9 | 17) => {
            let count = reader.u32()?;
            let Some(more) = decode_flag(reader)? else { return Ok(None) };
            if kind == 9 { Outcome::Reaped { count, more } } else { Outcome::Expired { count, more } }
        }
        10 => Outcome::Purged { tombstones: reader.u32()? },
        11 => Outcome::Cleaned,
        12 => Outcome::SessionRegistered { session: reader.u64()? },
        13 => Outcome::SessionUnknown,
        14 => Outcome::SerialTooOld,
        18 => Outcome::ClockDoubtful,
        19 => Outcome::ClockSet,
        15 => Outcome::Renamed { version: reader.u64()? },
        _ => return Ok(None),
    }))
}

/// A byte that is 0 or 1.
fn decode_flag(reader: &mut Reader<'_>) -> Result<Option<bool>, Truncated> {
    Ok(match reader.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// Golden: replicas of different versions must agree on what a session remembers.
    #[test]
    fn the_layout_never_changes() {
        for (outcome, expected) in [
            (Outcome::Stored { version: 0x0201 }, "010102000000000000"),
            (Outcome::Deleted, "02"),
            (Outcome::Conflict { current: None }, "0300"),
            (Outcome::Conflict { current: Some(7) }, "03010700000000000000"),
            (Outcome::NotFound, "04"),
            (Outcome::StaleLease { epoch: 8 }, "050800000000000000"),
            (Outcome::SweepStarted { epoch: 9 }, "060900000000000000"),
            (Outcome::SweepCompleted, "07"),
            (Outcome::Superseded, "08"),
            (Outcome::Reaped { count: 0x0201, more: true }, "090102000001"),
            (Outcome::Purged { tombstones: 3 }, "0a03000000"),
            (Outcome::Cleaned, "0b"),
            (Outcome::SessionRegistered { session: 4 }, "0c0400000000000000"),
            (Outcome::SessionUnknown, "0d"),
            (Outcome::SerialTooOld, "0e"),
            (Outcome::ClockDoubtful, "12"),
            (Outcome::ClockSet, "13"),
            (Outcome::Renamed { version: 5 }, "0f0500000000000000"),
            (Outcome::Expired { count: 0x0201, more: false }, "110102000000"),
            (Outcome::TargetConflict { current: None }, "1000"),
            (Outcome::TargetConflict { current: Some(6) }, "10010600000000000000"),
        ] {
            let mut bytes = Vec::new();
            outcome.encode(&mut bytes);
            assert_eq!(HEXLOWER.encode(&bytes), expected, "{outcome:?}");
            assert_eq!(Outcome::decode(&bytes), Some(outcome));
            assert_eq!(Outcome::decode(&bytes[..bytes.len() - 1]), None, "{outcome:?} cut short");
            bytes.push(0);
            assert_eq!(Outcome::decode(&bytes), None, "{outcome:?} with a byte after it");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(kind in 0..32_u8, rest in prop::collection::vec(0..3_u8, 0..12)) {
            let bytes = [&[kind], &*rest].concat();
            if let Some(outcome) = Outcome::decode(&bytes) {
                let mut again = Vec::new();
                outcome.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
