//! Mistakes of those who set space aside.

use dps_core::disk::{DiskError, DiskReply, DiskRequest};
use dps_tests::disk_contract::DiskUnderTest as _;

use super::{Mistake, SOUND};

pub(crate) const SPACE_MISTAKES: &[Mistake] = &[
    Mistake {
        title: "an allocation of whole blocks",
        breaks: "an allocation makes a file as long as asked",
        perform: |disk, request| match request {
            DiskRequest::Allocate { file, bytes } => {
                let bytes = bytes.next_multiple_of(4_096);
                disk.inner.perform(DiskRequest::Allocate { file, bytes })
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "an allocation that starts over",
        breaks: "an allocation never makes a file shorter",
        perform: |disk, request| {
            if let DiskRequest::Allocate { file, .. } = request {
                disk.inner.perform(DiskRequest::Remove { file })?;
            }
            disk.inner.perform(request)
        },
        ..SOUND
    },
    Mistake {
        title: "an allocation that takes what it gets",
        breaks: "an allocation that does not fit leaves nothing",
        perform: |disk, request| match request {
            DiskRequest::Allocate { file, bytes } if bytes > 1 << 40 => {
                disk.inner.perform(DiskRequest::Allocate { file, bytes: 70_000 })?;
                Err(DiskError::Full)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "an allocation in memory",
        breaks: "an allocation is durable",
        perform: |disk, request| match request {
            DiskRequest::Allocate { file, bytes } if disk.bytes(file).is_none() => {
                let zeros = vec![0; usize::try_from(bytes.min(1 << 20)).expect("at most a MiB")];
                disk.append_to_end(file, zeros)
            }
            other => disk.inner.perform(other),
        },
        ..SOUND
    },
    Mistake {
        title: "more space left than there is",
        breaks: "what is left is part of what there is",
        perform: |disk, request| match disk.inner.perform(request)? {
            DiskReply::Space { total, .. } => Ok(DiskReply::Space { total, available: total + 1 }),
            other => Ok(other),
        },
        ..SOUND
    },
];
