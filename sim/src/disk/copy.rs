//! Copies of a disk: what somebody has kept of it, and puts back later (rule R4).

use std::collections::BTreeMap;

use super::Disk;
use super::directory::{Directory, Inode};
use super::medium::Medium;

/// What a disk had that somebody copied, as a loss of power would have left it. The default is that of an empty disk.
#[derive(Clone, Debug, Default)]
pub struct DiskCopy {
    directory: Directory,
    media: BTreeMap<Inode, Medium>,
}

impl Disk {
    /// Copies what is durable.
    #[must_use]
    pub fn copy(&self) -> DiskCopy {
        let directory = self.directory.as_durable();
        let media = directory.reachable().into_iter().map(|inode| (inode, self.media[&inode].as_durable())).collect();
        DiskCopy { directory, media }
    }

    /// While nothing runs on it, this disk is replaced by a copy. That is a harm: what it had is gone.
    ///
    /// # Panics
    /// When a request is under way.
    pub fn replace(&mut self, copy: DiskCopy) {
        assert!(self.pending.is_empty(), "nothing runs on it");
        let DiskCopy { directory, media } = copy;
        (self.directory, self.media) = (directory, media);
        self.stamp += 1;
        self.lost.clear();
        self.covered.clear();
        self.last_append.clear();
    }
}
