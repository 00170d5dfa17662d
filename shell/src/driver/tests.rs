//! The driver's side of the contract, against a machine that does what each test tells it.

use std::sync::Mutex;

use dps_core::disk::DiskRequest;
use dps_core::machine::Machine;
use dps_core::time::{Instant, Now};

use super::*;
use crate::conversation::Link;
use crate::disk::{Create, Directory, Worker};
use crate::error::StoreError;

/// What the machine was called with: `step` with the event in short, or `flush`.
type Calls = Arc<Mutex<Vec<String>>>;

/// Answers each event by what `script` says.
struct Scripted<F> {
    calls: Calls,
    script: F,
    deadline: Option<Instant>,
}

impl<F: FnMut(&Event, &mut Option<Instant>) -> Vec<Effect>> Machine for Scripted<F> {
    type Event = Event;
    type Effect = Effect;

    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let short = match &event {
            Event::Wake => {
                if self.deadline.is_some_and(|at| at > now.mono) {
                    String::from("early wake")
                } else {
                    String::from("wake")
                }
            }
            Event::DiskDone { op, result } => format!("done {} {}", op.sequence, result.is_ok()),
            Event::Requested { id, request: Request::Cancel } => format!("cancel {}", id.0),
            Event::Requested { id, .. } => format!("request {}", id.0),
        };
        self.calls.lock().unwrap().push(short);
        out.extend((self.script)(&event, &mut self.deadline));
    }

    fn flush(&mut self, _now: Now, _out: &mut Vec<Effect>) {
        self.calls.lock().unwrap().push(String::from("flush"));
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn check(&self) {}
}

struct Bench {
    _temp: tempfile::TempDir,
    calls: Calls,
    link: Link,
    driver: tokio::task::JoinHandle<()>,
    ready: oneshot::Receiver<()>,
}

fn start<F>(script: F) -> Bench
where
    F: FnMut(&Event, &mut Option<Instant>) -> Vec<Effect> + Send + 'static,
{
    let temp = tempfile::tempdir().unwrap();
    let calls = Calls::default();
    let machine = Scripted { calls: Arc::clone(&calls), script, deadline: None };
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
    let weak = inputs.downgrade();
    let completion = Box::new(move |op, result| {
        if let Some(inputs) = weak.upgrade() {
            let _ = inputs.blocking_send(Input::DiskDone { op, result });
        }
    });
    let disk = Queue::new(Worker::new(Directory::open(temp.path(), Create::Directory).unwrap()), completion, None);
    let (serving, ready) = oneshot::channel();
    let fate = Fate::default();
    let driver = tokio::spawn(Driver::new(machine, receiver, disk, serving, fate.clone()).run());
    Bench { _temp: temp, calls, link: Link::new(inputs, fate), driver, ready }
}

fn reply(event: &Event, reply: Result<Reply, RequestError>, last: bool) -> Vec<Effect> {
    match event {
        Event::Requested { id, .. } => vec![Effect::Reply { id: *id, reply, last }],
        Event::Wake | Event::DiskDone { .. } => Vec::new(),
    }
}

const LIST: Request = Request::Close;

#[tokio::test]
async fn ready_events_are_one_turn_with_one_flush() {
    let bench = start(|event, _| reply(event, Ok(Reply::Deleted), true));
    // The driver has not run yet: it and these three share one thread.
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(bench.link.open(LIST).await.unwrap());
    }
    for conversation in &mut open {
        assert_eq!(conversation.next().await.unwrap(), Reply::Deleted);
    }
    let expected = ["wake", "flush", "request 1", "request 2", "request 3", "flush"];
    assert_eq!(*bench.calls.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_first_serving_note_is_what_readiness_waits_for() {
    let serving = Note::Serving { boot: 1, entries: 0, chunks: 0 };
    let bench = start(move |event, _| match event {
        Event::Wake => vec![Effect::Note(serving), Effect::Note(serving)],
        Event::DiskDone { .. } | Event::Requested { .. } => Vec::new(),
    });
    bench.ready.await.unwrap();
}

#[tokio::test]
async fn a_deadline_wakes_the_machine_and_never_early() {
    let (sender, mut woken) = mpsc::unbounded_channel();
    let mut wakes = 0;
    let bench = start(move |event, deadline| {
        assert_eq!(event, &Event::Wake);
        wakes += 1;
        // The second deadline has passed already, as when a batch was cut short; then one is in the future.
        *deadline = match wakes {
            1 => Some(Instant::from_nanos(1)),
            2 => Some(Instant::from_nanos(20_000_000)),
            _ => None,
        };
        sender.send(wakes).unwrap();
        Vec::new()
    });
    for expected in 1..=3 {
        assert_eq!(woken.recv().await, Some(expected));
    }
    assert!(!bench.calls.lock().unwrap().iter().any(|call| call == "early wake"));
}

#[tokio::test]
async fn after_a_halt_nothing_is_called_and_clients_hear_why() {
    let bench = start(|event, _| match event {
        Event::Requested { id, .. } => vec![
            Effect::Halt(HaltReason::BootRecordLost),
            Effect::Reply { id: *id, reply: Ok(Reply::Deleted), last: true },
        ],
        Event::Wake | Event::DiskDone { .. } => Vec::new(),
    });
    let error = bench.link.ask(LIST).await.unwrap_err();
    assert!(matches!(error, StoreError::Halted(HaltReason::BootRecordLost)), "{error:?}");
    bench.driver.await.unwrap();
    let error = bench.link.ask(LIST).await.unwrap_err();
    assert!(matches!(error, StoreError::Halted(HaltReason::BootRecordLost)), "{error:?}");
    assert_eq!(*bench.calls.lock().unwrap(), ["wake", "flush", "request 1", "flush"]);
}

#[tokio::test]
async fn a_dropped_conversation_is_cancelled_and_a_finished_one_is_not() {
    let bench = start(|event, _| match event {
        Event::Requested { request: Request::Cancel, .. } => reply(event, Ok(Reply::Cancelled), true),
        Event::Requested { request: Request::Close, .. } => reply(event, Ok(Reply::Closed), true),
        Event::Requested { .. } | Event::Wake | Event::DiskDone { .. } => Vec::new(),
    });
    let open = Request::VerifyOpen(dps_core::node::VerifyScope::All);
    drop(bench.link.open(open).await.unwrap());
    assert_eq!(bench.link.ask(LIST).await.unwrap(), Reply::Closed);
    drop(bench.link);
    bench.driver.await.unwrap();
    let calls = bench.calls.lock().unwrap();
    assert_eq!(calls.iter().filter(|call| call.starts_with("cancel")).collect::<Vec<_>>(), ["cancel 1"]);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_loses_its_conversation_and_holds_nobody_up() {
    let bench = start(|event, _| match event {
        Event::Requested { id, request: Request::VerifyMore { findings } } => {
            (0..*findings).map(|_| Effect::Reply { id: *id, reply: Ok(Reply::Deleted), last: false }).collect()
        }
        Event::Requested { request: Request::Close, .. } => reply(event, Ok(Reply::Closed), true),
        Event::Requested { .. } | Event::Wake | Event::DiskDone { .. } => Vec::new(),
    });
    let mut greedy = bench.link.open(Request::VerifyOpen(dps_core::node::VerifyScope::All)).await.unwrap();
    let findings = u32::try_from(ANSWERS_MAX).unwrap() + 1;
    greedy.send(Request::VerifyMore { findings }).await.unwrap();
    assert_eq!(bench.link.ask(LIST).await.unwrap(), Reply::Closed);
    for _ in 0..ANSWERS_MAX {
        assert_eq!(greedy.next().await.unwrap(), Reply::Deleted);
    }
    assert!(matches!(greedy.next().await, Err(StoreError::Closed)));
    assert!(bench.calls.lock().unwrap().iter().any(|call| call == "cancel 1"));
}

#[tokio::test]
async fn a_disk_request_comes_back_under_its_name() {
    let bench = start(|event, _| match event {
        Event::Requested { id, .. } => {
            vec![Effect::Disk { op: OpId { boot: 0, sequence: id.0 }, request: DiskRequest::List }]
        }
        Event::DiskDone { op, .. } => {
            let id = RequestId(op.sequence);
            vec![Effect::Reply { id, reply: Ok(Reply::Deleted), last: true }]
        }
        Event::Wake => Vec::new(),
    });
    assert_eq!(bench.link.ask(LIST).await.unwrap(), Reply::Deleted);
    assert!(bench.calls.lock().unwrap().iter().any(|call| call == "done 1 true"));
}
