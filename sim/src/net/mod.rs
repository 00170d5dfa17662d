//! The simulated network: it says when each message arrives, if it does. It keeps no message and has no clock.
//!
//! The caller asks [`Network::send`] once for each message, and [`Network::arrives`] again for each copy when it is
//! due, since much may have happened meanwhile. What is held then goes into [`Held`].
//!
//! The luck of the k-th message from one node to another is a function of the seed, the two nodes and k. So what is
//! sent, or no longer sent, over one link changes nothing on another, and a failing run can be made smaller node by
//! node.

mod counts;
mod draw;
mod fault;
mod held;
mod luck;
mod pipe;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dps_core::rng::Seed;

pub use counts::{Counts, DropReason};
pub use draw::{Intensity, draw_net_faults};
pub use fault::{NetFault, NetFaultKind, NetStrike};
pub use held::Held;
pub use shape::{Latency, Shape};

use fault::Weather;
use luck::{CopyLuck, Luck};
use pipe::Pipe;

/// One copy of a message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When it is due, in nanoseconds; [`Network::arrives`] is to be asked then.
    pub at_ns: u64,
    /// If a bit of it flips, any number, of which the caller takes the remainder by the message's bits.
    pub corrupt: Option<u64>,
}

/// What becomes of a message when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on its way.
    Sent(Delivery),
    /// It is on its way twice. The second copy may be due before the first.
    Twice([Delivery; 2]),
    /// It never arrives.
    Dropped(DropReason),
}

impl Fate {
    /// Its copies: none, one or two.
    #[must_use]
    pub const fn deliveries(&self) -> &[Delivery] {
        match self {
            Self::Sent(delivery) => std::slice::from_ref(delivery),
            Self::Twice(deliveries) => deliveries,
            Self::Dropped(_) => &[],
        }
    }
}

/// What becomes of a copy when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is there.
    Deliver,
    /// It never arrives: its nodes have been parted meanwhile.
    Drop,
    /// It is to be judged again at this time in nanoseconds, or when the network is healed if that is before.
    HoldUntil(u64),
}

/// A network between nodes that are numbered.
#[derive(Clone, Debug)]
pub struct Network {
    seed: Seed,
    shape: Shape,
    /// The latest time that was heard of.
    now_ns: u64,
    /// Messages so far, for each link that was used.
    numbers: BTreeMap<(u32, u32), u64>,
    /// For each sender that has a limit.
    pipes: BTreeMap<u32, Pipe>,
    strikes: Vec<NetStrike>,
    counts: Counts,
}

impl Network {
    /// A network in which nothing is wrong.
    #[must_use]
    pub fn new(seed: Seed, shape: Shape) -> Self {
        Self {
            seed,
            shape,
            now_ns: 0,
            numbers: BTreeMap::new(),
            pipes: BTreeMap::new(),
            strikes: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A message of so many bytes leaves a node now.
    ///
    /// # Panics
    /// When this is earlier than an earlier call.
    pub fn send(&mut self, at_ns: u64, from: u32, to: u32, bytes: u64) -> Fate {
        self.advance(at_ns);
        let number = self.numbers.entry((from, to)).or_default();
        let luck = Luck::of(&self.seed, from, to, *number);
        *number += 1;
        self.counts.sent += 1;
        let weather = self.weather(at_ns, from, to);
        let fate = match self.depart(at_ns, from, bytes, &weather) {
            None => Fate::Dropped(DropReason::QueueFull),
            Some(_) if weather.cut => Fate::Dropped(DropReason::Cut),
            Some(left_ns) => self.travel(left_ns, &luck, &weather),
        };
        match &fate {
            Fate::Sent(_) => {}
            Fate::Twice(_) => self.counts.duplicated += 1,
            Fate::Dropped(reason) => self.counts.drop_one(*reason),
        }
        let corrupted = fate.deliveries().iter().filter(|delivery| delivery.corrupt.is_some());
        self.counts.corrupted += corrupted.count() as u64;
        fate
    }

    /// Judges a copy that is due, by what is wrong at this time.
    ///
    /// # Panics
    /// When this is earlier than an earlier call.
    pub fn arrives(&mut self, at_ns: u64, from: u32, to: u32) -> Arrival {
        self.advance(at_ns);
        let weather = self.weather(at_ns, from, to);
        if weather.cut {
            self.counts.drop_one(DropReason::Cut);
            return Arrival::Drop;
        }
        if let Some(until_ns) = weather.held_until_ns {
            self.counts.held += 1;
            return Arrival::HoldUntil(until_ns);
        }
        self.counts.delivered += 1;
        Arrival::Deliver
    }

    /// Something goes wrong from then on, for so long. Faults add up.
    ///
    /// # Panics
    /// When it begins before the latest time that was heard of.
    pub fn strike(&mut self, at_ns: u64, fault: NetFault, duration_ns: u64) {
        assert!(at_ns >= self.now_ns, "a fault at {at_ns} comes too late at {}", self.now_ns);
        self.strikes.retain(|strike| strike.end_ns() > self.now_ns);
        self.strikes.push(NetStrike { at_ns, duration_ns, fault });
    }

    /// Ends all faults, also those that have not begun. What is held is to be judged again at once. A message that was
    /// sent before keeps its time, also if a cap or a grey link made it late.
    ///
    /// # Panics
    /// When this is earlier than an earlier call.
    pub fn heal(&mut self, at_ns: u64) {
        self.advance(at_ns);
        self.strikes.clear();
    }

    /// Messages take as long as this says from now on. Returns what was before.
    pub const fn set_latency(&mut self, latency: Latency) -> Latency {
        std::mem::replace(&mut self.shape.latency, latency)
    }

    /// What became of all messages so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    fn advance(&mut self, at_ns: u64) {
        assert!(at_ns >= self.now_ns, "time goes back from {} to {at_ns}", self.now_ns);
        self.now_ns = at_ns;
    }

    fn weather(&self, at_ns: u64, from: u32, to: u32) -> Weather {
        let mut weather = Weather::CALM;
        self.strikes.iter().for_each(|strike| strike.act(at_ns, from, to, &mut weather));
        weather
    }

    /// When a message has left its sender. One that is lost later takes its time there too.
    fn depart(&mut self, at_ns: u64, from: u32, bytes: u64, weather: &Weather) -> Option<u64> {
        let rates = [Some(self.shape.bandwidth_bytes_per_s).filter(|rate| *rate > 0), weather.cap_bytes_per_s];
        let rate = rates.into_iter().flatten().min().unwrap_or(0);
        if rate == 0 {
            self.pipes.remove(&from);
            return Some(at_ns);
        }
        self.pipes.entry(from).or_default().send(at_ns, bytes, rate, self.shape.queue_bytes)
    }

    fn travel(&self, left_ns: u64, luck: &Luck, weather: &Weather) -> Fate {
        let shape = &self.shape;
        if luck.loss < u64::from(shape.loss_permille) + weather.loss_permille {
            return Fate::Dropped(DropReason::Loss);
        }
        let corrupt_below = u64::from(shape.corrupt_permille) + weather.corrupt_permille;
        let [first, second] = luck.copies.map(|copy: CopyLuck| Delivery {
            at_ns: left_ns.saturating_add(shape.latency.at(copy.latency).saturating_mul(weather.factor)),
            corrupt: (copy.corrupt < corrupt_below).then_some(copy.entropy),
        });
        if luck.duplicate < u64::from(shape.duplicate_permille) + weather.duplicate_permille {
            Fate::Twice([first, second])
        } else {
            Fate::Sent(first)
        }
    }
}
