//! The pure core of dps: every protocol decision as a state machine that takes events and emits effects.
//!
//! Nothing in this crate does IO, reads a clock, starts a thread or draws randomness of its own. A driver owes it four
//! things, and both drivers (the simulator and the shell) are written against this list:
//!
//! 1. One thread at a time, with a monotonic `now`: step the ready events of a turn, flush once, perform the effects in
//!    order, come back no later than it can after `deadline()`.
//! 2. Every [`disk`] request gets exactly one result, under the rules of that module.
//! 3. Every request of a client keeps its identifier to itself for as long as the node runs.
//! 4. After `Halt` nothing more is called.
//!
//! Persist-before-answer is not the driver's business: a machine withholds the answer until the completion is there.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod config;
pub mod crypto;
pub mod disk;
pub mod id;
pub mod keystore;
pub(crate) mod layout;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod node;
pub mod note;
pub mod raft;
pub mod replica;
pub mod rng;
pub mod task;
pub mod time;
pub mod wire;
