//! One machine of the world: a disk that outlives every start, and the member that runs on it at the moment.

use std::collections::{BTreeSet, VecDeque};

use dps_core::disk::{DiskRequest, File};
use dps_core::id::OpId;
use dps_core::raft::entry::Payload;
use dps_core::replica::event::Event;
use dps_core::rng::Rng;
use dps_core::time::{Instant, Now, WallTime};

use super::member::Member;
use crate::disk::{Disk, Survive};

/// When a run begins, as wall time: 2025-01-01T00:00:00Z.
const WALL_START_NS: i128 = 1_735_689_600_000_000_000;

fn wall_at(at: u64, offset: i128) -> WallTime {
    let wall = WALL_START_NS + i128::from(at) + offset;
    WallTime::from_nanos(u64::try_from(wall.max(0)).unwrap_or(u64::MAX))
}

pub(crate) struct Host<M> {
    pub(crate) disk: Disk,
    /// The member, while one runs.
    pub(crate) member: Option<M>,
    /// Which start this is; larger ones are later.
    pub(crate) incarnation: u64,
    pub(crate) started_at: u64,
    wall_offset: i128,
    /// The largest that this ever was.
    wall_offset_most: i128,
    /// What was committed when nothing failed any more and this member was up and had almost all of it: of what it catches up
    /// with in one go, it makes one snapshot.
    pub(crate) caught_up_at: Option<u64>,
    /// Ledger time as it was judged last.
    pub(crate) judged_time: WallTime,
    /// What the member has not been stepped with.
    pub(crate) inbox: VecDeque<Event>,
    /// Whether a turn is in the event queue.
    pub(crate) turn_due: bool,
    pub(crate) busy_until: u64,
    pub(crate) paused_until: u64,
    /// The wake-up that counts; earlier ones in the event queue are stale.
    pub(crate) arm: u64,
    pub(crate) serving: bool,
    /// Disk operations without a completion.
    pub(crate) operations: BTreeSet<OpId>,
    /// A crash that waits for a write.
    pub(crate) lurking: Option<(Survive, u64)>,
    /// How long the member stays down once it is closed, if it was asked to close.
    pub(crate) closing: Option<u64>,
    /// Whether its last start has halted since its snapshot is lost.
    pub(crate) lost_snapshot: bool,
    /// How many of its starts have halted since others remember more of it.
    pub(crate) refusals: u32,
    /// Whether it stays down for ever.
    pub(crate) dead: bool,
    /// The last index of the longest log that this start had.
    pub(crate) longest: u64,
    /// Draws turn sizes and delays of this host.
    pub(crate) rng: Rng,
}

impl<M: Member> Host<M> {
    pub(crate) const fn new(disk: Disk, rng: Rng) -> Self {
        Self {
            disk,
            member: None,
            incarnation: 0,
            started_at: 0,
            wall_offset: 0,
            wall_offset_most: 0,
            caught_up_at: None,
            judged_time: WallTime::from_nanos(0),
            inbox: VecDeque::new(),
            turn_due: false,
            busy_until: 0,
            paused_until: 0,
            arm: 0,
            serving: false,
            operations: BTreeSet::new(),
            lurking: None,
            closing: None,
            lost_snapshot: false,
            refusals: 0,
            dead: false,
            longest: 0,
            rng,
        }
    }

    /// What the host's clocks say: monotonic time since this start, wall time with its jumps.
    pub(crate) fn now(&self, at: u64) -> Now {
        Now { mono: Instant::from_nanos(at - self.started_at), wall: wall_at(at, self.wall_offset) }
    }

    /// The latest that its wall clock ever said, or would say now had nobody set it back.
    pub(crate) fn latest_wall(&self, at: u64) -> WallTime {
        wall_at(at, self.wall_offset_most)
    }

    pub(crate) fn jump_wall(&mut self, forwards: bool, by_ns: u64) {
        let by = i128::from(by_ns);
        self.wall_offset += if forwards { by } else { -by };
        self.wall_offset_most = self.wall_offset_most.max(self.wall_offset);
    }

    /// Ends the start: nothing under way reaches the next one.
    pub(crate) fn stop(&mut self) {
        self.member = None;
        self.incarnation += 1;
        self.inbox.clear();
        self.turn_due = false;
        self.serving = false;
        self.operations.clear();
        self.lurking = None;
        self.closing = None;
        self.paused_until = 0;
        self.longest = 0;
    }

    /// Whether a snapshot is being written.
    fn writes_snapshot(&self) -> bool {
        self.disk.pending().any(is_of_snapshot)
    }

    /// What the member is doing, for the exercise table.
    pub(crate) fn doing(&self) -> &'static str {
        let Some(look) = self.member.as_ref().map(Member::look) else { return "down" };
        let Some(look) = look else { return "starting" };
        let raft = look.raft;
        let changes = (raft.commit() + 1..=raft.last().index)
            .filter_map(|index| raft.entry(index))
            .any(|entry| matches!(entry.payload, Payload::Membership(_)));
        if raft.is_unsettled() {
            "in doubt"
        } else if self.writes_snapshot() {
            "snapshotting"
        } else if raft.hands_over() {
            "handing over"
        } else if raft.leader().is_none() {
            "electing"
        } else if changes || raft.membership().is_joint() {
            "changing the membership"
        } else if !raft.is_leader() {
            "following"
        } else if raft.commit() < raft.last().index {
            "replicating"
        } else {
            "leading idle"
        }
    }
}

/// Whether this writes to a snapshot, made or fetched.
pub(crate) const fn is_of_snapshot(request: &DiskRequest) -> bool {
    match request {
        DiskRequest::Append { file: File::Stage(stage), .. } | DiskRequest::Publish { stage, .. } => {
            *stage > u64::MAX - 2
        }
        DiskRequest::Read { .. }
        | DiskRequest::Append { .. }
        | DiskRequest::Sync { .. }
        | DiskRequest::Remove { .. }
        | DiskRequest::Allocate { .. }
        | DiskRequest::List
        | DiskRequest::Space => false,
    }
}
