//! One contract, every disk.

use dps::disk::{Create, Directory, Worker};
use dps_core::disk::{DiskRequest, DiskResult};
use dps_tests::disk_contract::{DiskUnderTest, check_all};

/// The real disk, in a directory that goes away with it. No crash: the kernel keeps what was written.
struct Real {
    worker: Worker,
    _directory: tempfile::TempDir,
}

impl Real {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tests can write temporary files");
        let opened = Directory::open(directory.path(), Create::Directory).expect("an empty directory becomes a store");
        Self { worker: Worker::new(opened), _directory: directory }
    }
}

impl DiskUnderTest for Real {
    fn perform(&mut self, request: DiskRequest) -> DiskResult {
        self.worker.perform(&request)
    }
}

#[test]
fn the_real_disk_keeps_the_contract() {
    check_all(Real::new);
}
