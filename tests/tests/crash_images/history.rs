//! What the clients of a store know, in the order in which they came to know it, and what a crash may make of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps::disk::Recorder;
use dps_core::id::FileId;

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) file: FileId,
    pub(crate) version: u64,
}

/// What every name means.
pub(crate) type Listing = BTreeMap<String, Meaning>;

/// Something that a client does or learns.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A put or a removal of a name begins: from here on it may have happened.
    Began {
        /// The name. It has no other operation on its way.
        name: String,
        /// The content it is to mean; `None` for a removal.
        becomes: Option<FileId>,
    },
    /// The operation on its way was acknowledged: from here on it has happened.
    Acknowledged { name: String, now: Option<Meaning> },
    /// A start has listed all names: whatever was on its way is decided for ever.
    Opened(Listing),
}

/// The clients' journal. Each line is a mark in the recorder's log, so that a place in that log is a place here.
#[derive(Debug)]
pub(crate) struct Journal {
    happenings: Mutex<Vec<Happening>>,
    recorder: Arc<Recorder>,
}

impl Journal {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { happenings: Mutex::default(), recorder }
    }

    /// Writes a line, and its number into the log.
    pub(crate) fn note(&self, happening: Happening) {
        let mut happenings = self.lines();
        self.recorder.mark(happenings.len() as u64);
        happenings.push(happening);
    }

    /// All lines; the mark `n` in the log is line `n`.
    pub(crate) fn happenings(&self) -> Vec<Happening> {
        self.lines().clone()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Happening>> {
        self.happenings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is promised of one name.
#[derive(Clone, Debug, Default)]
struct Promise {
    /// What it means if nothing that is on its way has happened.
    settled: Option<Meaning>,
    /// What it means if it has.
    on_its_way: Option<Option<FileId>>,
}

/// What is promised at a place in the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectation(BTreeMap<String, Promise>);

impl Expectation {
    /// Goes on over one line of the journal.
    pub(crate) fn learn(&mut self, happening: &Happening) {
        match happening {
            Happening::Began { name, becomes } => {
                let before = self.0.entry(name.clone()).or_default().on_its_way.replace(*becomes);
                assert!(before.is_none(), "{name} has one operation on its way at a time");
            }
            Happening::Acknowledged { name, now } => {
                let promise = self.0.entry(name.clone()).or_default();
                assert!(promise.on_its_way.is_some(), "only what began is acknowledged");
                *promise = Promise { settled: *now, on_its_way: None };
            }
            Happening::Opened(names) => {
                let complaints = self.judge(names);
                assert!(complaints.is_empty(), "a start of the busy run itself lost something: {complaints:?}");
                let settled = |meaning: &Meaning| Promise { settled: Some(*meaning), on_its_way: None };
                self.0 = names.iter().map(|(name, meaning)| (name.clone(), settled(meaning))).collect();
            }
        }
    }

    /// Names that must be there.
    pub(crate) fn settled(&self) -> usize {
        self.0.values().filter(|promise| promise.settled.is_some()).count()
    }

    /// Operations that may or may not have happened.
    pub(crate) fn on_their_way(&self) -> usize {
        self.0.values().filter(|promise| promise.on_its_way.is_some()).count()
    }

    /// Every way in which a listing breaks what is promised.
    pub(crate) fn judge(&self, listing: &Listing) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, promise) in &self.0 {
            let found = listing.get(name);
            let is_old = found.copied() == promise.settled;
            let is_new = promise.on_its_way.is_some_and(|new| new == found.map(|meaning| meaning.file));
            if !is_old && !is_new {
                complaints.push(format!("{name} means {found:?}, but should be {promise:?}"));
            }
        }
        let strangers = listing.keys().filter(|name| !self.0.contains_key(*name));
        complaints.extend(strangers.map(|name| format!("{name} is listed, but nobody stored it")));
        complaints
    }
}

#[test]
fn each_broken_promise_is_noticed() {
    let [old, new, other] = [1, 2, 3].map(|byte| FileId::from_bytes([byte; 32]));
    let meaning = |file, version| Meaning { file, version };
    let listing = |entries: &[(&str, Meaning)]| entries.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect();
    let began = |becomes| Happening::Began { name: "a".to_owned(), becomes };
    let acknowledged = |now| Happening::Acknowledged { name: "a".to_owned(), now };
    let stored = vec![began(Some(old)), acknowledged(Some(meaning(old, 1)))];
    let replacing = [stored.clone(), vec![began(Some(new))]].concat();
    let removing = [stored.clone(), vec![began(None)]].concat();
    let removed = [removing.clone(), vec![acknowledged(None)]].concat();
    let opened = [replacing.clone(), vec![Happening::Opened(listing(&[("a", meaning(new, 2))]))]].concat();
    for (happenings, found, good) in [
        (&vec![], listing(&[]), true),
        (&vec![], listing(&[("a", meaning(old, 1))]), false),
        (&vec![began(Some(old))], listing(&[]), true),
        (&vec![began(Some(old))], listing(&[("a", meaning(old, 1))]), true),
        (&vec![began(Some(old))], listing(&[("a", meaning(other, 1))]), false),
        (&stored, listing(&[("a", meaning(old, 1))]), true),
        (&stored, listing(&[("a", meaning(old, 2))]), false),
        (&stored, listing(&[]), false),
        (&stored, listing(&[("a", meaning(old, 1)), ("b", meaning(old, 1))]), false),
        (&replacing, listing(&[("a", meaning(old, 1))]), true),
        (&replacing, listing(&[("a", meaning(new, 2))]), true),
        (&replacing, listing(&[]), false),
        (&removing, listing(&[]), true),
        (&removing, listing(&[("a", meaning(old, 1))]), true),
        (&removed, listing(&[("a", meaning(old, 1))]), false),
        (&removed, listing(&[]), true),
        (&opened, listing(&[("a", meaning(new, 2))]), true),
        (&opened, listing(&[("a", meaning(old, 1))]), false),
    ] {
        let mut expectation = Expectation::default();
        happenings.iter().for_each(|happening| expectation.learn(happening));
        assert_eq!(expectation.judge(&found).is_empty(), good, "{happenings:?} {found:?}");
    }
}
