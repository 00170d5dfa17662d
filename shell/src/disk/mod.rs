//! The real disk: what `dps_core::disk` asks for, done with files.
//!
//! A data directory looks like this; whatever else lies in it is left alone:
//!
//! ```text
//! LOCK                 flock'ed for as long as a process uses the store; holds that process's number
//! boot.0 boot.1        boot records
//! journal/000001.log   segments of the ledger's journal
//! data/000001.kdht     volumes of chunks
//! stage/000001.tmp     files in the making
//! ```

pub mod directory;
mod handles;
pub mod lock;
pub mod path;
pub mod queue;
pub mod recorder;
pub mod worker;

pub use directory::{Create, Directory, OpenError};
pub use queue::Queue;
pub use recorder::Recorder;
pub use worker::Worker;
