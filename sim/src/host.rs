//! One machine of the world: a disk that outlives every start, and the node that runs on it at the moment.

use std::collections::{BTreeSet, VecDeque};

use dps_core::disk::{DiskRequest, File};
use dps_core::id::{OpId, RequestId};
use dps_core::node::Event;
use dps_core::rng::Rng;
use dps_core::time::{Instant, Now, WallTime};

use crate::disk::{Disk, FileClass, Survive};
use crate::exercise::ProtocolPhase;
use crate::subject::Subject;

/// When a run begins, as wall time: 2025-01-01T00:00:00Z.
const WALL_START_NS: i128 = 1_735_689_600_000_000_000;

/// A start of the node; larger ones are later. Nothing that was meant for one reaches another.
pub(crate) type Incarnation = u64;

pub(crate) struct Host<M> {
    pub(crate) disk: Disk,
    /// The node, while one runs.
    pub(crate) node: Option<M>,
    pub(crate) incarnation: Incarnation,
    pub(crate) started_at: u64,
    wall_offset: i128,
    /// The latest wall time that a node was told.
    pub(crate) wall_max: WallTime,
    /// What the node has not been stepped with, with the incarnation it is for.
    pub(crate) inbox: VecDeque<(Incarnation, Event)>,
    /// Whether a turn is in the event queue.
    pub(crate) turn_due: bool,
    pub(crate) busy_until: u64,
    pub(crate) paused_until: u64,
    /// The wake-up that counts; earlier ones in the event queue are stale.
    pub(crate) armed: Option<u64>,
    pub(crate) arm: u64,
    pub(crate) serving: bool,
    /// Disk operations without a completion.
    pub(crate) operations: BTreeSet<OpId>,
    /// A crash that waits for a write.
    pub(crate) lurking: Option<(Survive, u64)>,
    /// The request to close that was sent, and how long the node stays down afterwards.
    pub(crate) closing: Option<(RequestId, u64)>,
    /// Draws turn sizes and delays of this host.
    pub(crate) rng: Rng,
}

impl<M> Host<M> {
    pub(crate) fn new(disk: Disk, rng: Rng) -> Self {
        Self {
            disk,
            node: None,
            incarnation: 0,
            started_at: 0,
            wall_offset: 0,
            wall_max: WallTime::default(),
            inbox: VecDeque::new(),
            turn_due: false,
            busy_until: 0,
            paused_until: 0,
            armed: None,
            arm: 0,
            serving: false,
            operations: BTreeSet::new(),
            lurking: None,
            closing: None,
            rng,
        }
    }

    /// What the host's clocks say: monotonic time since this start, wall time with its jumps.
    pub(crate) fn now(&self, at: u64) -> Now {
        let wall = WALL_START_NS + i128::from(at) + self.wall_offset;
        Now {
            mono: Instant::from_nanos(at - self.started_at),
            wall: WallTime::from_nanos(u64::try_from(wall.max(0)).unwrap_or(u64::MAX)),
        }
    }

    pub(crate) fn jump_wall(&mut self, forwards: bool, by_ns: u64) {
        let by = i128::from(by_ns);
        self.wall_offset += if forwards { by } else { -by };
    }

    /// Ends the incarnation: nothing under way reaches the next one.
    pub(crate) fn stop(&mut self) {
        self.node = None;
        self.incarnation += 1;
        self.inbox.clear();
        self.turn_due = false;
        self.armed = None;
        self.serving = false;
        self.operations.clear();
        self.lurking = None;
        self.closing = None;
        self.paused_until = 0;
    }
}

impl<M: Subject> Host<M> {
    /// What the node is doing.
    pub(crate) fn phases(&self) -> Vec<ProtocolPhase> {
        if self.node.is_none() {
            return vec![ProtocolPhase::Other];
        }
        if !self.serving {
            return vec![ProtocolPhase::Booting];
        }
        let writes = |wanted: FileClass| {
            self.disk.pending().any(|request| match request {
                DiskRequest::Append { file, .. } | DiskRequest::Sync { file, .. } => FileClass::of(*file) == wanted,
                DiskRequest::List
                | DiskRequest::Read { .. }
                | DiskRequest::Space
                | DiskRequest::Publish { .. }
                | DiskRequest::Remove { .. }
                | DiskRequest::Allocate { .. } => false,
            })
        };
        let reads =
            self.disk.pending().any(|request| matches!(request, DiskRequest::Read { file: File::Volume(_), .. }));
        let reclaiming = self.node.as_ref().and_then(Subject::holdings).is_some_and(|holdings| holdings.reclaiming);
        let found = [
            (writes(FileClass::Volume), ProtocolPhase::ChunkWrite),
            (writes(FileClass::Journal), ProtocolPhase::JournalWrite),
            (reads, ProtocolPhase::Reading),
            (reclaiming, ProtocolPhase::Collecting),
        ];
        let phases: Vec<ProtocolPhase> = found.iter().filter(|(holds, _)| *holds).map(|(_, phase)| *phase).collect();
        if phases.is_empty() { vec![ProtocolPhase::Other] } else { phases }
    }
}
