//! Why something could not be done with a store.

use std::io;

use dps_core::keystore::ingest::IngestError;
use dps_core::node::{HaltReason, RequestError};

use crate::disk::OpenError;

/// Why a call to a [`Store`](crate::store::Store) failed. Whatever was acknowledged before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The node found at its start that it can't go on.
    #[error("the store can't be used: {0}")]
    Halted(HaltReason),
    /// The node refused, or failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What was to be stored can't be read.
    #[error("the source can't be read")]
    Source(#[source] io::Error),
    /// What was to be stored is not what it said it is, or too large.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Entropy(#[source] io::Error),
    /// The node is gone: the store was closed, or a bug stopped it.
    #[error("the store is closed")]
    Closed,
    /// The node gave an answer that does not belong to the question, which is a bug.
    #[error("unexpected answer to {0}")]
    Unexpected(&'static str),
}
