//! Which file has which content, now and after a crash.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::disk::File;
use dps_core::rng::Rng;

use super::medium::Survive;

/// A content, whatever it is called.
pub(super) type Inode = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Link { file: File, inode: Inode },
    Unlink { file: File },
    Rename { from: File, to: File, inode: Inode },
}

impl Change {
    fn apply(self, names: &mut BTreeMap<File, Inode>) {
        match self {
            Self::Link { file, inode } => {
                names.insert(file, inode);
            }
            Self::Unlink { file } => {
                names.remove(&file);
            }
            Self::Rename { from, to, inode } => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }

    fn folder(self) -> Folder {
        match self {
            Self::Link { file, .. } | Self::Unlink { file } | Self::Rename { to: file, .. } => Folder::of(file),
        }
    }

    fn names(self, wanted: File) -> bool {
        match self {
            Self::Link { file, .. } | Self::Unlink { file } => file == wanted,
            Self::Rename { from, to, .. } => from == wanted || to == wanted,
        }
    }
}

/// Files whose creation one directory sync may cover. The strictest reading: every kind of file has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folder {
    Slots,
    Journal,
    Volumes,
    Stages,
}

impl Folder {
    fn of(file: File) -> Self {
        match file {
            File::Slot(_) | File::Reserve => Self::Slots,
            File::Journal(_) | File::Snapshot(_) => Self::Journal,
            File::Volume(_) | File::Checkpoint(_) => Self::Volumes,
            File::Stage(_) => Self::Stages,
        }
    }
}

/// The names of a disk.
///
/// Invariant: `current` is `durable` with every change of `unsynced` applied in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    durable: BTreeMap<File, Inode>,
    current: BTreeMap<File, Inode>,
    unsynced: Vec<Change>,
}

impl Directory {
    pub(super) fn get(&self, file: File) -> Option<Inode> {
        self.current.get(&file).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (File, Inode)> + '_ {
        self.current.iter().map(|(file, inode)| (*file, *inode))
    }

    /// What a crash leaves at least.
    pub(super) fn durable(&self) -> impl Iterator<Item = (File, Inode)> + '_ {
        self.durable.iter().map(|(file, inode)| (*file, *inode))
    }

    /// Whether the file is there after any crash.
    pub(super) fn is_durable(&self, file: File) -> bool {
        self.durable.contains_key(&file)
            && self.durable.get(&file) == self.current.get(&file)
            && !self.unsynced.iter().any(|change| change.names(file))
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }

    pub(super) fn link(&mut self, file: File, inode: Inode) {
        assert!(!self.current.contains_key(&file), "a file is created once");
        self.change(Change::Link { file, inode });
    }

    pub(super) fn unlink(&mut self, file: File) {
        if self.current.contains_key(&file) {
            self.change(Change::Unlink { file });
        }
    }

    pub(super) fn rename(&mut self, from: File, to: File) {
        let inode = self.get(from).expect("what is renamed exists");
        self.change(Change::Rename { from, to, inode });
    }

    /// Makes every change in the folder of `file`, and every change that names it, durable.
    pub(super) fn sync(&mut self, file: File) {
        let folder = Folder::of(file);
        let names: BTreeSet<File> = self
            .unsynced
            .iter()
            .filter(|change| change.folder() == folder)
            .filter_map(|change| if let Change::Rename { from, .. } = change { Some(*from) } else { None })
            .collect();
        let covered = |change: &Change| change.folder() == folder || names.iter().any(|name| change.names(*name));
        let (synced, unsynced): (Vec<Change>, Vec<Change>) = self.unsynced.iter().partition(|change| covered(change));
        self.unsynced = unsynced;
        synced.into_iter().for_each(|change| change.apply(&mut self.durable));
    }

    /// A file vanishes from the medium, whoever held it.
    pub(super) fn lose(&mut self, file: File) {
        self.unsynced.retain(|change| !change.names(file));
        self.durable.remove(&file);
        self.current.remove(&file);
    }

    /// Power is lost: which unsynced changes happened is drawn.
    pub(super) fn crash(&mut self, survive: Survive, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        let whole = rng.below(changes.len() as u64 + 1);
        for (position, change) in changes.into_iter().enumerate() {
            let happened = match survive {
                Survive::All => true,
                Survive::None => false,
                Survive::Random => rng.chance(1, 2),
                Survive::Prefix => (position as u64) < whole,
            };
            if happened {
                change.apply(&mut self.durable);
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// What a crash leaves if nothing unsynced has happened.
    pub(super) fn as_durable(&self) -> Self {
        Self { durable: self.durable.clone(), current: self.durable.clone(), unsynced: Vec::new() }
    }

    /// Every content that any name can still reach after a crash or now.
    pub(super) fn reachable(&self) -> BTreeSet<Inode> {
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Link { inode, .. } | Change::Rename { inode, .. } => Some(*inode),
            Change::Unlink { .. } => None,
        });
        self.durable.values().chain(self.current.values()).copied().chain(unsynced).collect()
    }
}
