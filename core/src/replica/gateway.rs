//! Commands of clients, exactly once: a session for this start of a member, and retries until the group has decided.
//!
//! Every command goes to whoever leads as a command of the session, under a serial that stays the same however often it
//! is sent (Ongaro 2014, section 6.3; rule L2). So an answer that is lost, a leader that changes and a message that
//! comes twice do no harm. What could not be decided in time is told as such, never as undone.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::Answer;
use crate::id::NodeId;
use crate::ledger::command::{Command, Outcome};
use crate::limits::{GATEWAY_REQUESTS_MAX, SESSION_SERIALS_MAX};
use crate::machine::Machine;
use crate::time::{Instant, Now};

/// How long it waits for an answer before it asks again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long it waits after a refusal.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a request is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline passed.
    Wake,
    /// A client wants this done.
    Requested {
        /// Chosen by the caller, and answered exactly once.
        id: u64,
        /// What: no command of a session.
        command: Command,
    },
    /// This node leads, as far as the member here knows.
    Led(Option<NodeId>),
    /// A member has answered what it was asked.
    Answered {
        /// Which.
        ticket: u64,
        /// What came of it.
        answer: Answer,
    },
}

/// What the gateway wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask this member, which may be the one here, to propose a command.
    Propose {
        /// Whom.
        to: NodeId,
        /// To be echoed.
        ticket: u64,
        /// What.
        command: Command,
    },
    /// A request is decided.
    Done {
        /// Which.
        id: u64,
        /// What came of it.
        result: Result<Outcome, Undone>,
    },
}

/// Why a request was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Undone {
    /// Too many requests wait. Nothing was done.
    #[error("too many requests are waiting")]
    Busy,
    /// Nobody led, so it was never sent. Nothing was done.
    #[error("no leader was found")]
    NoLeader,
    /// The command is longer than any entry may be. Nothing was done.
    #[error("the command is too long")]
    TooLarge,
    /// It was sent, and may have been committed or may be yet.
    #[error("whether it was done is not known")]
    Unknown,
}

#[derive(Debug)]
enum Session {
    /// There is none, and this ticket asks for one.
    Opening(Option<u64>),
    Open(u64),
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    command: Command,
    /// The ticket that was asked last, and whether any was.
    ticket: Option<u64>,
    sent: bool,
    /// When it is asked again.
    again_at: Instant,
    /// When it is given up.
    over_at: Instant,
}

/// The gateway of one start of a member.
#[derive(Debug)]
pub struct Gateway {
    id: NodeId,
    /// Whom to ask where the member here knows nobody: the others, in turn.
    others: Vec<NodeId>,
    next_other: usize,
    leader: Option<NodeId>,
    session: Session,
    /// When it is asked for again.
    session_at: Instant,
    next_serial: u64,
    next_ticket: u64,
    /// By serial.
    waiting: BTreeMap<u64, Waiting>,
    /// The serial of each ticket.
    tickets: BTreeMap<u64, u64>,
}

impl Gateway {
    /// A gateway of member `id`, beside these others.
    #[must_use]
    pub const fn new(id: NodeId, others: Vec<NodeId>) -> Self {
        Self {
            id,
            others,
            next_other: 0,
            leader: None,
            session: Session::Opening(None),
            session_at: Instant::ZERO,
            next_serial: 1,
            next_ticket: 1,
            waiting: BTreeMap::new(),
            tickets: BTreeMap::new(),
        }
    }

    fn requested(&mut self, now: Now, id: u64, command: Command, out: &mut Vec<Effect>) {
        assert!(
            !matches!(command, Command::InSession { .. } | Command::RegisterSession { .. }),
            "a session is made here"
        );
        // The group remembers that many of the newest serials.
        let oldest = self.waiting.first_key_value().map_or(self.next_serial, |(serial, _)| *serial);
        if self.waiting.len() >= GATEWAY_REQUESTS_MAX || self.next_serial - oldest >= SESSION_SERIALS_MAX {
            return out.push(Effect::Done { id, result: Err(Undone::Busy) });
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let (again_at, over_at) = (now.mono, now.mono + PATIENCE);
        self.waiting.insert(serial, Waiting { id, command, ticket: None, sent: false, again_at, over_at });
    }

    fn answered(&mut self, now: Now, ticket: u64, answer: Answer, out: &mut Vec<Effect>) {
        if let Answer::NotLeader(leader) = answer {
            self.leader = leader;
        }
        if matches!(self.session, Session::Opening(Some(opening)) if opening == ticket) {
            if let Answer::Decided(Outcome::SessionRegistered { session }) = answer {
                self.session = Session::Open(session);
            } else {
                self.session = Session::Opening(None);
                self.session_at = now.mono + PAUSE;
            }
            return;
        }
        let Some(serial) = self.tickets.remove(&ticket) else { return };
        let Some(waiting) = self.waiting.get_mut(&serial).filter(|waiting| waiting.ticket == Some(ticket)) else {
            return;
        };
        match answer {
            Answer::Decided(Outcome::SessionUnknown | Outcome::SerialTooOld) => {
                // The group has forgotten the session, and with it what came of this.
                self.session = Session::Opening(None);
                self.end(serial, Err(Undone::Unknown), out);
            }
            Answer::Decided(outcome) => self.end(serial, Ok(outcome), out),
            Answer::TooLarge => self.end(serial, Err(Undone::TooLarge), out),
            Answer::NotLeader(_) | Answer::Busy | Answer::Unknown => {
                waiting.ticket = None;
                waiting.again_at = now.mono + PAUSE;
            }
        }
    }

    fn end(&mut self, serial: u64, result: Result<Outcome, Undone>, out: &mut Vec<Effect>) {
        let waiting = self.waiting.remove(&serial).expect("only what waits ends");
        if let Some(ticket) = waiting.ticket {
            self.tickets.remove(&ticket);
        }
        out.push(Effect::Done { id: waiting.id, result });
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        // They were asked in this order, so the first is due first.
        while let Some((&serial, waiting)) = self.waiting.first_key_value()
            && waiting.over_at <= now.mono
        {
            let undone = if waiting.sent { Undone::Unknown } else { Undone::NoLeader };
            self.end(serial, Err(undone), out);
        }
    }

    /// Whom to ask.
    fn target(&mut self) -> NodeId {
        if let Some(leader) = self.leader {
            return leader;
        }
        self.next_other += 1;
        let turn = self.next_other % (self.others.len() + 1);
        self.others.get(turn).copied().unwrap_or(self.id)
    }

    /// Asks for a session if there is none, and else for whatever is due.
    fn ask(&mut self, now: Now, out: &mut Vec<Effect>) {
        match self.session {
            Session::Opening(_) if self.waiting.is_empty() || self.session_at > now.mono => {}
            Session::Opening(_) => {
                let (ticket, to) = (self.take_ticket(), self.target());
                self.session = Session::Opening(Some(ticket));
                self.session_at = now.mono + RETRY_AFTER;
                out.push(Effect::Propose { to, ticket, command: Command::RegisterSession { time: now.wall } });
            }
            Session::Open(session) => {
                let is_due = |(serial, waiting): (&u64, &Waiting)| (waiting.again_at <= now.mono).then_some(*serial);
                let due: Vec<u64> = self.waiting.iter().filter_map(is_due).collect();
                for serial in due {
                    self.send(now, session, serial, out);
                }
            }
        }
    }

    fn send(&mut self, now: Now, session: u64, serial: u64, out: &mut Vec<Effect>) {
        let (ticket, to) = (self.take_ticket(), self.target());
        let waiting = self.waiting.get_mut(&serial).expect("it is due");
        // Whoever was asked before may have gone.
        if let Some(before) = waiting.ticket.replace(ticket) {
            self.tickets.remove(&before);
            self.leader = None;
        }
        self.tickets.insert(ticket, serial);
        waiting.sent = true;
        waiting.again_at = now.mono + RETRY_AFTER;
        let command = Command::InSession { session, serial, command: Box::new(waiting.command.clone()) };
        out.push(Effect::Propose { to, ticket, command });
    }

    const fn take_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }
}

impl Machine for Gateway {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.expire(now, out);
        match event {
            Event::Wake => {}
            Event::Requested { id, command } => self.requested(now, id, command, out),
            Event::Led(leader) => self.leader = leader.or(self.leader),
            Event::Answered { ticket, answer } => self.answered(now, ticket, answer, out),
        }
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.ask(now, out);
    }

    fn deadline(&self) -> Option<Instant> {
        let over = self.waiting.first_key_value()?.1.over_at;
        let next = match self.session {
            Session::Opening(_) => self.session_at,
            Session::Open(_) => self.waiting.values().map(|waiting| waiting.again_at).min()?,
        };
        Some(over.min(next))
    }

    fn check(&self) {
        assert!(self.waiting.len() <= GATEWAY_REQUESTS_MAX, "what waits is bounded");
        let asked = self.waiting.values().filter(|waiting| waiting.ticket.is_some()).count();
        assert_eq!(self.tickets.len(), asked, "every ticket is of something that waits");
        let ordered = self.waiting.values().is_sorted_by_key(|waiting| waiting.over_at);
        assert!(ordered, "what was asked first is over first");
    }
}
