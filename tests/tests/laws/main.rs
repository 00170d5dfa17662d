//! The laws of machines, over every machine there is, and over toys that break each of them.
//!
//! A new machine gets a habitat in a module of its own here and one line in [`inhabited`].

mod courier;
mod disk;
mod files;
mod gateway;
mod gc;
mod get;
mod journal;
mod member;
mod node;
mod put;
mod raft;
mod reserve;
mod store;
mod sweep;
mod verify;
mod watched;
mod witness;

use std::any::type_name;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use courier::{Courier, Mistake, Round};
use dps_tests::laws::{Broken, Habitat, Law, all};
use dps_tests::source::{code_only, without_tests, words};
use dps_tests::tree;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use watched::{Seen, Watched};

/// Turns of one life.
const TURNS: usize = 100;

/// Lives after which everything that a machine does must have happened.
const LIVES: u64 = 240;

/// A life of a machine, drawn from a seed, with all that was seen of it.
type Life = dyn Fn(u64, &Seen) -> Result<(), Broken>;

/// A machine of the core with the world that it lives in.
struct Inhabited {
    /// The name of the machine's type.
    machine: &'static str,
    /// Words of effects that some life must bring.
    does: &'static [&'static str],
    live: Box<Life>,
}

impl Inhabited {
    fn new<H: Habitat + 'static>(make: fn(u64) -> H, does: &'static [&'static str]) -> Self {
        let name = type_name::<H::Machine>();
        let machine = name.rsplit("::").next().expect("a type has a name");
        let live = move |seed, seen: &Seen| all(|| Watched::new(make(seed), seen), seed, TURNS);
        Self { machine, does, live: Box::new(live) }
    }
}

/// Every machine of the core.
fn inhabited() -> Vec<Inhabited> {
    parts().into_iter().chain(groups()).chain(tasks()).collect()
}

/// The node and what it is made of.
fn parts() -> Vec<Inhabited> {
    vec![
        Inhabited::new(
            node::Town::new,
            &[
                "List",
                "Append",
                "Sync",
                "Publish",
                "Read",
                "Credit",
                "Stored",
                "Opened",
                "Data",
                "Complete",
                "Deleted",
                "Page",
                "Stat",
                "Verified",
                "Cancelled",
                "Closed",
                "Starting",
                "NotFound",
                "Conflict",
                "Misuse",
                "RangeOutside",
                "Closing",
                "WritesStopped",
                "Settled",
                "Sealed",
            ],
        ),
        Inhabited::new(
            store::Shelf::new,
            &["Append", "Sync", "Read", "Written", "Stored", "Loaded", "Closed", "Missing", "Sealed", "Full", "Failed"],
        ),
        Inhabited::new(
            reserve::Yard::new,
            &[
                "Space",
                "Allocate",
                "Remove",
                "Admitted",
                "Refused",
                "Ready",
                "Tight",
                "ReserveMade",
                "ReserveReleased",
                "ReserveFailed",
            ],
        ),
    ]
}

/// What a journal does.
const JOURNAL: &[&str] =
    &["Append", "Sync", "Publish", "Remove", "Persisted", "Failed", "Closed", "Sealed", "Settled", "SegmentRemoved"];

/// What a member of a group does.
const MEMBER: &[&str] = &[
    "Append",
    "Sync",
    "Publish",
    "Send",
    "Decided",
    "Changed",
    "Readable",
    "Closed",
    "Leads",
    "NotLeader",
    "Stopped",
    "Unknown",
    "Closing",
    "SnapshotMade",
    "SnapshotFailed",
    "SegmentRemoved",
];

/// What a start does that gets to know others.
const WITNESS: &[&str] = &[
    "Append",
    "Publish",
    "Remove",
    "Send",
    "Introduction",
    "Challenge",
    "Known",
    "RolledBack",
    "EarlierStart",
    "ShorterLog",
    "EarlierTerm",
    "Met",
    "NotRemembered",
    "Rejected",
];

/// What talks to others of its kind.
fn groups() -> Vec<Inhabited> {
    vec![
        Inhabited::new(journal::Scriptorium::new, JOURNAL),
        Inhabited::new(member::Room::new, MEMBER),
        Inhabited::new(witness::Door::new, WITNESS),
        Inhabited::new(gateway::Gate::new, &["Propose", "Done", "Unknown", "NoLeader", "TooLarge"]),
        Inhabited::new(member::House::new, &["List", "Read", "Starting", "Send", "Decided", "Leads", "Serving"]),
        Inhabited::new(
            raft::Council::new,
            &[
                "Persist",
                "Send",
                "Apply",
                "Answered",
                "Readable",
                "Leads",
                "LostQuorum",
                "AsksForVotes",
                "NotLeader",
                "ChangePending",
                "Transferring",
                "Unconfirmed",
                "Truncated",
                "Rejected",
                "Doubtful",
                "Settled",
                "NotSettled",
            ],
        ),
    ]
}

/// What has an end.
fn tasks() -> Vec<Inhabited> {
    vec![
        Inhabited::new(
            put::Counter::new,
            &[
                "Ask",
                "Release",
                "Store",
                "Propose",
                "Credit",
                "Stored",
                "Cancelled",
                "Misuse",
                "Busy",
                "DiskFull",
                "WriteFailed",
                "Conflict",
                "PutDropped",
            ],
        ),
        Inhabited::new(get::Window::new, &["Load", "Opened", "Data", "Complete", "Cancelled", "Missing", "Mismatch"]),
        Inhabited::new(
            verify::Round::new,
            &["Load", "Finding", "Damage", "Missing", "Mismatch", "Verified", "Cancelled", "Misuse"],
        ),
        Inhabited::new(
            gc::Office::new,
            &[
                "Reap",
                "SweepStart",
                "SweepComplete",
                "Sweep",
                "CancelSweep",
                "AwaitOlder",
                "EndOlder",
                "Collect",
                "Compact",
                "Collected",
                "Cancelled",
                "SweepStopped",
                "GcSuperseded",
            ],
        ),
        Inhabited::new(|_| sweep::Ground::new(), &["Load", "Done", "Cancelled", "BadManifest"]),
    ]
}

/// The same lives at every run; or as many as DPS_LIVES says that nobody has lived yet, for whoever looks for more.
fn lives() -> ProptestConfig {
    let new = std::env::var("DPS_LIVES").ok().and_then(|text| text.parse().ok());
    let rng_seed = if new.is_some() { RngSeed::Random } else { RngSeed::Fixed(0x6470_7302) };
    ProptestConfig { cases: new.unwrap_or(48), rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(lives())]

    #[test]
    fn every_machine_keeps_the_laws(seed: u64) {
        for machine in inhabited() {
            let told = |broken| TestCaseError::fail(format!("{}: {broken}", machine.machine));
            (machine.live)(seed, &Seen::default()).map_err(told)?;
        }
    }

    #[test]
    fn a_toy_without_a_mistake_keeps_the_laws(seed: u64) {
        all(|| Round::new(Mistake::None), seed, TURNS).map_err(|broken| TestCaseError::fail(broken.to_string()))?;
    }

}

#[test]
fn every_machine_does_all_that_it_can_in_some_life() {
    for machine in inhabited() {
        let seen = Seen::default();
        for seed in 0..LIVES {
            if let Err(broken) = (machine.live)(seed, &seen) {
                panic!("{}, seed {seed}: {broken}", machine.machine);
            }
        }
        let idle: Vec<_> = machine.does.iter().filter(|word| !seen.borrow().contains(**word)).collect();
        assert!(idle.is_empty(), "{} never did {idle:?} in {LIVES} lives, only {:?}", machine.machine, seen.borrow());
    }
}

/// The types for which `code` implements the trait `Machine`.
fn machines_in(code: &str) -> BTreeSet<String> {
    let implemented = |(at, _): (usize, &str)| {
        let head = code[at..].split(['{', ';']).next()?;
        let (of, by) = head.rsplit_once(" for ")?;
        let (_, last) = words(of).last()?;
        let path = by.split("where").next()?.split('<').next()?;
        (last == "Machine").then(|| path.rsplit("::").next().map(str::trim).map(str::to_owned))?
    };
    words(code).filter(|(_, word)| *word == "impl").filter_map(implemented).collect()
}

#[test]
fn every_machine_of_the_core_has_a_habitat() {
    let files = tree::files(&[".rs"]);
    let core = files.iter().filter(|file| file.is_below("core/src/"));
    let machines: BTreeSet<String> =
        core.flat_map(|file| machines_in(&without_tests(&code_only(&file.text)))).collect();
    let housed: BTreeSet<String> = inhabited().iter().map(|machine| machine.machine.to_owned()).collect();
    assert_eq!(machines, housed, "left: machines in core/src, right: machines with a habitat here");
}

#[test]
fn machines_are_found_however_they_are_written() {
    let code = "impl Machine for Plain {}\nimpl<T: Send> Machine for Generic<T> where T: Copy {}\n\
                impl crate::machine::Machine for a::b::Far { fn f() {} }\n\
                fn run(machine: &impl Machine) {}\nstruct Machine;\nimpl Other for Machine {}\nuse crate::Machine;";
    assert_eq!(machines_in(code), ["Far", "Generic", "Plain"].map(str::to_owned).into());
}

/// The laws that a courier with this mistake breaks in the first fifty lives.
fn broken_by(make: impl Fn() -> Round) -> Vec<Law> {
    let mut laws: Vec<Law> =
        (0..50).filter_map(|seed| all(&make, seed, TURNS).err()).map(|broken| broken.law).collect();
    laws.sort_by_key(|law| *law as u8);
    laws.dedup();
    laws
}

/// Each mistake with the law that it breaks.
const MISTAKES: [(Mistake, Law); 8] = [
    (Mistake::EmitsWhenWokenEarly, Law::EarlyWake),
    (Mistake::RemembersEarlyWakes, Law::EarlyWake),
    (Mistake::PutsOffWhenWokenEarly, Law::EarlyWake),
    (Mistake::StaysDue, Law::DueWake),
    (Mistake::IsDueForEver, Law::DueWake),
    (Mistake::FlushesTwice, Law::SecondFlush),
    (Mistake::Floods, Law::Bounds),
    (Mistake::Swells, Law::Bounds),
];

#[test]
fn each_law_catches_what_breaks_it() {
    for (mistake, law) in MISTAKES {
        assert_eq!(broken_by(|| Round::new(mistake)), [law], "{mistake:?}");
    }
}

#[test]
fn a_machine_that_depends_on_anything_but_its_calls_is_caught() {
    let lives = Rc::new(Cell::new(0));
    let make = || {
        lives.set(lives.get() + 1);
        let mut courier = Courier::new(Mistake::None);
        courier.stamp = lives.get();
        Round::of(courier)
    };
    assert_eq!(broken_by(make), [Law::Replay]);
}

#[test]
fn every_law_has_a_toy_that_breaks_it() {
    for law in Law::ALL {
        // The test above breaks the law of replay with a toy that is made in another way.
        assert!(law == Law::Replay || MISTAKES.iter().any(|(_, breaks)| *breaks == law), "{law:?}");
    }
}

#[test]
fn invariants_are_checked_after_each_turn() {
    let life = || all(|| Round::new(Mistake::LosesCount), 1, TURNS);
    let panic = catch_unwind(AssertUnwindSafe(life)).expect_err("the invariant does not hold");
    let text = panic.downcast_ref::<String>().map_or("", |text| text.as_str());
    assert!(text.contains("every parcel is counted"), "{text}");
}
