//! Whole runs: determinism with the real node, and what the checkers say of nodes that are wrong on purpose.

use std::time::Duration;

use dps_core::disk::{DiskRequest, File};
use dps_core::id::OpId;
use dps_core::machine::Machine;
use dps_core::node::{Effect, Event};
use dps_core::node::{Reply, Request};
use dps_core::note::Note;
use dps_core::time::{Instant, Now};

use super::*;

/// How a [`Fake`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Serves, finds nothing, and refuses every write.
    Empty,
    /// Never serves.
    Mute,
    /// Says that it stored what it never wrote.
    Liar,
    /// Panics at the first request.
    Panicky,
    /// Says twice that a deletion found nothing.
    Chatty,
    /// Uses one name for two disk operations.
    Careless,
}

/// A node that holds nothing.
struct Fake {
    manner: Manner,
    woken: bool,
}

impl Fake {
    fn answer(&self, id: dps_core::id::RequestId, request: Request, out: &mut Vec<Effect>) {
        use dps_core::node::RequestError;
        let reply = match request {
            Request::PutOpen { .. } if self.manner == Manner::Liar => return,
            Request::PutCommit(digest) if self.manner == Manner::Liar => {
                let name = dps_core::ledger::name::Name::new(b"a/0").unwrap();
                let stat = dps_core::ledger::file::FileStat {
                    name: Some(name),
                    version: 1,
                    stored_at: dps_core::time::WallTime::from_nanos(0),
                    file: digest.file,
                    size: digest.size,
                    block_bytes: 0,
                    chunks: 0,
                    names: 1,
                    missing: false,
                };
                Ok(Reply::Stored(Box::new(dps_core::node::StoredFile { stat, new_bytes: 0 })))
            }
            Request::PutOpen { .. } | Request::PutCommit(_) => Err(RequestError::Busy),
            Request::GetOpen { .. }
            | Request::Stat(_)
            | Request::Delete { .. }
            | Request::Purge { .. }
            | Request::Undelete { .. } => Err(RequestError::NotFound),
            Request::Gc => Ok(Reply::Collected(dps_core::node::GcSummary::default())),
            Request::Clean { .. } => Ok(Reply::Cleaned),
            Request::Tombstones { .. } => Ok(Reply::Tombstones { entries: Vec::new(), more: false }),
            Request::Usage => Ok(Reply::Usage(Box::default())),
            Request::VerifyOpen(_) => Ok(Reply::Verified(dps_core::node::VerifySummary::default())),
            Request::List { .. } => Ok(Reply::Page { entries: Vec::new(), more: false }),
            Request::Close => Ok(Reply::Closed),
            Request::PutChunk(_) | Request::GetMore { .. } | Request::VerifyMore { .. } | Request::Cancel => return,
        };
        if self.manner == Manner::Chatty && reply == Err(RequestError::NotFound) {
            out.push(Effect::Reply { id, reply: reply.clone(), last: true });
        }
        out.push(Effect::Reply { id, reply, last: true });
    }
}

impl Subject for Fake {}

impl Machine for Fake {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, _now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Wake if self.manner != Manner::Mute && !self.woken => {
                self.woken = true;
                out.push(Effect::Note(Note::Serving { boot: 1, entries: 0, chunks: 0 }));
                let op = OpId { boot: 1, sequence: 1 };
                for _ in 0..1 + u32::from(self.manner == Manner::Careless) {
                    let request = DiskRequest::Remove { file: File::Stage(1) };
                    out.push(Effect::Disk { op, request });
                }
            }
            Event::Requested { .. } if self.manner == Manner::Panicky => panic!("as it was told"),
            Event::Requested { id, request } if self.manner != Manner::Mute => self.answer(id, request, out),
            Event::Wake | Event::DiskDone { .. } | Event::Requested { .. } => {}
        }
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Instant> {
        (!self.woken).then_some(Instant::ZERO + Duration::from_micros(1))
    }

    fn check(&self) {}
}

fn verdict(manner: Manner) -> Vec<(&'static str, Class)> {
    let options = RunOptions { plan: Some(Plan::default()), ..RunOptions::default() };
    let result = run_with(3, &options, move |_, _| Fake { manner, woken: false });
    result.violations.iter().map(|violation| (violation.checker, violation.class)).collect()
}

#[test]
fn each_wrong_node_is_found_by_its_checker() {
    for (manner, expected) in [
        (Manner::Mute, ("L1", Class::Liveness)),
        (Manner::Empty, ("L1", Class::Liveness)),
        (Manner::Liar, ("S1", Class::Correctness)),
        (Manner::Panicky, ("P0", Class::Crash)),
        (Manner::Chatty, ("W1", Class::Correctness)),
        (Manner::Careless, ("W1", Class::Correctness)),
    ] {
        assert_eq!(verdict(manner).first(), Some(&expected), "{manner:?}");
    }
}

#[test]
fn a_run_is_the_same_with_either_queue_and_another_seed_is_another_run() {
    let options = RunOptions { twin: true, trace_lines: 50, ..RunOptions::default() };
    let first = run(7, &options);
    let again = run(7, &RunOptions { trace_lines: 0, ..options.clone() });
    assert!(first.violations.iter().all(|violation| violation.checker != "W4"), "{:?}", first.violations);
    assert_eq!((first.trace_hash, first.events, first.sim_ns), (again.trace_hash, again.events, again.sim_ns));
    assert_eq!(first.trace.len(), 50);
    assert_ne!(run(8, &options).trace_hash, first.trace_hash);
}

#[test]
fn a_drawn_plan_replays_from_its_text() {
    let drawn = run(1, &RunOptions::default());
    let plan = Plan::parse(&Setup::draw_for(1, Scenario::Reclaim).plan.to_toml()).unwrap();
    let replayed = run(1, &RunOptions { plan: Some(plan), ..RunOptions::default() });
    assert_eq!(drawn.trace_hash, replayed.trace_hash);
    let calm = run(1, &RunOptions { plan: Some(Plan::default()), ..RunOptions::default() });
    assert_eq!(calm.violations, []);
    assert_ne!(calm.trace_hash, drawn.trace_hash);
}
