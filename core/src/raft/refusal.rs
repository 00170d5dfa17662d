//! Why a node does not do what it is asked to.

use super::membership::ChangeError;
use crate::id::NodeId;
use crate::limits::ENTRY_PAYLOAD_BYTES_MAX;

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This node does not lead. Nothing was done.
    #[error("another node leads")]
    NotLeader {
        /// Who does, as far as it is known.
        leader: Option<NodeId>,
    },
    /// Too much is not committed yet. Nothing was done.
    #[error("too much is waiting to be committed")]
    Busy,
    /// The command is longer than any entry may be. Nothing was done.
    #[error("a command has at most {ENTRY_PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    /// Another node is about to lead. Nothing was done.
    #[error("the leader is about to change")]
    Transferring,
    /// The change makes no sense. Nothing was done.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A change is under way, or the leader is so new that there might be. Nothing was done.
    #[error("another change of the group is not committed yet")]
    ChangePending,
    /// A learner that is to vote does not have what is committed yet. Nothing was done.
    #[error("the new voter has not caught up")]
    NotCaughtUp,
    /// Another entry was committed in its place. It is not in the log and never will be.
    #[error("another command was committed instead")]
    Superseded,
    /// A snapshot has overtaken it: whether it was committed can only be told by looking.
    #[error("whether the command was committed is not known any more")]
    Overtaken,
    /// The node can't tell: it leads no more, or a majority is out of reach.
    #[error("the leader could not be confirmed")]
    Unconfirmed,
}
