//! The reserve against a disk of bounded size, and what it does about one that is nearly full.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::config::RawConfig;
use crate::time::WallTime;

/// Small enough that every bound is met: at most 1,000 + 2 x 300 bytes are set aside.
const SMALL: RawConfig = RawConfig {
    block_bytes_min: 16,
    block_bytes_max: 64,
    inline_bytes_max: 8,
    volume_bytes: 1_000,
    segment_bytes: 300,
    ingest_bytes_max: 128,
    ..RawConfig::STANDARD
};

/// A file system that has other files, too.
#[derive(Clone, Debug)]
struct Disk {
    total: u64,
    others: u64,
    store: u64,
    reserve: Option<u64>,
    /// Refuses to set anything aside.
    refuses: Option<DiskError>,
}

impl Disk {
    fn new(total: u64) -> Self {
        Self { total, others: 0, store: 0, reserve: None, refuses: None }
    }

    fn available(&self) -> u64 {
        self.total.saturating_sub(self.others + self.store + self.reserve.unwrap_or(0))
    }

    fn perform(&mut self, request: &DiskRequest) -> DiskResult {
        match request {
            DiskRequest::Space => Ok(DiskReply::Space { total: self.total, available: self.available() }),
            DiskRequest::Remove { file: File::Reserve } => {
                self.reserve = None;
                Ok(DiskReply::Done)
            }
            DiskRequest::Allocate { file: File::Reserve, bytes } => {
                let more = bytes.saturating_sub(self.reserve.unwrap_or(0));
                let error = self.refuses.or((more > self.available()).then_some(DiskError::Full));
                self.reserve = if error.is_some() { None } else { self.reserve.max(Some(*bytes)) };
                error.map_or(Ok(DiskReply::Done), Err)
            }
            other => panic!("{other:?} is not about the reserve"),
        }
    }
}

/// A reserve and its disk, which does at once what it is asked.
#[derive(Debug)]
struct Bench {
    reserve: Reserve,
    disk: Disk,
    footprint: Footprint,
    nanos: u64,
    questions: usize,
    tight: bool,
    notes: Vec<Note>,
}

impl Bench {
    fn new(raw: RawConfig, disk: Disk) -> Self {
        let reserve = Reserve::new(&Config::new(raw).unwrap(), disk.reserve, true);
        let mut bench = Self {
            reserve,
            disk,
            footprint: Footprint::default(),
            nanos: 0,
            questions: 0,
            tight: false,
            notes: vec![],
        };
        assert_eq!(bench.turn(Event::Wake), []);
        assert_eq!(bench.questions, 1, "the space is asked for at the start");
        bench
    }

    fn pass(&mut self, span: Duration) {
        self.nanos += u64::try_from(span.as_nanos()).unwrap();
    }

    /// An event, and all that its disk requests bring. Answers to whoever waits come back.
    fn turn(&mut self, event: Event) -> Vec<Effect> {
        let mut answers = Vec::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.nanos += 1;
            let now = Now { mono: Instant::from_nanos(self.nanos), wall: WallTime::default() };
            let mut effects = Vec::new();
            self.reserve.step(now, event, &mut effects);
            self.reserve.flush(now, &mut effects);
            let count = effects.len();
            self.reserve.flush(now, &mut effects);
            assert_eq!(effects.len(), count, "a second flush emits nothing");
            self.reserve.check();
            assert_eq!(self.reserve.deadline(), None, "there are no timers");
            for effect in effects {
                match effect {
                    Effect::Disk(request) => {
                        self.questions += usize::from(request == DiskRequest::Space);
                        let result = self.disk.perform(&request);
                        events.push(Event::DiskDone { result, footprint: self.footprint });
                    }
                    Effect::Note(note) => self.notes.push(note),
                    Effect::Tight(tight) => self.tight = tight,
                    answer @ (Effect::Admitted { .. } | Effect::Refused { .. } | Effect::Ready { .. }) => {
                        answers.push(answer);
                    }
                }
            }
        }
        assert!(!self.reserve.is_busy(), "all of it is done");
        answers
    }

    /// Whether a put may go on with a block of so many bytes.
    fn admits(&mut self, bytes: u64) -> bool {
        let id = RequestId(7);
        match self.turn(Event::Admit { id, bytes, coming: 0 })[..] {
            [Effect::Admitted { id: RequestId(7), bytes: admitted }] if admitted == bytes => true,
            [Effect::Refused { id: RequestId(7), bytes: refused }] if refused == bytes => false,
            ref other => panic!("one answer, and not {other:?}"),
        }
    }

    fn room(&mut self, purpose: Purpose) {
        let id = RequestId(8);
        assert_eq!(self.turn(Event::Room { id, purpose }), [Effect::Ready { id }]);
    }

    /// Appends, as far as there is space, and says so.
    fn append(&mut self, bytes: u64) -> bool {
        let fits = bytes <= self.disk.available();
        self.disk.store += bytes.min(self.disk.available());
        self.footprint.fullest_bytes = self.disk.store.min(1_000);
        self.turn(Event::Grew { bytes });
        fits
    }
}

/// What a collection of `SMALL` may need, as the module says.
fn need_of(Footprint { fullest_bytes, chunks, volumes, .. }: Footprint, grown: u64) -> u64 {
    let copies = fullest_bytes + grown;
    let drops = 32 * chunks + 96 * (chunks / 1_024 + volumes);
    (copies + copies.min(128) + drops + 3 * (56 + 24 * volumes) + 300).min(1_600)
}

#[test]
fn a_small_store_has_a_small_reserve_that_grows_and_shrinks_with_it() {
    let mut bench = Bench::new(SMALL, Disk::new(1 << 20));
    assert_eq!(bench.disk.reserve, None, "a start alone is no reason to write");
    assert!(bench.admits(0));
    let small = bench.disk.reserve.expect("it is made when a put is opened");
    assert!((468..=702).contains(&small), "{small}");
    for step in 1..=20 {
        bench.append(100);
        assert!(bench.admits(0), "step {step}");
        let held = bench.disk.reserve.unwrap();
        assert_eq!(held, bench.reserve.bytes());
        assert!(need_of(bench.footprint, 0) <= held && held <= 1_600, "step {step}: {held}");
    }
    assert_eq!(bench.disk.reserve, Some(1_600), "never more than one volume and two segments");
    let grown = bench.notes.iter().filter(|note| matches!(note, Note::ReserveMade { .. })).count();
    assert!(grown < 6, "it does not grow with every put, but did {grown} times");
    // The store is emptied.
    (bench.disk.store, bench.footprint) = (0, Footprint::default());
    bench.room(Purpose::Collection);
    bench.turn(Event::Collected);
    assert_eq!(bench.disk.reserve, Some(702), "need and half of it");
    assert!(!bench.notes.iter().any(|note| matches!(note, Note::ReserveFailed(_))));
}

#[test]
fn drops_and_catalogs_are_counted() {
    let mut bench = Bench::new(RawConfig { volume_bytes: 1 << 20, ..SMALL }, Disk::new(1 << 30));
    bench.footprint = Footprint { fullest_bytes: 5_000, chunks: 4_000, volumes: 9, preamble_bytes: 0 };
    bench.turn(Event::Collected);
    let need = need_of_large(5_000, 4_000, 9);
    assert_eq!(bench.disk.reserve, Some(need + need / 2));
}

fn need_of_large(fullest: u64, chunks: u64, volumes: u64) -> u64 {
    fullest + 128 + 32 * chunks + 96 * (chunks / 1_024 + volumes) + 3 * (56 + 24 * volumes) + 300
}

#[test]
fn a_put_is_refused_while_a_reserve_is_still_there() {
    let mut bench = Bench::new(SMALL, Disk::new(6_400));
    let mut stored = 0;
    while bench.admits(64) {
        assert!(bench.append(64), "what was admitted fits");
        stored += 64;
    }
    let need = need_of(bench.footprint, 0);
    assert!(stored > 3_000, "much of the disk is used: {stored}");
    assert!(bench.disk.available() >= 300, "the watermark is left");
    assert!(bench.disk.reserve.unwrap() >= need, "and the reserve");
    bench.pass(ANSWER_AGE_MAX * 2);
    bench.room(Purpose::Change);
    assert!(!bench.admits(64) && bench.tight, "nothing is compacted that nobody asked for");
    // Somebody else takes the rest.
    bench.disk.others += bench.disk.available();
    bench.room(Purpose::Collection);
    assert_eq!(bench.disk.reserve, None, "whoever makes room gets it");
    assert!(bench.disk.available() >= need && !bench.tight);
    // While the collection runs nothing is set aside, and no put comes between.
    assert!(!bench.admits(64));
    assert_eq!(bench.disk.reserve, None);
    (bench.disk.store, bench.footprint) =
        (1_000, Footprint { fullest_bytes: 900, chunks: 2, volumes: 1, preamble_bytes: 0 });
    bench.turn(Event::Collected);
    assert!(bench.disk.reserve.is_some(), "afterwards it is made again");
    assert!(bench.admits(64));
}

#[test]
fn a_change_leaves_the_reserve_where_it_is_unless_the_disk_is_full() {
    let mut bench = Bench::new(SMALL, Disk::new(1 << 20));
    assert!(bench.admits(0));
    bench.room(Purpose::Change);
    bench.room(Purpose::Question);
    assert!(bench.disk.reserve.is_some());
    bench.pass(ANSWER_AGE_MAX);
    bench.disk.others = bench.disk.available();
    bench.room(Purpose::Question);
    assert!(bench.disk.reserve.is_some());
    assert_eq!(bench.reserve.available(), Some(0));
    let before = bench.disk.reserve.unwrap();
    bench.room(Purpose::Change);
    assert_eq!(bench.disk.reserve, Some(before - 300), "it is made again at once, without what a change needs");
    bench.room(Purpose::Change);
    assert_eq!(bench.notes.iter().filter(|note| matches!(note, Note::ReserveReleased { .. })).count(), 1);
}

#[test]
fn a_start_that_took_the_reserve_makes_it_again_from_what_is_left() {
    for (left, expected) in [(0, None), (300, None), (400, Some(100)), (768, Some(468)), (5_000, Some(702))] {
        let mut bench = Bench::new(SMALL, Disk::new(20_000));
        bench.disk.others = 20_000 - left;
        bench.reserve = Reserve::new(&Config::new(SMALL).unwrap(), None, true).taken();
        bench.turn(Event::Wake);
        assert_eq!(bench.disk.reserve, expected, "{left} left");
    }
}

#[test]
fn a_reserve_that_others_are_too_fast_for_is_made_from_the_rest() {
    let mut bench = Bench::new(SMALL, Disk::new(20_000));
    // What was answered is no longer true when space is set aside.
    bench.disk.others = 19_400;
    assert!(bench.admits(0));
    assert_eq!(bench.disk.reserve, Some(300));
    assert_eq!(bench.notes, [Note::ReserveFailed(DiskError::Full), Note::ReserveMade { bytes: 300 }]);
}

#[test]
fn the_disk_is_asked_again_only_when_the_answer_is_old_or_says_no() {
    let mut bench = Bench::new(SMALL, Disk::new(1 << 20));
    for _ in 0..10 {
        assert!(bench.admits(64));
        bench.room(Purpose::Change);
    }
    assert_eq!(bench.questions, 1);
    bench.pass(ANSWER_AGE_MAX);
    bench.disk.others = 1 << 20;
    assert!(!bench.admits(64), "others have filled it meanwhile");
    assert!(!bench.admits(64));
    assert_eq!(bench.questions, 3, "nobody is refused without a question");
    bench.disk.others = 0;
    assert!(bench.admits(64));
    let asked = bench.questions;
    bench.append(249);
    assert_eq!(bench.questions, asked);
    bench.append(1);
    assert_eq!(bench.questions, asked + 1, "a quarter of a volume was appended");
}

#[test]
fn what_others_may_still_send_counts() {
    let mut bench = Bench::new(SMALL, Disk::new(6_400));
    assert!(bench.admits(0));
    let spare = bench.disk.available() - 300;
    let id = RequestId(1);
    let admit = |coming| Event::Admit { id, bytes: 64, coming };
    assert_eq!(
        bench.turn(admit(spare - 64)),
        [Effect::Refused { id, bytes: 64 }],
        "nothing is left for a larger reserve"
    );
    assert_eq!(bench.turn(admit(0)), [Effect::Admitted { id, bytes: 64 }]);
}

#[test]
fn a_file_system_that_sets_nothing_aside_or_counts_nothing_is_no_error() {
    let mut bench = Bench::new(SMALL, Disk { refuses: Some(DiskError::Io(95)), ..Disk::new(1 << 20) });
    for _ in 0..3 {
        assert!(bench.admits(64));
        bench.pass(ANSWER_AGE_MAX * 2);
    }
    bench.turn(Event::Collected);
    assert_eq!(bench.notes, [Note::ReserveFailed(DiskError::Io(95))], "told once");
    // Without a reserve its bytes must be free.
    bench.pass(ANSWER_AGE_MAX * 2);
    bench.disk.others = (1 << 20) - 128 - 250 - need_of(Footprint::default(), 64) - 64;
    assert!(bench.admits(64));
    bench.disk.others += 1;
    bench.pass(ANSWER_AGE_MAX * 2);
    assert!(!bench.admits(64));

    let mut bench = Bench::new(SMALL, Disk::new(0));
    assert!(bench.admits(64), "nothing is known, and the disk says itself when it is full");
    assert_eq!((bench.disk.reserve, bench.reserve.available()), (None, None));
}

#[test]
fn a_reserve_of_any_length_that_a_start_finds_is_harmless() {
    for found in [0, 1, 500, 1_600, 1_601, 1 << 19] {
        let mut bench = Bench::new(SMALL, Disk { reserve: Some(found), ..Disk::new(1 << 20) });
        assert_eq!(bench.disk.reserve, Some(found), "a start alone is no reason to write");
        assert!(bench.admits(0));
        let held = bench.disk.reserve.unwrap();
        assert!((468..=1_404).contains(&held), "{found} became {held}");
    }
    // Somebody has removed it.
    let mut bench = Bench::new(SMALL, Disk { reserve: Some(700), ..Disk::new(1 << 20) });
    bench.disk.reserve = None;
    bench.disk.others = 1 << 20;
    bench.pass(ANSWER_AGE_MAX * 2);
    bench.room(Purpose::Collection);
    bench.disk.others = 0;
    bench.turn(Event::Collected);
    assert_eq!(bench.disk.reserve, Some(702));
}

#[test]
fn a_store_that_only_reads_writes_nothing() {
    let config = Config::new(SMALL).unwrap();
    let mut bench = Bench::new(SMALL, Disk { reserve: Some(9_000), ..Disk::new(1 << 20) });
    bench.reserve = Reserve::new(&config, Some(9_000), false);
    bench.room(Purpose::Question);
    bench.room(Purpose::Collection);
    bench.turn(Event::Collected);
    bench.admits(0);
    bench.disk.others = 1 << 20;
    bench.pass(ANSWER_AGE_MAX * 2);
    bench.room(Purpose::Change);
    assert_eq!((bench.disk.reserve, bench.reserve.bytes()), (Some(9_000), 9_000));
    assert_eq!(bench.notes, []);
}

#[test]
fn who_is_forgotten_or_meets_a_close_has_its_answer() {
    let config = Config::new(SMALL).unwrap();
    let mut reserve = Reserve::new(&config, None, true);
    let now = Now::default();
    let (first, second, third) = (RequestId(1), RequestId(2), RequestId(3));
    let mut out = Vec::new();
    for (id, bytes) in [(first, 0), (second, 5), (first, 6)] {
        reserve.step(now, Event::Admit { id, bytes, coming: 0 }, &mut out);
    }
    reserve.step(now, Event::Room { id: third, purpose: Purpose::Change }, &mut out);
    assert_eq!(out, [], "nothing is known yet");
    reserve.step(now, Event::Forget { id: first }, &mut out);
    assert_eq!(out, [Effect::Refused { id: first, bytes: 0 }, Effect::Refused { id: first, bytes: 6 }]);
    out.clear();
    reserve.step(now, Event::Close, &mut out);
    assert_eq!(out, [Effect::Admitted { id: second, bytes: 5 }, Effect::Ready { id: third }]);
    out.clear();
    reserve.flush(now, &mut out);
    reserve.step(now, Event::Room { id: third, purpose: Purpose::Question }, &mut out);
    reserve.flush(now, &mut out);
    assert_eq!(out, [Effect::Ready { id: third }], "nothing is asked of the disk any more");
}

/// What happens to a store, and around it.
#[derive(Clone, Debug)]
enum Deed {
    /// A put goes on with a block.
    Block(u64),
    Others(u64),
    OthersGo(u64),
    Change,
    /// A collection after which so many parts of a hundred are left.
    Collect(u64),
    Pass(u64),
    Restart,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => (1..65u64).prop_map(Deed::Block),
        2 => (0..2_000u64).prop_map(Deed::Others),
        2 => (0..2_000u64).prop_map(Deed::OthersGo),
        1 => Just(Deed::Change),
        2 => (0..101u64).prop_map(Deed::Collect),
        2 => (0..200u64).prop_map(Deed::Pass),
        1 => Just(Deed::Restart),
    ]
}

impl Bench {
    /// Does a deed; says when a promise is broken.
    fn perform(&mut self, deed: &Deed, full: bool) -> Result<(), TestCaseError> {
        match deed {
            Deed::Block(bytes) => {
                self.pass(ANSWER_AGE_MAX * 2);
                let before = self.clone_disk();
                if self.admits(*bytes) {
                    let (watermark, left) = ((before.total / 32).clamp(300, 128 + 250), before.available());
                    prop_assert!(left >= watermark + bytes, "{left} were left");
                    let need = need_of(self.footprint, *bytes);
                    let held = before.reserve.unwrap_or(0);
                    prop_assert!(left + held - bytes >= need + watermark, "a collection finds its space");
                    prop_assert!(self.append(*bytes), "what was admitted fits");
                } else {
                    prop_assert!(full, "nobody is refused on a disk that others leave alone and that is large");
                }
            }
            Deed::Others(bytes) => self.disk.others += (*bytes).min(self.disk.available()),
            Deed::OthersGo(bytes) => self.disk.others = self.disk.others.saturating_sub(*bytes),
            Deed::Change => {
                self.pass(ANSWER_AGE_MAX * 2);
                self.room(Purpose::Change);
                prop_assert!(self.disk.available() >= 300 || self.disk.reserve.is_none());
            }
            Deed::Collect(part) => {
                self.pass(ANSWER_AGE_MAX * 2);
                self.room(Purpose::Collection);
                let enough = self.disk.available() >= need_of(self.footprint, 0);
                prop_assert!(enough || self.disk.reserve.is_none(), "whoever makes room gets the reserve");
                self.disk.store = self.disk.store * part / 100;
                self.footprint.fullest_bytes = self.disk.store.min(1_000);
                self.turn(Event::Collected);
                let held = self.disk.reserve.unwrap_or(0);
                prop_assert!(held <= 3 * need_of(self.footprint, 0), "it shrinks with the store: {held}");
            }
            Deed::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Deed::Restart => self.reserve = Reserve::new(&Config::new(SMALL).unwrap(), self.disk.reserve, true),
        }
        Ok(())
    }

    fn clone_disk(&self) -> Disk {
        self.disk.clone()
    }
}

proptest! {
    /// What a put may take is never what a collection needs, whatever others do between.
    #[test]
    fn a_put_never_takes_the_space_of_a_collection(
        deeds in proptest::collection::vec(any_deed(), 1..80),
        total in 500..20_000u64,
    ) {
        let mut bench = Bench::new(SMALL, Disk::new(total));
        for deed in &deeds {
            bench.perform(deed, true)?;
            prop_assert!(bench.disk.reserve.unwrap_or(0) <= 1_600);
            prop_assert_eq!(bench.disk.reserve.unwrap_or(0), bench.reserve.bytes());
        }
        let mut bench = Bench::new(SMALL, Disk::new(1 << 30));
        for deed in &deeds {
            bench.perform(deed, false)?;
        }
    }
}
