//! What is left after the machine lost power, or the process was killed.

use std::collections::BTreeSet;

use dps_core::disk::{DiskRequest, File};

use super::medium::Survive;
use super::{Disk, written};

impl Disk {
    /// Power is lost. Requests in flight reached the disk or not, in the order of each file; syncs in flight count as
    /// not done; of everything unsynced what `survive` draws is there. Returns how many requests were in flight.
    pub fn crash(&mut self, survive: Survive) -> usize {
        let in_flight = self.reach(survive);
        self.directory.crash(survive, &mut self.choice);
        self.media.values_mut().for_each(|medium| medium.crash(survive, &mut self.choice));
        self.stopped();
        in_flight
    }

    /// The process ends and the machine goes on: what was written can be read, but is no more durable than before.
    /// Returns how many requests were in flight.
    pub fn kill(&mut self) -> usize {
        let in_flight = self.reach(Survive::Random);
        self.stopped();
        in_flight
    }

    fn stopped(&mut self) {
        self.busy_until.clear();
        self.refused.clear();
        self.told_full = false;
        self.last_append.retain(|file, _| self.directory.get(*file).is_some());
        self.covered.retain(|file, _| self.directory.get(*file).is_some());
        self.apply_deferred();
        self.forget_unreachable();
    }

    /// Lets a drawn part of what is in flight happen: for each file a prefix of its requests.
    fn reach(&mut self, survive: Survive) -> usize {
        let pending = std::mem::take(&mut self.pending);
        let in_flight = pending.len();
        let mut halted: BTreeSet<File> = BTreeSet::new();
        for (_, operation) in pending {
            let files = written(&operation.request);
            let reached = match survive {
                Survive::All => true,
                Survive::None => false,
                Survive::Random | Survive::Prefix => self.choice.chance(1, 2),
            };
            if !reached || files.iter().any(|file| halted.contains(file)) {
                halted.extend(files);
                continue;
            }
            self.half_done(&operation.request);
        }
        in_flight
    }

    /// What a request does that is cut short: an append is issued to the disk, a publication gets as far as its
    /// rename, which is not synced. A sync is as good as not done.
    fn half_done(&mut self, request: &DiskRequest) {
        match request {
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space | DiskRequest::Sync { .. } => {}
            DiskRequest::Append { .. } | DiskRequest::Remove { .. } | DiskRequest::Allocate { .. } => {
                let _ = self.perform(0, request);
            }
            DiskRequest::Publish { stage, to } => {
                let stage = File::Stage(*stage);
                if let Ok(medium) = self.medium(stage) {
                    medium.sync();
                    if self.choice.chance(2, 3) {
                        self.directory.rename(stage, *to);
                    }
                }
            }
        }
    }
}
