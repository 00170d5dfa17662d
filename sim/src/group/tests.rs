//! Whole runs: determinism with real members, and what the checkers say of members that are wrong on purpose.

use dps_core::machine::Machine;
use dps_core::note::Note;
use dps_core::raft::message::Body;
use dps_core::replica::Peer;
use dps_core::replica::event::{Effect, Event, Message};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now};

use super::*;
use crate::plan::Plan;

/// How a [`Wrong`] member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Never says anything to others.
    Mute,
    /// Answers everything twice.
    Chatty,
    /// Sends every heartbeat four times.
    Stormy,
    /// Panics when it is asked for something.
    Panicky,
    /// Uses one name for two disk operations.
    Careless,
    /// Tells of damage that there is not.
    Alarmist,
}

/// A member that is wrong in one way.
struct Wrong {
    peer: Peer,
    manner: Manner,
}

impl Wrong {
    fn distort(&self, first: usize, out: &mut Vec<Effect>) {
        for effect in out.split_off(first) {
            let times = match (&effect, self.manner) {
                (Effect::Send(_), Manner::Mute) => 0,
                (Effect::Decided { .. } | Effect::Readable { .. }, Manner::Chatty) => 2,
                (Effect::Send(message), Manner::Stormy) if is_heartbeat(message) => 4,
                (Effect::Disk { .. }, Manner::Careless) => 2,
                _ => 1,
            };
            if self.manner == Manner::Alarmist && matches!(effect, Effect::Note(Note::Serving { .. })) {
                let file = dps_core::disk::File::Journal(1);
                let kind = dps_core::disk::damage::DamageKind::Missing;
                let damage = dps_core::disk::damage::Damage { file, offset: 0, first: 1, last: 1, kind };
                out.push(Effect::Note(Note::Damaged(damage)));
            }
            out.extend(std::iter::repeat_n(effect, times));
        }
    }
}

fn is_heartbeat(message: &Message) -> bool {
    matches!(message, Message::Raft(message) if matches!(message.body, Body::Heartbeat { .. }))
}

impl Machine for Wrong {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        assert!(
            self.manner != Manner::Panicky || !matches!(event, Event::Propose { .. } | Event::Read { .. }),
            "as it was told"
        );
        let first = out.len();
        self.peer.step(now, event, out);
        self.distort(first, out);
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        let first = out.len();
        self.peer.flush(now, out);
        self.distort(first, out);
    }

    fn deadline(&self) -> Option<Instant> {
        self.peer.deadline()
    }

    fn check(&self) {
        self.peer.check();
    }
}

impl Member for Wrong {
    fn look(&self) -> Option<Look<'_>> {
        self.peer.look()
    }
}

fn verdict(manner: Manner) -> Vec<(&'static str, Class)> {
    let options = RunOptions { plan: Some(Plan::default()), ..RunOptions::default() };
    let result = run_with(3, &options, move |setup: &GroupSetup, host, seed: Seed| Wrong {
        peer: Peer::new(setup.config(), setup.founding(host), seed),
        manner,
    });
    result.violations.iter().map(|violation| (violation.checker, violation.class)).collect()
}

#[test]
fn each_wrong_member_is_found_by_its_checker() {
    for (manner, expected) in [
        (Manner::Mute, ("HEAL", Class::Liveness)),
        (Manner::Chatty, ("AO", Class::Correctness)),
        (Manner::Stormy, ("MSG", Class::Correctness)),
        (Manner::Panicky, ("P0", Class::Crash)),
        (Manner::Careless, ("W1", Class::Correctness)),
        (Manner::Alarmist, ("ROUND", Class::Correctness)),
    ] {
        assert_eq!(verdict(manner).first(), Some(&expected), "{manner:?}");
    }
}

#[test]
fn a_run_is_the_same_with_either_queue_and_from_the_text_of_its_plan() {
    let options = RunOptions { twin: true, trace_lines: 50, ..RunOptions::default() };
    let first = run(7, &options);
    assert!(first.violations.iter().all(|violation| violation.checker != "W4"), "{:?}", first.violations);
    assert_eq!(first.trace.len(), 50);
    let plan = Plan::parse(&GroupSetup::draw(7).plan.to_toml()).unwrap();
    let again = run(7, &RunOptions { plan: Some(plan), ..RunOptions::default() });
    assert_eq!((first.trace_hash, first.events, first.sim_ns), (again.trace_hash, again.events, again.sim_ns));
    let calm = run(7, &RunOptions { plan: Some(Plan::default()), ..RunOptions::default() });
    assert_eq!(calm.violations, []);
    assert_ne!(calm.trace_hash, first.trace_hash);
}

#[test]
fn every_drawn_setup_is_valid_and_its_plan_survives_its_text() {
    for seed in 0..300 {
        let setup = GroupSetup::draw(seed);
        let _ = setup.config();
        assert_eq!(setup.settings.raft.checked(), Ok(setup.settings.raft));
        assert_eq!(Plan::parse(&setup.plan.to_toml()).unwrap(), setup.plan);
        assert!(setup.plan.faults.is_sorted_by_key(|fault| fault.at_ns));
    }
}
