//! What an operator wants of a group: changes of who takes part, and of who leads.

use serde::{Deserialize, Serialize};

/// A wish at a fixed time. Whom it is about is decided then, among those for whom it makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Nanoseconds since the start of the run.
    pub at_ns: u64,
    /// What is wanted.
    pub kind: WishKind,
    /// Which of those whom it may be about, as a remainder.
    pub pick: u32,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WishKind {
    /// A host that takes no part becomes a learner, with whatever disk it has.
    AddLearner,
    /// A learner becomes a voter.
    Promote,
    /// A voter becomes a learner.
    Demote,
    /// A voter goes.
    Remove,
    /// The leader goes.
    RemoveLeader,
    /// A learner goes.
    RemoveLearner,
    /// A learner takes the place of a voter, at once.
    Replace,
    /// Two voters become learners, or all learners voters, at once.
    Several,
    /// Everybody goes, which must be refused.
    RemoveAll,
    /// Another voter shall lead.
    Transfer,
    /// A host that can't lead shall lead: nothing may come of it.
    TransferAstray,
}

impl WishKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::AddLearner,
        Self::Promote,
        Self::Demote,
        Self::Remove,
        Self::RemoveLeader,
        Self::RemoveLearner,
        Self::Replace,
        Self::Several,
        Self::RemoveAll,
        Self::Transfer,
        Self::TransferAstray,
    ];
}
