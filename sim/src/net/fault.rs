//! What may go wrong with a network, as data: it can be printed, edited and replayed.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A fault of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum NetFault {
    /// Nothing goes between two sets. Nodes of neither talk to all.
    Partition {
        /// One side.
        left: BTreeSet<u32>,
        /// The other side.
        right: BTreeSet<u32>,
    },
    /// Nothing goes from one set to the other; the way back is open.
    PartitionOneWay {
        /// Who is not heard.
        from: BTreeSet<u32>,
        /// By whom.
        to: BTreeSet<u32>,
    },
    /// Nothing goes between two nodes, while all others reach both.
    PartitionPair {
        /// One.
        a: u32,
        /// The other.
        b: u32,
    },
    /// Nothing goes to or from a node.
    Isolate {
        /// The node.
        node: u32,
    },
    /// What arrives over a link, in one direction, is held until the end.
    ClogLink {
        /// Whose messages.
        from: u32,
        /// To whom.
        to: u32,
    },
    /// What arrives at a node or comes from it is held until the end.
    ClogNode {
        /// The node.
        node: u32,
    },
    /// Nodes are clogged one after the other in the first half, and released one after the other in the second, the
    /// last one at the end.
    SwizzleClog {
        /// In which order they are clogged.
        clogged: Vec<u32>,
        /// In which order they are released. Who is missing here is released at the end.
        released: Vec<u32>,
    },
    /// Nothing goes between two nodes for a while, everything for a while, and so on, beginning with nothing.
    Flap {
        /// One.
        a: u32,
        /// The other.
        b: u32,
        /// How long nothing goes, in nanoseconds.
        down_ns: u64,
        /// How long everything goes, in nanoseconds.
        up_ns: u64,
    },
    /// More messages are lost.
    LossBurst {
        /// So many more of a thousand.
        permille: u16,
    },
    /// More messages come twice.
    DuplicateBurst {
        /// So many more of a thousand.
        permille: u16,
    },
    /// A bit flips in more copies.
    CorruptBurst {
        /// So many more of a thousand.
        permille: u16,
    },
    /// A link is slow in one direction.
    GreyLink {
        /// Whose messages.
        from: u32,
        /// To whom.
        to: u32,
        /// How many times slower, at least 1.
        factor: u64,
    },
    /// A node can't send faster than this.
    BandwidthCap {
        /// The node.
        node: u32,
        /// Its rate, at least 1.
        bytes_per_s: u64,
    },
}

/// Kinds of network faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetFaultKind {
    /// [`NetFault::Partition`].
    Partition,
    /// [`NetFault::PartitionOneWay`].
    PartitionOneWay,
    /// [`NetFault::PartitionPair`].
    PartitionPair,
    /// [`NetFault::Isolate`].
    Isolate,
    /// [`NetFault::ClogLink`].
    ClogLink,
    /// [`NetFault::ClogNode`].
    ClogNode,
    /// [`NetFault::SwizzleClog`].
    SwizzleClog,
    /// [`NetFault::Flap`].
    Flap,
    /// [`NetFault::LossBurst`].
    LossBurst,
    /// [`NetFault::DuplicateBurst`].
    DuplicateBurst,
    /// [`NetFault::CorruptBurst`].
    CorruptBurst,
    /// [`NetFault::GreyLink`].
    GreyLink,
    /// [`NetFault::BandwidthCap`].
    BandwidthCap,
}

impl NetFaultKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Partition,
        Self::PartitionOneWay,
        Self::PartitionPair,
        Self::Isolate,
        Self::ClogLink,
        Self::ClogNode,
        Self::SwizzleClog,
        Self::Flap,
        Self::LossBurst,
        Self::DuplicateBurst,
        Self::CorruptBurst,
        Self::GreyLink,
        Self::BandwidthCap,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::PartitionOneWay => "one-way partition",
            Self::PartitionPair => "partial partition",
            Self::Isolate => "isolation",
            Self::ClogLink => "clogged link",
            Self::ClogNode => "clogged node",
            Self::SwizzleClog => "swizzle clog",
            Self::Flap => "flapping link",
            Self::LossBurst => "burst of loss",
            Self::DuplicateBurst => "burst of duplicates",
            Self::CorruptBurst => "burst of corruption",
            Self::GreyLink => "grey link",
            Self::BandwidthCap => "bandwidth cap",
        }
    }
}

impl NetFault {
    /// The row of a table of kinds.
    #[must_use]
    pub const fn kind(&self) -> NetFaultKind {
        match self {
            Self::Partition { .. } => NetFaultKind::Partition,
            Self::PartitionOneWay { .. } => NetFaultKind::PartitionOneWay,
            Self::PartitionPair { .. } => NetFaultKind::PartitionPair,
            Self::Isolate { .. } => NetFaultKind::Isolate,
            Self::ClogLink { .. } => NetFaultKind::ClogLink,
            Self::ClogNode { .. } => NetFaultKind::ClogNode,
            Self::SwizzleClog { .. } => NetFaultKind::SwizzleClog,
            Self::Flap { .. } => NetFaultKind::Flap,
            Self::LossBurst { .. } => NetFaultKind::LossBurst,
            Self::DuplicateBurst { .. } => NetFaultKind::DuplicateBurst,
            Self::CorruptBurst { .. } => NetFaultKind::CorruptBurst,
            Self::GreyLink { .. } => NetFaultKind::GreyLink,
            Self::BandwidthCap { .. } => NetFaultKind::BandwidthCap,
        }
    }
}

/// A fault of a network, with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetStrike {
    /// When it begins, in nanoseconds since the start of the run.
    pub at_ns: u64,
    /// How long it lasts, in nanoseconds.
    pub duration_ns: u64,
    /// What happens.
    pub fault: NetFault,
}

/// What all faults together do to a message of one node to another at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    pub(super) cut: bool,
    /// The latest end of what holds it.
    pub(super) held_until_ns: Option<u64>,
    pub(super) loss_permille: u64,
    pub(super) duplicate_permille: u64,
    pub(super) corrupt_permille: u64,
    pub(super) factor: u64,
    pub(super) cap_bytes_per_s: Option<u64>,
}

impl Weather {
    pub(super) const CALM: Self = Self {
        cut: false,
        held_until_ns: None,
        loss_permille: 0,
        duplicate_permille: 0,
        corrupt_permille: 0,
        factor: 1,
        cap_bytes_per_s: None,
    };

    fn hold(&mut self, until_ns: u64) {
        self.held_until_ns = self.held_until_ns.max(Some(until_ns));
    }
}

impl NetStrike {
    /// When it is over, in nanoseconds; it has no effect from then on.
    #[must_use]
    pub const fn end_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.duration_ns)
    }

    /// Adds what it does at this time to a message from one node to another.
    pub(super) fn act(&self, at_ns: u64, from: u32, to: u32, weather: &mut Weather) {
        if at_ns < self.at_ns || at_ns >= self.end_ns() {
            return;
        }
        let pair = |a: u32, b: u32| (from, to) == (a, b) || (from, to) == (b, a);
        match &self.fault {
            NetFault::Partition { left, right } => {
                let apart = left.contains(&from) && right.contains(&to) || left.contains(&to) && right.contains(&from);
                weather.cut |= apart;
            }
            NetFault::PartitionOneWay { from: silent, to: deaf } => {
                weather.cut |= silent.contains(&from) && deaf.contains(&to);
            }
            NetFault::PartitionPair { a, b } => weather.cut |= pair(*a, *b),
            NetFault::Isolate { node } => weather.cut |= [from, to].contains(node),
            NetFault::ClogLink { from: source, to: target } => {
                if (from, to) == (*source, *target) {
                    weather.hold(self.end_ns());
                }
            }
            NetFault::ClogNode { node } => {
                if [from, to].contains(node) {
                    weather.hold(self.end_ns());
                }
            }
            NetFault::SwizzleClog { clogged, released } => {
                for node in [from, to] {
                    let clog = self.swizzle(clogged, released, node);
                    if let Some(clog) = clog.filter(|clog| clog.contains(&at_ns)) {
                        weather.hold(clog.end);
                    }
                }
            }
            NetFault::Flap { a, b, down_ns, up_ns } => {
                let period_ns = down_ns.saturating_add(*up_ns).max(1);
                weather.cut |= pair(*a, *b) && (at_ns - self.at_ns) % period_ns < *down_ns;
            }
            NetFault::LossBurst { permille } => weather.loss_permille += u64::from(*permille),
            NetFault::DuplicateBurst { permille } => weather.duplicate_permille += u64::from(*permille),
            NetFault::CorruptBurst { permille } => weather.corrupt_permille += u64::from(*permille),
            NetFault::GreyLink { from: source, to: target, factor } => {
                if (from, to) == (*source, *target) {
                    weather.factor = weather.factor.saturating_mul((*factor).max(1));
                }
            }
            NetFault::BandwidthCap { node, bytes_per_s } => {
                if from == *node {
                    let cap = (*bytes_per_s).max(1);
                    weather.cap_bytes_per_s = Some(weather.cap_bytes_per_s.map_or(cap, |other| other.min(cap)));
                }
            }
        }
    }

    /// From when until when a swizzle clogs this node. Steps are of one length: the last node is clogged before half of
    /// the time is over, and the first one released after it.
    fn swizzle(&self, clogged: &[u32], released: &[u32], node: u32) -> Option<Range<u64>> {
        let place = |order: &[u32]| order.iter().position(|other| *other == node).map(|place| place as u64);
        let nodes = clogged.len() as u64;
        let step_ns = self.duration_ns / (2 * nodes.max(1));
        let begin_ns = self.at_ns.saturating_add(place(clogged)? * step_ns);
        let after = place(released).map_or(0, |place| (released.len() as u64 - 1 - place).min(nodes - 1));
        Some(begin_ns..self.end_ns().saturating_sub(after * step_ns))
    }
}
