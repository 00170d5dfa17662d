//! When a disk request runs: reads at once and in parallel, writes of one file in the order of their issue.
//!
//! Requests run on tokio's blocking threads. A thread that has finished a write goes on with the next one of the same
//! file, so that a burst costs one hop. How many requests wait is bounded by the core, which issued them.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_core::disk::{DiskError, DiskRequest, DiskResult, File};
use dps_core::id::OpId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::recorder::Recorder;
use super::worker::Worker;

/// Who is told how a request ended. Called on a blocking thread, which it may hold up.
pub type Completion = Box<dyn Fn(OpId, DiskResult) + Send + Sync>;

/// The requests of one store that have not ended yet.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Every hop holds a clone of the sender, so the channel closes when the last hop has ended.
    alive: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

struct Shared {
    worker: Worker,
    lanes: Mutex<Lanes>,
    completion: Completion,
    recorder: Option<Arc<Recorder>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// A request on its way.
#[derive(Debug)]
struct Job {
    op: OpId,
    request: DiskRequest,
    /// The recorder's name for it.
    ticket: Option<u64>,
}

/// Writes in the order of their issue, by file.
///
/// Invariant: a job that waits is in the lane of every file it touches; a job that runs is at the head of each of them;
/// there is no empty lane.
#[derive(Debug, Default)]
struct Lanes {
    by_file: BTreeMap<File, VecDeque<u64>>,
    waiting: BTreeMap<u64, Job>,
    issued: u64,
}

impl Lanes {
    /// Adds a job; gives it back with its number if it may run at once.
    fn push(&mut self, job: Job) -> Option<(u64, Job)> {
        self.issued += 1;
        let number = self.issued;
        for file in files(&job.request) {
            self.by_file.entry(file).or_default().push_back(number);
        }
        self.waiting.insert(number, job);
        self.take_if_ready(number)
    }

    /// Takes a job that has run out of its lanes; appends the jobs that may run now to `ready`.
    fn finish(&mut self, number: u64, request: &DiskRequest, ready: &mut Vec<(u64, Job)>) {
        for file in files(request) {
            let lane = self.by_file.get_mut(&file).expect("a job is in the lanes of its files until it is finished");
            assert_eq!(lane.pop_front(), Some(number), "only the head of a lane runs");
            match lane.front().copied() {
                Some(next) => ready.extend(self.take_if_ready(next)),
                None => {
                    self.by_file.remove(&file);
                }
            }
        }
    }

    fn take_if_ready(&mut self, number: u64) -> Option<(u64, Job)> {
        let job = self.waiting.get(&number)?;
        let at_head = |file| self.by_file.get(&file).and_then(VecDeque::front) == Some(&number);
        if !files(&job.request).all(at_head) {
            return None;
        }
        self.waiting.remove(&number).map(|job| (number, job))
    }
}

/// The files whose order a request is part of: none for what only reads.
fn files(request: &DiskRequest) -> impl Iterator<Item = File> + use<> {
    let (first, second) = match request {
        DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => (None, None),
        DiskRequest::Append { file, .. }
        | DiskRequest::Sync { file, .. }
        | DiskRequest::Remove { file }
        | DiskRequest::Allocate { file, .. } => (Some(*file), None),
        DiskRequest::Publish { stage, to } => (Some(File::Stage(*stage)), Some(*to)),
    };
    first.into_iter().chain(second)
}

impl Queue {
    /// A queue in front of `worker` that tells `completion` how each request ended, and `recorder` what was written.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(worker: Worker, completion: Completion, recorder: Option<Arc<Recorder>>) -> Self {
        let (alive, ended) = mpsc::channel(1);
        let shared = Shared { worker, lanes: Mutex::default(), completion, recorder };
        Self { shared: Arc::new(shared), runtime: Handle::current(), alive, ended }
    }

    /// Issues a request. Never blocks; exactly one completion with `op` follows.
    pub fn submit(&self, op: OpId, request: DiskRequest) {
        let hop = Hop { shared: Arc::clone(&self.shared), runtime: self.runtime.clone(), _alive: self.alive.clone() };
        match request {
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => {
                drop(self.runtime.spawn_blocking(move || hop.read(op, &request)));
            }
            DiskRequest::Append { .. }
            | DiskRequest::Sync { .. }
            | DiskRequest::Publish { .. }
            | DiskRequest::Remove { .. }
            | DiskRequest::Allocate { .. } => {
                let ticket = self.shared.recorder.as_ref().map(|recorder| recorder.issued(&request));
                let ready = self.shared.lanes().push(Job { op, request, ticket });
                if let Some((number, job)) = ready {
                    drop(self.runtime.spawn_blocking(move || hop.write(number, job)));
                }
            }
        }
    }

    /// Waits until every request has ended and gives the directory's lock back.
    pub async fn close(self) {
        let Self { shared, runtime: _, alive, mut ended } = self;
        drop((shared, alive));
        // Nothing is ever sent: this returns when the last hop has dropped its sender, and before that the worker.
        let nothing = ended.recv().await;
        assert!(nothing.is_none(), "the channel carries no message");
    }
}

impl Shared {
    fn perform(&self, request: &DiskRequest) -> DiskResult {
        // A lost completion would stop the store without a word, so a bug here becomes an error that is seen.
        catch_unwind(AssertUnwindSafe(|| self.worker.perform(request))).unwrap_or(Err(DiskError::Io(0)))
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's visit to the disk. Fields are dropped in order: the worker before the sign of life.
struct Hop {
    shared: Arc<Shared>,
    runtime: Handle,
    _alive: mpsc::Sender<()>,
}

impl Hop {
    fn read(self, op: OpId, request: &DiskRequest) {
        let result = self.shared.perform(request);
        (self.shared.completion)(op, result);
    }

    fn write(self, mut number: u64, mut job: Job) {
        loop {
            let result = self.shared.perform(&job.request);
            if let (Some(recorder), Some(ticket)) = (&self.shared.recorder, job.ticket) {
                recorder.done(ticket, result.is_ok());
            }
            let mut ready = Vec::new();
            self.shared.lanes().finish(number, &job.request, &mut ready);
            (self.shared.completion)(job.op, result);
            let Some(next) = ready.pop() else { return };
            for (number, job) in ready {
                let hop = Self {
                    shared: Arc::clone(&self.shared),
                    runtime: self.runtime.clone(),
                    _alive: self._alive.clone(),
                };
                drop(self.runtime.spawn_blocking(move || hop.write(number, job)));
            }
            (number, job) = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::disk::directory::{Create, Directory};
    use bytes::Bytes;
    use dps_core::disk::{DiskReply, Slot, Verify};

    fn append(file: File, offset: u64) -> DiskRequest {
        DiskRequest::Append { file, offset, parts: vec![Bytes::from_static(b"x")] }
    }

    fn job(request: DiskRequest) -> Job {
        Job { op: OpId { boot: 0, sequence: 0 }, request, ticket: None }
    }

    fn numbers(ready: &[(u64, Job)]) -> Vec<u64> {
        ready.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn one_file_is_in_order_and_two_are_independent() {
        let mut lanes = Lanes::default();
        assert!(lanes.push(job(append(File::Volume(1), 0))).is_some());
        assert!(lanes.push(job(append(File::Volume(1), 1))).is_none());
        assert!(lanes.push(job(append(File::Journal(1), 0))).is_some());
        let mut ready = Vec::new();
        lanes.finish(1, &append(File::Volume(1), 0), &mut ready);
        assert_eq!(numbers(&ready), [2]);
    }

    #[test]
    fn a_publish_waits_for_both_files_and_holds_both_up() {
        let slot = File::Slot(Slot::BootOdd);
        let publish = |stage| DiskRequest::Publish { stage, to: slot };
        let mut lanes = Lanes::default();
        assert!(lanes.push(job(append(File::Stage(1), 0))).is_some(), "1");
        assert!(lanes.push(job(publish(1))).is_none(), "2 waits for 1");
        assert!(lanes.push(job(append(File::Stage(2), 0))).is_some(), "3");
        assert!(lanes.push(job(publish(2))).is_none(), "4 waits for 3 and 2");
        let mut ready = Vec::new();
        lanes.finish(3, &append(File::Stage(2), 0), &mut ready);
        assert!(ready.is_empty(), "4 still waits for 2");
        lanes.finish(1, &append(File::Stage(1), 0), &mut ready);
        assert_eq!(numbers(&ready), [2]);
        ready.clear();
        lanes.finish(2, &publish(1), &mut ready);
        assert_eq!(numbers(&ready), [4]);
        ready.clear();
        lanes.finish(4, &publish(2), &mut ready);
        assert!(ready.is_empty() && lanes.by_file.is_empty() && lanes.waiting.is_empty());
    }

    /// Bursts on several files: every request is answered once, and each file has exactly what was appended in order.
    #[tokio::test]
    async fn a_burst_is_answered_completely_and_in_order() {
        const FILES: u64 = 3;
        const APPENDS: u64 = 200;
        let temp = tempfile::tempdir().unwrap();
        let worker = Worker::new(Directory::open(temp.path(), Create::Directory).unwrap());
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let recorder = Arc::new(Recorder::new());
        let completion: Completion = Box::new(move |op, result| sender.send((op, result)).unwrap());
        let queue = Queue::new(worker, completion, Some(Arc::clone(&recorder)));
        for offset in 0..APPENDS {
            for file in 0..FILES {
                let op = OpId { boot: file, sequence: offset };
                queue.submit(op, append(File::Volume(file), offset));
            }
        }
        // Results may overtake each other. But an append fails unless its file ends where the one before it ended.
        let mut answered = BTreeSet::new();
        for _ in 0..FILES * APPENDS {
            let (op, result) = receiver.recv().await.unwrap();
            assert_eq!(result, Ok(DiskReply::Done), "in the order of issue");
            assert!(answered.insert(op), "answered once");
        }
        let read = DiskRequest::Read { file: File::Volume(1), offset: 0, len: 1_000, verify: Verify::None };
        queue.submit(OpId { boot: 9, sequence: 9 }, read);
        let (_, result) = receiver.recv().await.unwrap();
        assert_eq!(result, Ok(DiskReply::Read(Bytes::from(vec![b'x'; usize::try_from(APPENDS).unwrap()]))));
        assert_eq!(recorder.entries().len() as u64, 2 * FILES * APPENDS);
        queue.close().await;
        Directory::open(temp.path(), Create::Never).expect("the lock is given back");
    }
}
