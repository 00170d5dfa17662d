//! Faults meet the world: strikes at their time, triggers on their observation, crashes that wait for a write.

use dps_core::disk::DiskRequest;
use dps_core::id::RequestId;
use dps_core::node::{Reply, Request, RequestError};
use dps_core::note::Note;
use dps_core::raft;

use crate::disk::{Disk, FileClass, Survive, Ticket};
use crate::plan::{Action, Point};
use crate::subject::Subject;
use crate::world::{Act, CLOSE_ID_FIRST, Item, Observer, World, view};

impl Point {
    pub(crate) fn of_note(note: &Note) -> Option<Self> {
        match note {
            Note::Serving { .. } => Some(Self::Serving),
            Note::Settled => Some(Self::Settled),
            Note::Created(file) => Some(Self::Created { file: FileClass::of(*file) }),
            Note::Group(raft::Note::AsksForVotes { .. }) => Some(Self::Standing),
            Note::Sealed(file) => Some(Self::Sealed { file: FileClass::of(*file) }),
            _ => None,
        }
    }

    pub(crate) fn of_request(request: &DiskRequest, serving: bool) -> Option<Self> {
        match request {
            DiskRequest::Append { file, .. } => Some(Self::Appending { file: FileClass::of(*file) }),
            DiskRequest::Sync { file, .. } => Some(Self::Syncing { file: FileClass::of(*file) }),
            DiskRequest::Publish { .. } | DiskRequest::Allocate { .. } => Some(Self::Publishing),
            DiskRequest::Remove { .. } => Some(Self::Removing),
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => {
                Some(if serving { Self::Reading } else { Self::BootRead })
            }
        }
    }
}

impl Disk {
    /// The point that the completion of this request is.
    pub(crate) fn point_of(&self, ticket: Ticket) -> Option<Point> {
        match self.request(ticket)? {
            DiskRequest::Sync { file, .. } => Some(Point::Synced { file: FileClass::of(*file) }),
            _ => None,
        }
    }
}

impl<M: Subject> World<M> {
    /// Something was observed: fires the triggers that waited for it.
    pub(crate) fn reach(&mut self, host: u32, point: Point) {
        let count = self.points.entry((host, point)).or_default();
        *count += 1;
        let count = *count;
        let due: Vec<_> = self
            .plan
            .triggers
            .iter()
            .filter(|trigger| (trigger.host, trigger.point, trigger.nth) == (host, point, count))
            .copied()
            .collect();
        for trigger in due {
            let strike = Item::Strike { host, action: trigger.action, duration_ns: trigger.duration_ns };
            self.schedule(self.at + trigger.delay_ns, strike);
        }
    }

    /// A write was issued that ends at `done`: a crash that waited for one strikes before that.
    pub(crate) fn lurk(&mut self, host: u32, done: u64) {
        let at = self.at;
        let there = self.host(host);
        if !there.disk.is_write_pending() {
            return;
        }
        if let Some((survive, down_ns)) = there.lurking.take() {
            let strike = at + there.rng.below(done.saturating_sub(at).max(1));
            let action = Action::Crash { survive, down_ns, pending: false };
            self.schedule(strike, Item::Strike { host, action, duration_ns: 0 });
        }
    }

    /// A fault strikes.
    pub(crate) fn strike(&mut self, host: u32, action: Action, duration_ns: u64, observer: &mut dyn Observer) {
        if !self.armed || host as usize >= self.hosts.len() {
            return;
        }
        let at = self.at;
        let phases = self.host(host).phases();
        let took_effect = match action {
            Action::Crash { survive, down_ns, pending } => self.crash(host, survive, down_ns, pending, observer),
            Action::Kill { down_ns } => self.kill(host, down_ns, observer),
            Action::Close { down_ns } => self.close(host, down_ns),
            Action::Pause => {
                self.host(host).paused_until = at + duration_ns;
                self.host(host).node.is_some()
            }
            Action::WallJump { forwards, by_ns } => {
                self.host(host).jump_wall(forwards, by_ns);
                true
            }
            _ => strike_disk(&mut self.host(host).disk, at, action, duration_ns),
        };
        if took_effect {
            let stamp = self.host(host).disk.stamp();
            self.trace.world(at, host, &action, stamp);
            self.exercise.hit(action.kind(), &phases);
        }
    }

    fn crash(&mut self, host: u32, survive: Survive, down_ns: u64, pending: bool, observer: &mut dyn Observer) -> bool {
        let there = self.host(host);
        if there.node.is_none() {
            return false;
        }
        if pending && !there.disk.is_write_pending() {
            there.lurking = Some((survive, down_ns));
            return false;
        }
        there.stop();
        there.disk.crash(survive);
        self.went_down(host, down_ns, observer);
        true
    }

    fn kill(&mut self, host: u32, down_ns: u64, observer: &mut dyn Observer) -> bool {
        let there = self.host(host);
        if there.node.is_none() {
            return false;
        }
        there.stop();
        there.disk.kill();
        self.went_down(host, down_ns, observer);
        true
    }

    fn went_down(&mut self, host: u32, down_ns: u64, observer: &mut dyn Observer) {
        let at = self.at;
        let digest = u64::from(self.host(host).disk.digest());
        self.trace.world(at, host, &"down", digest);
        let incarnation = self.host(host).incarnation;
        self.schedule(at + down_ns, Item::Start { host, incarnation });
        let mut acts = Vec::new();
        observer.stopped(&view(&self.hosts, at, host), &mut acts);
        self.perform(acts);
    }

    /// Restarts a node whatever its state, as an operator would. With `crash`, the power goes.
    pub(crate) fn restart(&mut self, host: u32, crash: Option<Survive>, observer: &mut dyn Observer) {
        self.host(host).stop();
        match crash {
            Some(survive) => self.host(host).disk.crash(survive),
            None => self.host(host).disk.kill(),
        };
        self.went_down(host, 1_000_000, observer);
    }

    fn close(&mut self, host: u32, down_ns: u64) -> bool {
        let id = RequestId(CLOSE_ID_FIRST + self.closes);
        let there = self.host(host);
        if there.node.is_none() || !there.serving || there.closing.is_some() {
            return false;
        }
        there.closing = Some((id, down_ns));
        self.closes += 1;
        self.perform(vec![Act::Send { host, id, request: Request::Close, delay_ns: 0 }]);
        true
    }

    /// The answer to the world's own request to close.
    pub(crate) fn closed(
        &mut self,
        host: u32,
        id: RequestId,
        reply: &Result<Reply, RequestError>,
        observer: &mut dyn Observer,
    ) {
        let at = self.at;
        let Some((expected, down_ns)) = self.host(host).closing.take() else {
            return self.findings.correctness("W1", at, format!("{id:?} was answered but is not open"));
        };
        if expected != id {
            return self.findings.correctness("W1", at, format!("{id:?} was answered, {expected:?} is open"));
        }
        if *reply != Ok(Reply::Closed) {
            return;
        }
        let disk = &self.host(host).disk;
        if disk.is_write_pending() && !disk.is_refusing(false) {
            let text = "the node says that it is closed, but writes are pending".into();
            self.findings.correctness("W1", at, text);
        }
        self.kill(host, down_ns, observer);
    }
}

pub(crate) fn strike_disk(disk: &mut Disk, at: u64, action: Action, duration_ns: u64) -> bool {
    match action {
        Action::BitRot { target } => return disk.rot(target),
        Action::LatentError { target } => return disk.lose_sector(target),
        Action::Misdirect => disk.arm_stray(),
        Action::FailSync { target } => disk.arm_failed_sync(target),
        Action::FailRemove => disk.arm_failed_removal(),
        Action::NoSpace { target } => disk.arm_no_space(target),
        Action::FailAppend { target } => disk.arm_failed_append(target),
        Action::DiskFull => disk.fill(at + duration_ns),
        Action::Slow { factor } => disk.slow(at + duration_ns, factor),
        Action::Shorten { target } => disk.shorten_at_stop(target),
        Action::LoseFile { target } => disk.lose_file_at_stop(target),
        Action::LoseSnapshots => disk.lose_snapshots_at_stop(),
        Action::Crash { .. } | Action::Kill { .. } | Action::Close { .. } | Action::Pause | Action::WallJump { .. } => {
            unreachable!("not a fault of the disk")
        }
    }
    true
}
