//! Faults of a group whose victims are found when they strike, by the part that they play then.

use serde::{Deserialize, Serialize};

use super::Point;

/// A fault that finds its victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blow {
    /// Nanoseconds since the start of the run, or since the observation that it waits for.
    pub at_ns: u64,
    /// Nanoseconds that it lasts.
    pub duration_ns: u64,
    /// What happens.
    pub kind: BlowKind,
    /// Which of those whom it may strike besides, as a remainder.
    pub pick: u32,
    /// At which time of the observation, from 1, counted over all hosts.
    #[serde(default)]
    pub nth: u32,
    /// What it waits for, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Point>,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlowKind {
    /// Nothing goes to or from the leader.
    IsolateLeader,
    /// Nothing goes between the leader with as many as do not make a majority, and the rest.
    IsolateMinority,
    /// Nothing goes between the leader with one follower, and the rest.
    LeaveOne,
    /// The leader is not run.
    PauseLeader,
    /// The leader is not run, and nothing goes to or from it for as long again: it wakes up alone.
    FreezeLeader,
    /// What others say to the leader is held, and comes at the end.
    HoldAnswers,
    /// What the leader says to one follower is held, and comes at the end.
    HoldAppends,
    /// Nothing goes between the leader and one follower.
    CutFollower,
    /// Nothing goes to or from the voter that became one last.
    IsolateNewest,
    /// Nothing goes to or from whoever was observed.
    IsolateActor,
    /// Nothing goes from the leader to others; what they say it hears.
    MuteLeader,
    /// The leader loses power, and stays down for so long.
    CrashLeader,
    /// Whoever was observed loses power, and stays down for so long.
    CrashActor,
    /// What goes to anybody comes once more, at any time until twice as long after.
    Replay,
}

impl BlowKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::IsolateLeader,
        Self::IsolateMinority,
        Self::LeaveOne,
        Self::PauseLeader,
        Self::FreezeLeader,
        Self::HoldAnswers,
        Self::HoldAppends,
        Self::CutFollower,
        Self::IsolateNewest,
        Self::IsolateActor,
        Self::MuteLeader,
        Self::CrashLeader,
        Self::CrashActor,
        Self::Replay,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IsolateLeader => "leader isolated",
            Self::IsolateMinority => "leader isolated with a minority",
            Self::LeaveOne => "leader left with one follower",
            Self::PauseLeader => "leader paused",
            Self::FreezeLeader => "leader paused and isolated",
            Self::HoldAnswers => "answers to the leader held",
            Self::HoldAppends => "what the leader says held",
            Self::CutFollower => "follower cut from the leader",
            Self::IsolateNewest => "newest voter isolated",
            Self::IsolateActor => "observed member isolated",
            Self::MuteLeader => "leader not heard",
            Self::CrashLeader => "leader crashed",
            Self::CrashActor => "observed member crashed",
            Self::Replay => "messages replayed",
        }
    }
}
