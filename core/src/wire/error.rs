//! What is wrong with bytes from outside.

use crate::raft::membership::ChangeError;

/// Why bytes are no message. Fields are named by their path in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// Protobuf does not allow them.
    #[error("the bytes are no message of the schema")]
    Malformed,
    /// An envelope has only a kind that this version does not know.
    #[error("messages of kind {0} are not known")]
    UnknownKind(u32),
    /// What must be there is not there, or is of a kind that this version does not know.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Bytes of a fixed length have another one.
    #[error("{field} has {found} bytes, not {expected}")]
    Length {
        /// Which.
        field: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A number, or a count of bytes, is above its maximum.
    #[error("{field} is {found}, above {max}")]
    TooLarge {
        /// Which.
        field: &'static str,
        /// What it is.
        found: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// There are more items than may be.
    #[error("there are more than {max} {field}")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// One of a few values is none of them.
    #[error("{field} has the value {found}, which says nothing")]
    Unknown {
        /// Which.
        field: &'static str,
        /// The value.
        found: i32,
    },
    /// A place in the log has a term without an index, or an index without a term.
    #[error("{0} is half of a position")]
    HalfPosition(&'static str),
    /// Nodes are named twice, or not in ascending order.
    #[error("{0} do not ascend")]
    Order(&'static str),
    /// Bytes in a layout of the ledger are none.
    #[error("{0} has no layout that this version knows")]
    Layout(&'static str),
    /// Nodes that can't make a group.
    #[error("{field}: {error}")]
    Membership {
        /// Where.
        field: &'static str,
        /// Why not.
        error: ChangeError,
    },
}
