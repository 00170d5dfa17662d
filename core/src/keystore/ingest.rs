//! The one path by which bytes become chunks, whether they come from memory, a file or a pipe.

use crate::id::FileId;

/// What the chunks of a put make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileDigest {
    /// SHA-256 of the whole file.
    pub file: FileId,
    /// Bytes of the whole file.
    pub size: u64,
}
