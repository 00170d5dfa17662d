//! Starts that meet, one rule after the other.

use alloc::vec;

use super::*;
use crate::disk::record::FileKey;
use crate::disk::{DiskError, DiskReply};
use crate::id::KEY_LEN;
use crate::rng::Seed;
use crate::time::WallTime;

const fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; KEY_LEN])
}

const fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn group(nodes: core::ops::RangeInclusive<u8>) -> Arc<Membership> {
    Arc::new(Membership::new(nodes.map(node)).expect("there is a voter"))
}

/// A start of which these are the random bytes.
const fn start(random: u8, end: Position, term: u64) -> Start {
    Start { random: [random; 16], end, term, whole: true }
}

const fn known(random: u8) -> Words {
    Words::Known { random: [random; 16] }
}

const PERIOD: Duration = Duration::from_millis(50);

/// A witness, and what it has said.
struct Alone {
    witness: Witness,
    millis: u64,
    out: Vec<Effect>,
}

impl Alone {
    fn new(members: Arc<Membership>) -> Self {
        Self::with(members, Memory::default())
    }

    fn with(members: Arc<Membership>, memory: Memory) -> Self {
        let boot = BootRecord { store: [1; 16], key: FileKey([0; 16]), boot: 4, random: [9; 16] };
        let rng = Seed::new([3; 32]).rng();
        let witness = Witness::new(node(1), &boot, start(9, at(2, 5), 3), members, memory, PERIOD, rng);
        Self { witness, millis: 0, out: vec![] }
    }

    fn give(&mut self, event: Event) {
        let now = Now { mono: Instant::from_nanos(self.millis * 1_000_000), wall: WallTime::default() };
        self.witness.step(now, event, &mut self.out);
        self.witness.flush(now, &mut self.out);
        self.witness.check();
        let before = self.out.len();
        self.witness.flush(now, &mut self.out);
        assert_eq!(self.out.len(), before, "a second flush has nothing to do");
    }

    fn hear(&mut self, from: u8, incarnation: u64, words: Words) -> Vec<Words> {
        self.out.clear();
        self.give(Event::Received { from: node(from), incarnation, words });
        self.said()
    }

    fn introduce(&mut self, from: u8, incarnation: u64, start: Start, nonce: Option<Drawn>) -> Vec<Words> {
        self.hear(from, incarnation, Words::Introduction { start, nonce })
    }

    /// What it has said, but for introductions that nobody asked for.
    fn said(&self) -> Vec<Words> {
        let said = self.out.iter().filter_map(|effect| match effect {
            Effect::Send { words, .. } => Some(*words),
            Effect::Disk(_) | Effect::RolledBack(_) | Effect::Note(_) => None,
        });
        said.filter(|words| !matches!(words, Words::Introduction { nonce: None, .. })).collect()
    }

    fn asks_disk(&self) -> bool {
        self.out.iter().any(|effect| matches!(effect, Effect::Disk(_)))
    }

    /// The nonce that a start is given.
    fn nonce(&mut self, from: u8, incarnation: u64, this: Start) -> Drawn {
        let said = self.introduce(from, incarnation, this, None);
        let [Words::Challenge { start, nonce }] = said[..] else { panic!("a stranger is asked: {said:?}") };
        assert_eq!(start, incarnation);
        nonce
    }

    /// The disk does all that it is asked for; something is said only then.
    fn persist(&mut self) -> Vec<Words> {
        self.out.clear();
        for _ in 0..4 {
            assert_eq!(self.said(), [], "nothing is said before it is durable");
            self.give(Event::DiskDone(Ok(DiskReply::Done)));
        }
        self.said()
    }

    /// A start meets it; returns the verdict.
    fn meet(&mut self, from: u8, incarnation: u64, this: Start) -> Words {
        let nonce = self.nonce(from, incarnation, this);
        match self.introduce(from, incarnation, this, Some(nonce))[..] {
            [verdict] => verdict,
            [] => self.persist().remove(0),
            [..] => panic!("one answer"),
        }
    }
}

#[test]
fn a_start_is_known_once_that_is_durable_in_both_slots() {
    let mut alone = Alone::new(group(1..=3));
    let this = start(2, at(1, 1), 1);
    assert_eq!(alone.witness.standing(&node(2), 7), Standing::Unknown);
    let nonce = alone.nonce(2, 7, this);
    assert!(!alone.asks_disk(), "nothing is believed yet");
    assert_eq!(alone.introduce(2, 7, this, Some(nonce)), []);
    assert!(alone.asks_disk());
    assert_eq!(alone.witness.standing(&node(2), 7), Standing::Unknown, "it is not durable");
    assert_eq!(alone.introduce(2, 7, this, Some(nonce)), [], "words that come twice change nothing");
    assert_eq!(alone.persist(), [known(2)]);
    assert_eq!(alone.witness.standing(&node(2), 7), Standing::Known);
    assert_eq!(alone.witness.standing(&node(2), 6), Standing::Older);
    assert_eq!(alone.witness.standing(&node(2), 8), Standing::Unknown);
    assert_eq!(alone.introduce(2, 7, this, None), [known(2)], "whoever asks again is told");
    let after = Alone::with(group(1..=3), alone.witness.memory.clone());
    assert_eq!(after.witness.standing(&node(2), 7), Standing::Known, "its next start knows it as well");
}

#[test]
fn a_later_start_with_at_least_as_much_is_taken() {
    let mut alone = Alone::new(group(1..=3));
    alone.meet(2, 7, start(2, at(1, 1), 1));
    alone.witness.acknowledged(&node(2), at(3, 8));
    alone.witness.spoke_in(&node(2), 3);
    assert_eq!(alone.meet(2, 9, start(4, at(3, 8), 3)), known(4));
    // A leader of a later term has cut the log.
    assert_eq!(alone.meet(2, 10, start(5, at(4, 2), 4)), known(5));
}

#[test]
fn an_old_disk_is_found_out_by_number_log_and_term() {
    let mut alone = Alone::new(group(1..=3));
    alone.meet(2, 7, start(2, at(1, 1), 1));
    alone.witness.acknowledged(&node(2), at(3, 8));
    alone.witness.spoke_in(&node(2), 5);
    for (incarnation, this, because) in [
        (7, start(3, at(9, 9), 9), Because::EarlierStart { known: 7 }),
        (1, start(3, Position::ZERO, 0), Because::EarlierStart { known: 7 }),
        (8, start(3, at(3, 7), 5), Because::ShorterLog { acknowledged: at(3, 8) }),
        (8, start(3, at(2, 900), 5), Because::ShorterLog { acknowledged: at(3, 8) }),
        (8, start(3, at(3, 8), 4), Because::EarlierTerm { told: 5 }),
    ] {
        assert_eq!(alone.meet(2, incarnation, this), Words::RolledBack { random: this.random, because });
        assert_eq!(alone.witness.standing(&node(2), 8), Standing::Unknown);
        let told = Note::RolledBack { node: node(2), start: incarnation, because };
        assert!(alone.out.contains(&Effect::Note(told)));
    }
    assert_eq!(alone.witness.standing(&node(2), 7), Standing::Known, "nothing has changed");
}

#[test]
fn who_knows_that_it_may_have_lost_something_is_not_judged_by_its_log() {
    let mut alone = Alone::new(group(1..=3));
    alone.meet(2, 7, start(2, at(3, 8), 5));
    let less = Start { whole: false, ..start(3, at(3, 4), 4) };
    assert_eq!(alone.meet(2, 8, less), known(3));
    // What it acknowledged before counts no more.
    assert_eq!(alone.meet(2, 9, start(4, at(3, 4), 4)), known(4));
    let because = Because::EarlierStart { known: 9 };
    assert_eq!(alone.meet(2, 9, less), Words::RolledBack { random: less.random, because });
}

#[test]
fn nothing_is_concluded_from_words_that_were_under_way_for_long() {
    let mut alone = Alone::new(group(1..=3));
    let (old, new) = (start(2, at(1, 1), 1), start(3, at(1, 2), 1));
    let first = alone.nonce(2, 7, old);
    assert_eq!(alone.meet(2, 8, new), known(3));
    // The answer of the earlier start comes late: its nonce is void, and nobody can echo the new one.
    let said = alone.introduce(2, 7, old, Some(first));
    let [Words::Challenge { start: 7, nonce }] = said[..] else { panic!("{said:?}") };
    assert_ne!(nonce, first);
    assert_eq!(alone.witness.standing(&node(2), 8), Standing::Known);
    assert_eq!(alone.introduce(2, 8, new, None), [known(3)]);
}

#[test]
fn a_message_of_a_stranger_brings_one_question_a_period() {
    let mut alone = Alone::new(group(1..=3));
    let dropped = Event::Dropped { from: node(2), incarnation: 7 };
    alone.give(dropped.clone());
    let [Words::Challenge { start: 7, nonce }] = alone.said()[..] else { panic!("it is asked") };
    alone.give(dropped.clone());
    assert_eq!(alone.said().len(), 1);
    alone.millis = 50;
    alone.give(dropped);
    assert_eq!(alone.said(), [Words::Challenge { start: 7, nonce }; 2], "with one nonce");
    assert_eq!(alone.introduce(2, 7, start(2, at(1, 1), 1), Some(nonce)), []);
    assert_eq!(alone.persist(), [known(2)]);
}

#[test]
fn it_introduces_itself_until_all_know_it() {
    let mut alone = Alone::new(group(1..=3));
    let to = |alone: &mut Alone| {
        alone.out.clear();
        alone.give(Event::Wake);
        let sent = alone.out.iter().filter_map(|effect| match effect {
            Effect::Send { to, words: Words::Introduction { nonce: None, .. } } => Some(*to),
            _ => None,
        });
        sent.collect::<Vec<_>>()
    };
    assert_eq!(to(&mut alone), [node(2), node(3)]);
    assert_eq!(to(&mut alone), []);
    let nonce = [8; 16];
    let echoed = alone.hear(2, 7, Words::Challenge { start: 4, nonce });
    assert_eq!(echoed, [Words::Introduction { start: start(9, at(2, 5), 3), nonce: Some(nonce) }]);
    assert_eq!(alone.hear(2, 7, Words::Challenge { start: 3, nonce }), [], "that is for an earlier start");
    alone.hear(2, 7, known(9));
    alone.hear(3, 7, known(1));
    alone.millis = 50;
    assert_eq!(to(&mut alone), [node(3)]);
    alone.hear(3, 7, known(9));
    assert_eq!(alone.witness.deadline(), None);
    alone.millis = 100;
    alone.out.clear();
    alone.give(Event::Members(group(1..=4)));
    assert!(alone.out.iter().any(|effect| matches!(effect, Effect::Send { to, .. } if *to == node(4))));
    assert_eq!(Alone::new(group(1..=1)).witness.deadline(), None, "who is alone needs none of it");
}

#[test]
fn it_stops_only_by_its_own_random_bytes() {
    let mut alone = Alone::new(group(1..=3));
    let because = Because::EarlierStart { known: 6 };
    alone.hear(2, 7, Words::RolledBack { random: [1; 16], because });
    let rejected = Effect::Note(Note::Rejected { from: node(2), reason: Reason::OtherStart });
    assert!(alone.out.contains(&rejected));
    assert!(!alone.witness.is_refused());
    alone.hear(2, 7, Words::RolledBack { random: [9; 16], because });
    assert!(alone.witness.is_refused());
}

/// A service manager starts it again, each time under a larger number.
#[test]
fn what_it_is_told_of_itself_is_durable_before_it_stops() {
    let mut alone = Alone::new(group(1..=3));
    let because = Because::ShorterLog { acknowledged: at(3, 9) };
    let verdict = Verdict { by: node(2), because };
    let stops = |alone: &Alone| alone.out.contains(&Effect::RolledBack(verdict));
    let this = start(3, at(1, 1), 1);
    let nonce = alone.nonce(3, 7, this);
    alone.introduce(3, 7, this, Some(nonce));
    assert!(alone.asks_disk(), "somebody else is being remembered");
    alone.hear(2, 7, Words::RolledBack { random: [9; 16], because });
    alone.hear(3, 7, Words::RolledBack { random: [9; 16], because: Because::EarlierStart { known: 6 } });
    for _ in 0..8 {
        assert!(!stops(&alone));
        alone.give(Event::DiskDone(Ok(DiskReply::Done)));
    }
    assert!(stops(&alone));
    let mut written = alone.out.iter().filter_map(|effect| match effect {
        Effect::Disk(DiskRequest::Append { parts, .. }) => Memory::decode(&[1; 16], &parts[0]),
        Effect::Disk(_) | Effect::RolledBack(_) | Effect::Send { .. } | Effect::Note(_) => None,
    });
    assert_eq!(written.next_back().unwrap().verdict, Some(verdict), "what it heard first");
}

#[test]
fn it_stops_also_when_that_cannot_be_written() {
    let mut alone = Alone::new(group(1..=3));
    let because = Because::EarlierTerm { told: 6 };
    alone.hear(2, 7, Words::RolledBack { random: [9; 16], because });
    alone.give(Event::DiskDone(Err(DiskError::Full)));
    assert!(alone.out.contains(&Effect::RolledBack(Verdict { by: node(2), because })));
}

#[test]
fn a_write_that_fails_is_tried_again_when_somebody_asks() {
    let mut alone = Alone::new(group(1..=3));
    let this = start(2, at(1, 1), 1);
    let nonce = alone.nonce(2, 7, this);
    alone.introduce(2, 7, this, Some(nonce));
    alone.give(Event::DiskDone(Err(DiskError::Full)));
    assert!(alone.out.contains(&Effect::Note(Note::NotRemembered(DiskError::Full))));
    assert_eq!(alone.witness.standing(&node(2), 7), Standing::Unknown);
    let nonce = alone.nonce(2, 7, this);
    alone.introduce(2, 7, this, Some(nonce));
    assert!(alone.out.contains(&Effect::Disk(DiskRequest::Remove { file: File::Stage(STAGE) })));
    alone.give(Event::DiskDone(Ok(DiskReply::Done)));
    assert_eq!(alone.persist(), [known(2)]);
}

#[test]
fn absurd_starts_and_its_own_words_are_refused() {
    let mut alone = Alone::new(group(1..=3));
    for (from, incarnation) in [(2, 0), (2, INCARNATION_MAX + 1), (1, 4)] {
        assert_eq!(alone.introduce(from, incarnation, start(2, at(1, 1), 1), None), []);
        let reason = Reason::AbsurdStart;
        assert!(alone.out.contains(&Effect::Note(Note::Rejected { from: node(from), reason })));
    }
}

#[test]
fn what_is_remembered_is_bounded_and_members_stay() {
    let mut alone = Alone::new(group(1..=3));
    for stranger in 10..10 + u8::try_from(WITNESSED_MAX).unwrap() {
        alone.meet(stranger, 1, start(stranger, at(1, 1), 1));
    }
    alone.meet(2, 1, start(2, at(1, 1), 1));
    alone.meet(3, 1, start(3, at(1, 1), 1));
    assert_eq!(alone.witness.memory.nodes.len(), WITNESSED_MAX);
    assert!([2, 3].iter().all(|member| alone.witness.standing(&node(*member), 1) == Standing::Known));
}
