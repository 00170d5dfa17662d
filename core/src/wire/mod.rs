//! What nodes tell each other, as bytes.
//!
//! `core/proto` is the source of truth for the schema. Whatever comes from outside is judged here, before any machine sees
//! it: sizes before anything is allocated, numbers against the maxima in [`crate::limits`], sets against what they must be.
//! What depends on a machine's state, such as whether entries follow each other, is judged by the machine.
//!
//! Protobuf is not canonical, so its bytes are never hashed, signed or compared. Fields that the schema does not know
//! are skipped, so that a later version may add some; of a field that comes twice the later one counts, and parts of a
//! message that come twice are put together, as every reader of protobuf does it.

pub mod control;
mod error;
pub mod frame;
mod member;
// Kept as the generator writes it, so that the two can be compared.
#[rustfmt::skip]
#[allow(unreachable_pub, unused_qualifications, clippy::large_enum_variant)]
mod pb;
pub mod raft;
mod scan;

pub use self::error::WireError;
