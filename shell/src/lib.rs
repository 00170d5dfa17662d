//! The shell of dps: the driver that maps the core onto real disks, and the `dps` command.
//!
//! [`Store`](store::Store) is the way in for programs: it opens a data directory, runs the core over it, and offers
//! its conversations as calls. The core decides everything; this crate only performs.
#![forbid(unsafe_code)]

pub mod disk;
