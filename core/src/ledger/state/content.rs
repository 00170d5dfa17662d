//! Contents: what holds them, and what they weigh.

use alloc::boxed::Box;

use super::value::{NAMESPACE_CONTENTS, Value, content_key};
use super::{Counts, State};
use crate::id::FileId;
use crate::keystore::manifest::Manifest;
use crate::ledger::tree::Scan;

/// A content that a name means or a tombstone keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// What it is made of: the manifest of the last put that named it.
    pub manifest: Manifest,
    /// How many names mean it.
    ///
    /// Invariant: this and `tombstones` are not both 0: a content goes with the last that holds it.
    pub names: u64,
    /// How many tombstones keep it.
    pub tombstones: u64,
    /// The clean floor under which it was last put: index of the newest clean before that, 0 if there was none. Below
    /// the floor of now the content is missing.
    pub floor: u64,
}

/// What the state counts of a content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    named: u64,
    live_bytes: u128,
    tombstone_bytes: u128,
}

impl Content {
    /// What it counts for where the clean floor is `floor`.
    fn weight(&self, floor: u64) -> Weight {
        let bytes = if self.is_missing(floor) { 0 } else { u128::from(self.manifest.size) };
        match (self.names, self.tombstones) {
            (0, 0) => Weight::default(),
            (0, _) => Weight { named: 0, live_bytes: 0, tombstone_bytes: bytes },
            (_, _) => Weight { named: 1, live_bytes: bytes, tombstone_bytes: 0 },
        }
    }

    /// Counts it into `counts`.
    pub(super) fn count(&self, floor: u64, counts: &mut Counts) {
        let weight = self.weight(floor);
        counts.contents += weight.named;
        counts.live_bytes += weight.live_bytes;
        counts.tombstone_bytes += weight.tombstone_bytes;
    }

    const fn is_missing(&self, floor: u64) -> bool {
        self.floor < floor
    }
}

impl State {
    /// The content `file`, if a name means it.
    #[must_use]
    pub fn content(&self, file: &FileId) -> Option<&Content> {
        self.held_content(file).filter(|content| content.names > 0)
    }

    /// The content `file`, whatever holds it.
    pub(super) fn held_content(&self, file: &FileId) -> Option<&Content> {
        self.tree.get(&content_key(file)).map(Value::as_content)
    }

    /// Whether a clean has given this content up, and no put has brought it back: its chunks may be gone.
    #[must_use]
    pub fn is_missing(&self, content: &Content) -> bool {
        content.is_missing(self.clean_floor())
    }

    /// The contents that a name means and that come after `after`, in the order of their identifiers. Can be resumed
    /// anywhere.
    #[must_use]
    pub fn contents(&self, after: Option<&FileId>) -> Contents<'_> {
        Contents { scan: self.tree.scan(&[NAMESPACE_CONTENTS], after.map(content_key).as_deref()) }
    }

    /// The contents that a sweep must keep and that come after `after`, in the order of their identifiers: those that a
    /// name means or a tombstone keeps, without those that are missing. Can be resumed anywhere.
    #[must_use]
    pub fn held(&self, after: Option<&FileId>) -> Held<'_> {
        let scan = self.tree.scan(&[NAMESPACE_CONTENTS], after.map(content_key).as_deref());
        Held { scan, floor: self.clean_floor() }
    }

    /// One name more means this content. Its manifest replaces the one that is known, and it is not missing any more:
    /// its chunks were just proven durable.
    pub(super) fn hold(&mut self, manifest: &Manifest) {
        let (key, floor) = (content_key(&manifest.file), self.clean_floor());
        let Some(content) = self.tree.get_mut(&key).map(Value::as_content_mut) else {
            let content = Content { manifest: manifest.clone(), names: 1, tombstones: 0, floor };
            content.count(floor, &mut self.counts);
            self.tree.insert(&key, Value::Content(Box::new(content)));
            return;
        };
        let before = content.weight(floor);
        content.manifest.clone_from(manifest);
        content.names += 1;
        content.floor = floor;
        let after = content.weight(floor);
        self.recount(before, after);
    }

    /// A name that meant this content leaves a tombstone that keeps it.
    pub(super) fn entomb(&mut self, file: &FileId) {
        self.change_content(file, |content| {
            content.names = content.names.checked_sub(1).expect("a content counts its names");
            content.tombstones += 1;
        });
    }

    /// A tombstone that kept this content turns into a name that means it.
    pub(super) fn exhume(&mut self, file: &FileId) {
        self.change_content(file, |content| {
            content.tombstones = content.tombstones.checked_sub(1).expect("a content counts its tombstones");
            content.names += 1;
        });
    }

    /// One name less means this content.
    pub(super) fn release_name(&mut self, file: &FileId) {
        self.change_content(file, |content| {
            content.names = content.names.checked_sub(1).expect("a content counts its names");
        });
    }

    /// One tombstone less keeps this content.
    pub(super) fn release_tombstone(&mut self, file: &FileId) {
        self.change_content(file, |content| {
            content.tombstones = content.tombstones.checked_sub(1).expect("a content counts its tombstones");
        });
    }

    /// Changes what holds a content and counts it anew. What nothing holds any more goes.
    fn change_content(&mut self, file: &FileId, change: impl FnOnce(&mut Content)) {
        let (key, floor) = (content_key(file), self.clean_floor());
        let content = self.tree.get_mut(&key).expect("what is held exists").as_content_mut();
        let before = content.weight(floor);
        change(content);
        let after = content.weight(floor);
        if content.names == 0 && content.tombstones == 0 {
            self.tree.remove(&key);
        }
        self.recount(before, after);
    }

    /// A content counts otherwise than before.
    const fn recount(&mut self, before: Weight, after: Weight) {
        let counts = &mut self.counts;
        counts.contents = counts.contents + after.named - before.named;
        counts.live_bytes = counts.live_bytes + after.live_bytes - before.live_bytes;
        counts.tombstone_bytes = counts.tombstone_bytes + after.tombstone_bytes - before.tombstone_bytes;
    }
}

/// Contents that a name means, in the order of their identifiers. See [`State::contents`].
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    scan: Scan<'a, Value>,
}

impl<'a> Iterator for Contents<'a> {
    type Item = (FileId, &'a Content);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let content = self.scan.advance()?.as_content();
            if content.names > 0 {
                return Some((file_of(self.scan.key()), content));
            }
        }
    }
}

/// Contents that a sweep must keep, in the order of their identifiers. See [`State::held`].
#[derive(Clone, Debug)]
pub struct Held<'a> {
    scan: Scan<'a, Value>,
    floor: u64,
}

impl<'a> Held<'a> {
    /// Goes one content further, and gives its manifest unless it is missing. A walk in slices counts those too, where
    /// the iterator passes over any number of them.
    pub fn advance(&mut self) -> Option<(FileId, Option<&'a Manifest>)> {
        let content = self.scan.advance()?.as_content();
        let manifest = (!content.is_missing(self.floor)).then_some(&content.manifest);
        Some((file_of(self.scan.key()), manifest))
    }
}

impl<'a> Iterator for Held<'a> {
    type Item = (FileId, &'a Manifest);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let (file, Some(manifest)) = self.advance()? {
                return Some((file, manifest));
            }
        }
    }
}

fn file_of(key: &[u8]) -> FileId {
    let file = key[1..].try_into().expect("only identifiers are in the namespace of contents");
    FileId::from_bytes(file)
}
