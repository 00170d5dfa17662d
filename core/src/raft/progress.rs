//! What a leader knows of one follower (Ongaro 2014, section 3.5 and 10.2).

use alloc::collections::VecDeque;

/// How entries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Where the logs meet is not known: one message at a time, and the next when that is answered, or a heartbeat is.
    Probe {
        /// Whether one is on its way.
        asked: bool,
    },
    /// The follower takes what it gets: messages follow each other without waiting.
    Replicate {
        /// Whether to ask if the last of them came: a heartbeat was answered and they were not.
        asks: bool,
    },
    /// It lacks what the log has no more, and nothing is sent before it says that it has a snapshot.
    Snapshot {
        /// Whether one was offered; a heartbeat that is answered later makes it be offered again.
        offered: bool,
    },
}

/// One follower.
///
/// Invariant: `matched < next`.
#[derive(Debug)]
pub(super) struct Progress {
    /// What answers must echo to count. Another one is begun when the follower starts again.
    pub(super) session: u64,
    /// The start of the follower that answers; `None` before its first answer.
    pub(super) incarnation: Option<u64>,
    /// Everything up to here is the leader's and durable there.
    pub(super) matched: u64,
    /// The first entry to be sent next.
    pub(super) next: u64,
    pub(super) mode: Mode,
    /// The last entries of the messages on their way, ascending.
    in_flight: VecDeque<u64>,
    /// Whether what it says may be counted. Once it may, so may what it has said before under the same number of
    /// session.
    pub(super) counts: bool,
    /// Whether it was heard of since the leader last looked.
    pub(super) heard: bool,
    /// The last round of heartbeats that it answered.
    pub(super) round: u64,
    /// The last round of heartbeats that was begun when entries were sent.
    sent_in: u64,
    /// The last round in which it went back after a conflict while messages followed each other.
    back_in: Option<u64>,
}

impl Progress {
    /// A follower of which nothing is known, when the log ends with `last`.
    pub(super) const fn new(session: u64, last: u64) -> Self {
        Self {
            session,
            incarnation: None,
            matched: 0,
            next: last + 1,
            mode: Mode::Probe { asked: false },
            in_flight: VecDeque::new(),
            counts: false,
            heard: false,
            round: 0,
            sent_in: 0,
            back_in: None,
        }
    }

    /// What of it is counted.
    pub(super) const fn counted(&self) -> u64 {
        if self.counts { self.matched } else { 0 }
    }

    /// Messages on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether another message may go out.
    pub(super) fn is_open(&self, in_flight_max: usize) -> bool {
        match self.mode {
            Mode::Probe { asked } => !asked,
            Mode::Replicate { .. } => self.in_flight.len() < in_flight_max,
            Mode::Snapshot { offered } => !offered,
        }
    }

    /// Entries up to `last` were sent, or a question where the logs meet if there were none; `round` was the last
    /// round of heartbeats.
    pub(super) fn sent(&mut self, last: Option<u64>, round: u64) {
        self.sent_in = round;
        match &mut self.mode {
            Mode::Probe { asked } => *asked = true,
            Mode::Replicate { asks } => {
                *asks = false;
                if let Some(last) = last {
                    self.next = last + 1;
                    self.in_flight.push_back(last);
                }
            }
            Mode::Snapshot { .. } => panic!("nothing is sent to who needs a snapshot"),
        }
    }

    /// A snapshot would help. Returns whether to offer it now.
    pub(super) fn offers(&mut self, round: u64) -> bool {
        let offered = matches!(self.mode, Mode::Snapshot { offered: true });
        if !offered {
            self.sent_in = round;
            self.in_flight.clear();
            self.mode = Mode::Snapshot { offered: true };
        }
        !offered
    }

    /// It has everything up to `index`. Returns whether that is news.
    pub(super) fn has(&mut self, index: u64) -> bool {
        while self.in_flight.pop_front_if(|last| *last <= index).is_some() {}
        self.mode = Mode::Replicate { asks: false };
        self.next = self.next.max(index + 1);
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        news
    }

    /// The logs do not meet at `prev`, and nothing after `meet` can be equal. Old words of a conflict come late, and
    /// say nothing. Where messages follow each other, each that overtakes another one meets a conflict: going back once
    /// in a round of heartbeats sends all of them again, and going back for each would send them again and again.
    pub(super) fn conflicts(&mut self, prev: u64, meet: u64) {
        let stale = match self.mode {
            Mode::Probe { .. } => prev + 1 != self.next,
            Mode::Replicate { .. } => prev <= self.matched || self.back_in == Some(self.sent_in),
            Mode::Snapshot { .. } => true,
        };
        if stale {
            return;
        }
        if matches!(self.mode, Mode::Replicate { .. }) {
            self.back_in = Some(self.sent_in);
        }
        self.next = meet.max(self.matched) + 1;
        self.in_flight.clear();
        self.mode = Mode::Probe { asked: false };
    }

    /// A heartbeat was answered by a follower that lacks something. If the heartbeat was sent after the last entries,
    /// those may be lost, and it is asked again.
    pub(super) const fn answered(&mut self, round: u64) {
        if round <= self.sent_in {
            return;
        }
        match &mut self.mode {
            Mode::Probe { asked } => *asked = false,
            Mode::Replicate { asks } => *asks = true,
            Mode::Snapshot { offered } => *offered = false,
        }
    }

    /// Whether to ask where the logs meet, although there may be nothing to send.
    pub(super) const fn asks(&self) -> bool {
        matches!(
            self.mode,
            Mode::Probe { asked: false } | Mode::Replicate { asks: true } | Mode::Snapshot { offered: false }
        )
    }

    /// Whether nothing is beyond `last`, where the leader's log ends, and the invariant holds.
    pub(super) fn is_within(&self, last: u64) -> bool {
        self.matched < self.next && self.next <= last + 1 && self.in_flight.iter().is_sorted()
    }
}
