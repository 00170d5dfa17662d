//! Requests for another file than the one that was meant.

use dps_core::disk::{DiskRequest, File};

/// The file with another number or of another kind.
pub(super) fn renamed(request: DiskRequest, name: fn(File) -> File) -> DiskRequest {
    match request {
        DiskRequest::Append { file, offset, parts } => DiskRequest::Append { file: name(file), offset, parts },
        DiskRequest::Read { file, offset, len, verify } => DiskRequest::Read { file: name(file), offset, len, verify },
        DiskRequest::Remove { file } => DiskRequest::Remove { file: name(file) },
        DiskRequest::Sync { file, directory } => DiskRequest::Sync { file: name(file), directory },
        DiskRequest::Allocate { file, bytes } => DiskRequest::Allocate { file: name(file), bytes },
        other @ (DiskRequest::List | DiskRequest::Publish { .. } | DiskRequest::Space) => other,
    }
}
