//! Where a [`Gateway`] lives: clients, and a group that answers late, wrongly or never.

use std::collections::VecDeque;

use dps_core::id::NodeId;
use dps_core::ledger::command::{Command, Outcome};
use dps_core::ledger::file::Expect;
use dps_core::replica::Answer;
use dps_core::replica::gateway::{Effect, Event, Gateway};
use dps_core::rng::Rng;
use dps_core::time::WallTime;
use dps_tests::laws::Habitat;

use crate::files::name;

const fn node(number: u64) -> NodeId {
    NodeId::from_bytes([number as u8; 20])
}

#[derive(Default)]
pub(crate) struct Gate {
    requests: u64,
    /// What the group was asked: the ticket, and whether it was for a session.
    asked: VecDeque<(u64, bool)>,
}

impl Gate {
    pub(crate) fn new(_seed: u64) -> Self {
        Self::default()
    }

    fn answer(&mut self, rng: &mut Rng) -> Option<Event> {
        let (ticket, is_opening) = self.asked.pop_front()?;
        let answer = match rng.below(12) {
            0 => return None,
            1 => Answer::NotLeader(rng.chance(1, 2).then(|| node(1 + rng.below(3)))),
            2 => Answer::Busy,
            3 => Answer::Unknown,
            5 if rng.chance(1, 4) => Answer::TooLarge,
            4 if !is_opening => Answer::Decided(Outcome::SessionUnknown),
            _ if is_opening => Answer::Decided(Outcome::SessionRegistered { session: ticket }),
            _ => Answer::Decided(Outcome::Deleted),
        };
        Some(Event::Answered { ticket, answer })
    }
}

impl Habitat for Gate {
    type Machine = Gateway;

    fn machine(&self) -> Gateway {
        Gateway::new(node(1), vec![node(2), node(3)])
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        match rng.below(8) {
            0..=2 => {
                self.requests += 1;
                let (time, name) = (WallTime::from_nanos(rng.below(1_000)), name(rng));
                Some(Event::Requested {
                    id: self.requests,
                    command: Command::Delete { time, name, expect: Expect::Any },
                })
            }
            3 => Some(Event::Led(rng.chance(1, 2).then(|| node(1 + rng.below(3))))),
            4 => Some(Event::Answered { ticket: rng.below(9), answer: Answer::Busy }),
            _ => self.answer(rng),
        }
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Propose { ticket, command, .. } => {
                    self.asked.push_back((*ticket, matches!(command, Command::RegisterSession { .. })));
                }
                Effect::Done { .. } => {}
            }
        }
    }

    fn bytes(_effect: &Effect) -> usize {
        0
    }
}
