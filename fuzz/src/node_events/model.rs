//! What clients may rely on: what each name may mean, given what was asked for and what was answered.
//!
//! A write (a put or a delete) may have taken place from the moment its commit was sent. One that was acknowledged is
//! overwritten by every acknowledged one that began later; two that overlapped may have come in either order. One whose
//! outcome nobody was told may have taken place or not, until the next start at the latest.

use std::collections::BTreeMap;

use dps_core::id::FileId;
use dps_core::ledger::name::Name;

/// A moment, counted in events of the model.
type Moment = u64;

/// Names one write.
pub(crate) type WriteId = u64;

#[derive(Clone, Copy, Debug)]
struct Write {
    id: WriteId,
    /// `None` for a delete.
    meaning: Option<FileId>,
    begun: Moment,
    /// When it was acknowledged.
    acknowledged: Option<Moment>,
    /// When it had taken place if it ever does.
    over: Option<Moment>,
}

/// All names.
#[derive(Debug, Default)]
pub(crate) struct Model {
    now: Moment,
    next: WriteId,
    names: BTreeMap<Name, Vec<Write>>,
    /// The content of each file that was ever committed.
    contents: BTreeMap<FileId, Vec<u8>>,
}

impl Model {
    /// Every name that was ever written to.
    pub(crate) fn names(&self) -> Vec<Name> {
        self.names.keys().cloned().collect()
    }

    /// Every file that was ever committed.
    pub(crate) fn files(&self) -> Vec<FileId> {
        self.contents.keys().copied().collect()
    }

    /// Remembers a content under the file that it was said to be.
    pub(crate) fn know(&mut self, file: FileId, content: Vec<u8>) {
        let known = self.contents.entry(file).or_insert_with(|| content.clone());
        assert_eq!(*known, content, "a file is one content");
    }

    /// The content of a file.
    pub(crate) fn content(&self, file: &FileId) -> &Vec<u8> {
        self.contents.get(file).expect("only files that were put exist")
    }

    /// A write was sent.
    pub(crate) fn begin(&mut self, name: &Name, meaning: Option<FileId>) -> WriteId {
        self.now += 1;
        self.next += 1;
        let (id, begun) = (self.next, self.now);
        let first = Write { id: 0, meaning: None, begun: 0, acknowledged: Some(0), over: Some(0) };
        let writes = self.names.entry(name.clone()).or_insert_with(|| [first].into());
        writes.push(Write { id, meaning, begun, acknowledged: None, over: None });
        id
    }

    /// It has taken place.
    pub(crate) fn acknowledge(&mut self, name: &Name, id: WriteId) {
        self.now += 1;
        let now = self.now;
        let writes = self.names.get_mut(name).expect("a write that was begun");
        let write = writes.iter_mut().find(|write| write.id == id).expect("a write that was begun");
        write.acknowledged = Some(now);
        write.over = Some(now);
        let newest = writes.iter().filter(|write| write.acknowledged.is_some()).map(|write| write.begun).max();
        let newest = newest.expect("one was just acknowledged");
        writes.retain(|write| write.over.is_none_or(|over| over > newest));
    }

    /// It has not, and never will.
    pub(crate) fn refuse(&mut self, name: &Name, id: WriteId) {
        self.names.get_mut(name).expect("a write that was begun").retain(|write| write.id != id);
    }

    /// A start: what was not answered by now is decided.
    pub(crate) fn restart(&mut self) {
        self.now += 1;
        let now = self.now;
        for write in self.names.values_mut().flatten() {
            write.over.get_or_insert(now);
        }
    }

    /// Whether the name may mean this now; `None` for nothing.
    pub(crate) fn may_mean(&self, name: &Name, meaning: Option<FileId>) -> bool {
        match self.names.get(name) {
            Some(writes) => writes.iter().any(|write| write.meaning == meaning),
            None => meaning.is_none(),
        }
    }
}
