//! The shell of dps: the driver that maps the core onto real disks, and the `dps` command.
//!
//! [`Store`] is the way in for programs: it opens a data directory, runs the core over it, and offers its conversations
//! as calls. The core decides everything; this crate only performs.
#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
mod conversation;
pub mod disk;
mod driver;
pub mod entropy;
pub mod error;
pub mod get;
pub mod put;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod verify;

pub use error::StoreError;
pub use store::{Options, Store};
