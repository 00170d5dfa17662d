//! The disks that owe the contract.

use std::collections::BTreeMap;
use std::sync::mpsc;

use dps::disk::{Create, Directory, Queue, Worker};
use dps_core::disk::{DiskRequest, DiskResult};
use dps_core::id::OpId;
use dps_core::rng::Seed;
use dps_tests::disk_contract::DiskUnderTest;
use sim::disk::{Disk, DiskOptions, Survive};
use tokio::runtime::{Builder, Runtime};

/// The real disk behind its queue, in a directory that goes away with it. It loses no power: the kernel keeps what was
/// written.
pub(crate) struct Real {
    queue: Option<Queue>,
    ended: mpsc::Receiver<(OpId, DiskResult)>,
    issued: u64,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Real {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("tests can write temporary files");
        let opened = Directory::open(directory.path(), Create::Directory).expect("an empty directory becomes a store");
        let runtime = Builder::new_current_thread().build().expect("a runtime needs nothing but memory");
        let (sender, ended) = mpsc::channel();
        let queue = {
            let _entered = runtime.enter();
            let completion = move |op, result| sender.send((op, result)).expect("the test waits for every end");
            Queue::new(Worker::new(opened), Box::new(completion), None)
        };
        Self { queue: Some(queue), ended, issued: 0, runtime, _directory: directory }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let queue = self.queue.take().expect("closed once");
        self.runtime.block_on(queue.close());
    }
}

impl DiskUnderTest for Real {
    fn perform(&mut self, request: DiskRequest) -> DiskResult {
        self.perform_together(vec![request]).pop().expect("one request has one end")
    }

    fn perform_together(&mut self, requests: Vec<DiskRequest>) -> Vec<DiskResult> {
        let queue = self.queue.as_ref().expect("not closed yet");
        let (first, count) = (self.issued, requests.len());
        for request in requests {
            queue.submit(OpId { boot: 1, sequence: self.issued }, request);
            self.issued += 1;
        }
        let ends: BTreeMap<u64, DiskResult> = (0..count)
            .map(|_| self.ended.recv().expect("the queue lives"))
            .map(|(op, result)| (op.sequence, result))
            .collect();
        assert!(ends.keys().copied().eq(first..self.issued), "each request ends once");
        ends.into_values().collect()
    }
}

/// The simulator's disk, with one way to lose power.
pub(crate) struct Simulated {
    disk: Disk,
    survive: Survive,
}

impl Simulated {
    pub(crate) fn new(seed: u64, survive: Survive) -> Self {
        let seed = Seed::new([3; 32]).split("disk contract", seed);
        Self { disk: Disk::new(seed, DiskOptions::default()), survive }
    }
}

impl DiskUnderTest for Simulated {
    fn perform(&mut self, request: DiskRequest) -> DiskResult {
        self.disk.perform_now(&request)
    }

    fn perform_together(&mut self, requests: Vec<DiskRequest>) -> Vec<DiskResult> {
        let mut due: Vec<_> = requests.into_iter().map(|request| self.disk.issue(0, request)).collect();
        due.sort_unstable_by_key(|(ticket, at)| (*at, *ticket));
        let ends: BTreeMap<_, _> =
            due.into_iter().map(|(ticket, at)| (ticket, self.disk.complete(at, ticket))).collect();
        ends.into_values().collect()
    }

    fn crash_amid(&mut self, requests: Vec<DiskRequest>) {
        let count = requests.len();
        for request in requests {
            self.disk.issue(0, request);
        }
        assert_eq!(self.disk.crash(self.survive), count, "all of them were in flight");
    }
}
