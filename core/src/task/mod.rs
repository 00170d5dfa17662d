//! Multi-step use cases, each a small machine of its own: one instance a conversation, or one pool for all.
//!
//! A task knows nothing of the node or of other tasks. Its conversation's identifier, too, is its owner's business: every
//! effect of an instance belongs to that instance.
//!
//! What all conversations have in common:
//!
//! * The owner makes one and steps it at once with its `Wake` (its first deadline is the beginning of time).
//! * The effect `Reply` with `last` set is the very last effect. It is held back until everything that the task has
//!   asked of the disk has come back, so that no completion arrives for a conversation that is gone, and memory that the
//!   disk still needs is not given to another. The owner then drops the machine.
//! * What a client sends to a conversation that is ending is ignored.
//!
//! A sweep has no client. Its `Done` is what the last `Reply` is to the others.

pub mod credit;
pub mod gc;
pub mod get;
pub mod put;
pub mod sweep;
pub mod verify;
