//! A collection step by step, and every way in which it can end early.

use super::*;
use crate::disk::{DiskError, File};
use crate::id::{ChunkId, FileId};
use crate::keystore::ChunkFault;
use crate::time::WallTime;

const RETAIN: Duration = Duration::from_secs(100);
const WAIT: Duration = Duration::from_secs(50);

fn at(seconds: u64) -> Now {
    let nanos = seconds * 1_000_000_000;
    Now { mono: Instant::from_nanos(nanos), wall: WallTime::from_nanos(nanos) }
}

fn gc() -> Gc {
    Gc::new(RETAIN, WAIT, at(1_000))
}

fn tell(gc: &mut Gc, now: Now, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    gc.step(now, event, &mut out);
    gc.flush(now, &mut out);
    gc.check();
    out
}

fn filter(epoch: u64) -> Filter {
    Filter::builder(epoch, [1; 16], 10).finish()
}

fn proposed(out: &[Effect]) -> &Command {
    match out {
        [Effect::Propose(command)] => command,
        other => panic!("{other:?}"),
    }
}

fn last(out: &[Effect]) -> &Result<Reply, RequestError> {
    match out {
        [.., Effect::Reply { reply, last: true }] => reply,
        other => panic!("{other:?}"),
    }
}

/// A collection that waits for what is older than epoch 7, since second 1,000.
fn waiting() -> Gc {
    let mut gc = gc();
    tell(&mut gc, at(1_000), Event::Wake);
    tell(&mut gc, at(1_000), Event::Decided(Ok(Outcome::Reaped { count: 3, more: false })));
    let out = tell(&mut gc, at(1_000), Event::Decided(Ok(Outcome::SweepStarted { epoch: 7 })));
    assert!(matches!(out[..], [Effect::Sweep { epoch: 7 }]));
    let out = tell(&mut gc, at(1_000), Event::Swept(Ok(filter(7))));
    assert!(matches!(out[..], [Effect::AwaitOlder { epoch: 7 }]));
    gc
}

fn completing() -> Gc {
    let mut gc = waiting();
    let out = tell(&mut gc, at(1_010), Event::OlderEnded);
    let Command::SweepComplete { epoch, filter_hash, by_person, .. } = proposed(&out) else { panic!("{out:?}") };
    assert_eq!((*epoch, *filter_hash, *by_person), (7, filter(7).hash(), true));
    gc
}

#[test]
fn everything_in_its_order() {
    let mut gc = gc();
    assert_eq!(gc.deadline(), Some(at(1_000).mono));
    let out = tell(&mut gc, at(1_000), Event::Wake);
    let Command::Reap { before, limit, .. } = proposed(&out) else { panic!("{out:?}") };
    assert_eq!((*before, *limit), (at(900).wall, REAP_SLICE_MAX));
    // As long as there are more, they are reaped in slices.
    let out = tell(&mut gc, at(1_001), Event::Decided(Ok(Outcome::Reaped { count: 256, more: true })));
    assert!(matches!(proposed(&out), Command::Reap { .. }));
    let out = tell(&mut gc, at(1_002), Event::Decided(Ok(Outcome::Reaped { count: 4, more: false })));
    assert!(matches!(proposed(&out), Command::SweepStart { .. }));
    tell(&mut gc, at(1_002), Event::Decided(Ok(Outcome::SweepStarted { epoch: 2 })));
    tell(&mut gc, at(1_002), Event::Swept(Ok(filter(2))));
    tell(&mut gc, at(1_002), Event::OlderEnded);
    let out = tell(&mut gc, at(1_003), Event::Decided(Ok(Outcome::SweepCompleted)));
    assert!(matches!(&out[..], [Effect::Collect(found)] if **found == filter(2)));
    let collected = Collected { chunks: 5, bytes: 600 };
    let out = tell(&mut gc, at(1_004), Event::Collected(Ok(collected)));
    assert!(matches!(out[..], [Effect::Compact]));
    let compacted = Compacted { volumes: 1, bytes: 900 };
    let out = tell(&mut gc, at(1_005), Event::Compacted(Ok(compacted)));
    assert_eq!(last(&out), &Ok(Reply::Collected(GcSummary { tombstones: 260, collected, compacted })));
    assert_eq!(gc.deadline(), None);
}

#[test]
fn it_waits_for_what_is_older_but_not_for_ever() {
    let mut gc = waiting();
    assert_eq!(gc.deadline(), Some(at(1_050).mono));
    assert!(tell(&mut gc, at(1_049), Event::Wake).is_empty(), "nothing is completed while something older may be");
    let out = tell(&mut gc, at(1_050), Event::Wake);
    assert!(matches!(out[0], Effect::EndOlder { epoch: 7 }));
    assert!(matches!(proposed(&out[1..]), Command::SweepComplete { epoch: 7, .. }));
    // What is said too late says nothing.
    assert!(tell(&mut gc, at(1_051), Event::OlderEnded).is_empty());
}

#[test]
fn without_a_whole_walk_nothing_is_completed() {
    let mut gc = gc();
    tell(&mut gc, at(1_000), Event::Wake);
    tell(&mut gc, at(1_000), Event::Decided(Ok(Outcome::Reaped { count: 0, more: false })));
    tell(&mut gc, at(1_000), Event::Decided(Ok(Outcome::SweepStarted { epoch: 7 })));
    let (file, chunk) = (FileId::from_bytes([1; 32]), ChunkId::of(b"node"));
    let fault = ChunkFault::Missing { lost_volumes: Vec::new() };
    let error = SweepError::BadManifest { file, chunk: Some(chunk), fault: fault.clone() };
    let out = tell(&mut gc, at(1_000), Event::Swept(Err(error)));
    let (file, chunk, fault) = (Box::new(file), Some(Box::new(chunk)), Box::new(fault));
    assert_eq!(last(&out), &Err(RequestError::SweepStopped { file, chunk, fault }));
    assert_eq!(out.len(), 1);
}

#[test]
fn a_later_collection_knows_better() {
    let mut gc = completing();
    let out = tell(&mut gc, at(1_020), Event::Decided(Ok(Outcome::Superseded)));
    assert_eq!(last(&out), &Err(RequestError::GcSuperseded));
    assert_eq!(out.len(), 1, "nothing is dropped by its filter");
}

#[test]
fn an_error_of_ledger_or_store_ends_it() {
    let error = RequestError::OutcomeUnknown(DiskError::Io(5));
    for mut gc in [gc(), completing()] {
        if matches!(gc.stage, Stage::Opening) {
            tell(&mut gc, at(1_000), Event::Wake);
        }
        assert_eq!(last(&tell(&mut gc, at(1_000), Event::Decided(Err(error.clone())))), &Err(error.clone()));
    }
    let failed = StoreError::Failed { file: File::Volume(1), error: DiskError::Io(5) };
    let mut gc = completing();
    tell(&mut gc, at(1_020), Event::Decided(Ok(Outcome::SweepCompleted)));
    assert_eq!(last(&tell(&mut gc, at(1_020), Event::Collected(Err(failed)))), &Err(failed.into()));
    let mut gc = completing();
    tell(&mut gc, at(1_020), Event::Decided(Ok(Outcome::SweepCompleted)));
    tell(&mut gc, at(1_020), Event::Collected(Ok(Collected::default())));
    assert_eq!(last(&tell(&mut gc, at(1_020), Event::Compacted(Err(StoreError::Full)))), &Err(RequestError::DiskFull));
}

#[test]
fn it_can_be_cancelled_at_any_point() {
    // Before anything, and while it waits: at once.
    for mut gc in [gc(), waiting()] {
        assert_eq!(last(&tell(&mut gc, at(1_000), Event::Cancel)), &Ok(Reply::Cancelled));
    }
    // While the ledger decides: afterwards, whatever it decides.
    for outcome in [Ok(Outcome::SweepCompleted), Err(RequestError::Busy)] {
        let mut gc = completing();
        assert!(tell(&mut gc, at(1_020), Event::Cancel).is_empty());
        let out = tell(&mut gc, at(1_020), Event::Decided(outcome));
        assert_eq!((last(&out), out.len()), (&Ok(Reply::Cancelled), 1), "nothing is collected any more");
    }
    // While it walks: when the walk has ended.
    let mut gc = gc();
    tell(&mut gc, at(1_000), Event::Wake);
    tell(&mut gc, at(1_000), Event::Decided(Ok(Outcome::Reaped { count: 0, more: false })));
    tell(&mut gc, at(1_000), Event::Decided(Ok(Outcome::SweepStarted { epoch: 7 })));
    assert!(matches!(tell(&mut gc, at(1_000), Event::Cancel)[..], [Effect::CancelSweep]));
    let out = tell(&mut gc, at(1_000), Event::Swept(Err(SweepError::Cancelled)));
    assert_eq!(last(&out), &Ok(Reply::Cancelled));
    // While the store works: at once, and the store goes on by itself.
    let mut gc = completing();
    tell(&mut gc, at(1_020), Event::Decided(Ok(Outcome::SweepCompleted)));
    assert_eq!(last(&tell(&mut gc, at(1_020), Event::Cancel)), &Ok(Reply::Cancelled));
}
