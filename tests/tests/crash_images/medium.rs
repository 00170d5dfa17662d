//! The disk as a crash could have left it, from the recorder's log.
//!
//! The log is followed to some place. What a sync or a publication that had ended by then promised is durable. Of every
//! other write any subset of its sectors may have reached the disk, and of every other creation, rename and removal
//! nobody knows whether it happened. An image is one draw from all of that.

use std::collections::BTreeMap;

use dps::disk::recorder::Entry;
use dps_core::disk::{DiskRequest, File};
use dps_core::rng::Rng;

/// What a disk writes as a whole.
const SECTOR_BYTES: u64 = 512;

/// Which promises of the disk are taken out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stripped {
    /// None: an honest disk.
    Nothing,
    /// Nothing is durable but the directories that were there at the beginning.
    Everything,
    /// Journal segments are not.
    Journals,
    /// Volumes are not.
    Volumes,
    /// Contents of files are, but not their names.
    Names,
}

impl Stripped {
    fn keeps_bytes_of(self, file: File) -> bool {
        match self {
            Self::Nothing | Self::Names => true,
            Self::Everything => false,
            Self::Journals => !matches!(file, File::Journal(_)),
            Self::Volumes => !matches!(file, File::Volume(_)),
        }
    }

    fn keeps_name_of(self, file: File) -> bool {
        self != Self::Names && self.keeps_bytes_of(file)
    }
}

/// Bytes without a name.
#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    /// Where each append ended.
    ends: Vec<u64>,
    /// Bytes that stay.
    durable: u64,
}

impl Inode {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A change of names that may or may not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Create {
        file: File,
        inode: usize,
    },
    /// Comes after the sync of the staged file, so that the name never shows less than all of it.
    Rename {
        stage: File,
        to: File,
        inode: usize,
    },
    Remove {
        file: File,
    },
}

impl Change {
    fn names(&self) -> [File; 2] {
        match self {
            Self::Create { file, .. } | Self::Remove { file } => [*file; 2],
            Self::Rename { stage, to, .. } => [*stage, *to],
        }
    }

    fn touches(&self, other: &Self) -> bool {
        self.names().iter().any(|name| other.names().contains(name))
    }

    fn apply(&self, names: &mut BTreeMap<File, usize>) {
        match self {
            Self::Create { file, inode } => {
                names.insert(*file, *inode);
            }
            Self::Rename { stage, to, inode } => {
                if names.get(stage) == Some(inode) {
                    names.remove(stage);
                }
                names.insert(*to, *inode);
            }
            Self::Remove { file } => {
                names.remove(file);
            }
        }
    }
}

/// What a request that was issued makes durable when it has ended well.
#[derive(Clone, Copy, Debug)]
enum Pledge {
    Nothing,
    Sync { file: File, inode: usize, len: u64, directory: bool },
    Publish { stage: File, to: File, inode: usize, len: u64 },
}

/// One way in which a crash could have left the disk.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<File, Vec<u8>>,
    /// How it was drawn, for people.
    pub(crate) drawn: String,
}

/// How much of what was not synced has reached the disk.
#[derive(Clone, Copy, Debug)]
enum Extent {
    None,
    All,
    /// Everything up to some byte.
    Prefix,
    /// Any subset of the sectors; of a sector that was written more than once any of its contents.
    Sectors,
    /// Any subset of the sectors, and each torn somewhere within what was new in it.
    Torn,
}

/// Everything that is known of the disk at a place in the log.
#[derive(Debug)]
pub(crate) struct Medium {
    stripped: Stripped,
    inodes: Vec<Inode>,
    /// Names as a crash leaves them at least.
    durable: BTreeMap<File, usize>,
    /// Names as they are without a crash.
    visible: BTreeMap<File, usize>,
    /// Changes from the one to the other, in order.
    pending: Vec<Change>,
    pledges: BTreeMap<u64, Pledge>,
}

impl Medium {
    /// An empty disk.
    pub(crate) fn new(stripped: Stripped) -> Self {
        Self {
            stripped,
            inodes: Vec::new(),
            durable: BTreeMap::new(),
            visible: BTreeMap::new(),
            pending: Vec::new(),
            pledges: BTreeMap::new(),
        }
    }

    /// Whether no promise is taken out.
    pub(crate) fn is_honest(&self) -> bool {
        self.stripped == Stripped::Nothing
    }

    /// Goes on over one line of the log.
    pub(crate) fn follow(&mut self, entry: &Entry) {
        match entry {
            Entry::Issued { ticket, request } => {
                let pledge = self.issue(request);
                let reused = self.pledges.insert(*ticket, pledge);
                assert!(reused.is_none(), "a ticket is given once");
            }
            Entry::Done { ticket, ok } => {
                assert!(ok, "the disk of the busy run does not fail");
                let pledge = self.pledges.remove(ticket).expect("what ends was issued");
                self.keep(pledge);
            }
            Entry::Mark(_) => {}
        }
    }

    /// Files with bytes that a crash may take.
    pub(crate) fn unsynced_files(&self) -> usize {
        let unsynced = |inode: &&usize| self.inodes[**inode].durable < self.inodes[**inode].len();
        self.visible.values().filter(unsynced).count()
    }

    /// Changes of names that a crash may take, but for those of staged files, which never count.
    pub(crate) fn unsynced_names(&self) -> usize {
        let is_staged = |file: File| matches!(file, File::Stage(_));
        self.pending.iter().filter(|change| !change.names().into_iter().all(is_staged)).count()
    }

    /// One of the ways in which a crash could leave the disk.
    pub(crate) fn image(&self, rng: &mut Rng) -> Image {
        let bias = rng.below(8);
        let mut names = self.durable.clone();
        let mut happened = Vec::new();
        for change in &self.pending {
            let happens = match bias {
                0 => false,
                1 => true,
                _ => rng.chance(1, 2),
            };
            if happens {
                change.apply(&mut names);
                happened.push(*change);
            }
        }
        let mut drawn = format!("names: {happened:?} of {:?};", self.pending);
        let mut files = BTreeMap::new();
        for (file, number) in names {
            let inode = &self.inodes[number];
            let is_whole = self.stripped.keeps_bytes_of(file)
                && happened.iter().any(|change| matches!(change, Change::Rename { inode, .. } if *inode == number));
            let extent = match (is_whole, bias) {
                (true, _) | (false, 1) => Extent::All,
                (false, 0) => Extent::None,
                (false, _) => any_extent(rng),
            };
            if inode.durable < inode.len() {
                drawn += &format!(" {file}: {extent:?} of {}..{};", inode.durable, inode.len());
            }
            files.insert(file, tear(inode, extent, rng));
        }
        Image { files, drawn }
    }

    fn issue(&mut self, request: &DiskRequest) -> Pledge {
        match request {
            DiskRequest::Append { file, offset, parts } => {
                if *offset == 0 {
                    let inode = self.inodes.len();
                    self.inodes.push(Inode::default());
                    assert!(self.visible.insert(*file, inode).is_none(), "{file} is created, but exists");
                    self.pending.push(Change::Create { file: *file, inode });
                }
                let inode = &mut self.inodes[self.visible[file]];
                assert_eq!(inode.len(), *offset, "{file} is appended to at its end");
                parts.iter().for_each(|part| inode.bytes.extend_from_slice(part));
                inode.ends.push(inode.len());
                Pledge::Nothing
            }
            DiskRequest::Sync { file, directory } => {
                let inode = self.visible[file];
                Pledge::Sync { file: *file, inode, len: self.inodes[inode].len(), directory: *directory }
            }
            DiskRequest::Publish { stage, to } => {
                let (stage, to) = (File::Stage(*stage), *to);
                let inode = self.visible[&stage];
                let change = Change::Rename { stage, to, inode };
                change.apply(&mut self.visible);
                self.pending.push(change);
                Pledge::Publish { stage, to, inode, len: self.inodes[inode].len() }
            }
            DiskRequest::Remove { file } => {
                let change = Change::Remove { file: *file };
                change.apply(&mut self.visible);
                self.pending.push(change);
                Pledge::Nothing
            }
            DiskRequest::Allocate { file, bytes } => {
                let inode = *self.visible.entry(*file).or_insert_with(|| {
                    self.inodes.push(Inode::default());
                    self.pending.push(Change::Create { file: *file, inode: self.inodes.len() - 1 });
                    self.inodes.len() - 1
                });
                let content = &mut self.inodes[inode];
                let bytes = usize::try_from(*bytes).expect("it is in memory").max(content.bytes.len());
                content.bytes.resize(bytes, 0);
                content.ends.push(content.len());
                Pledge::Sync { file: *file, inode, len: content.len(), directory: true }
            }
            DiskRequest::List | DiskRequest::Read { .. } | DiskRequest::Space => {
                panic!("what only reads is not in the log")
            }
        }
    }

    /// A request has ended well.
    fn keep(&mut self, pledge: Pledge) {
        match pledge {
            Pledge::Nothing => {}
            Pledge::Sync { file, inode, len, directory } => {
                self.keep_bytes(file, inode, len);
                if directory {
                    self.keep_name(file, &Change::Create { file, inode });
                }
            }
            Pledge::Publish { stage, to, inode, len } => {
                self.keep_bytes(to, inode, len);
                self.keep_name(to, &Change::Rename { stage, to, inode });
            }
        }
    }

    fn keep_bytes(&mut self, file: File, inode: usize, len: u64) {
        if self.stripped.keeps_bytes_of(file) {
            let durable = &mut self.inodes[inode].durable;
            *durable = len.max(*durable);
        }
    }

    /// Makes a change durable, and with it all earlier ones of the same names.
    fn keep_name(&mut self, file: File, change: &Change) {
        if !self.stripped.keeps_name_of(file) {
            return;
        }
        let Some(at) = self.pending.iter().position(|pending| pending == change) else { return };
        change.apply(&mut self.durable);
        let mut index = 0;
        self.pending.retain(|pending| {
            index += 1;
            index > at + 1 || !pending.touches(change)
        });
    }
}

fn any_extent(rng: &mut Rng) -> Extent {
    match rng.below(8) {
        0 => Extent::None,
        1 => Extent::All,
        2 => Extent::Prefix,
        3..=5 => Extent::Sectors,
        _ => Extent::Torn,
    }
}

/// The bytes of a file after a crash. What did not reach the disk but lies before its end is zero.
fn tear(inode: &Inode, extent: Extent, rng: &mut Rng) -> Vec<u8> {
    let (durable, len) = (inode.durable, inode.len());
    if durable == len {
        return inode.bytes.clone();
    }
    let cut = rng.between(durable, len);
    let eighths = rng.between(1, 7);
    let mut bytes = vec![0; index(len)];
    bytes[..index(durable)].copy_from_slice(&inode.bytes[..index(durable)]);
    // The last byte that is there.
    let mut present = durable;
    for sector in durable / SECTOR_BYTES..len.div_ceil(SECTOR_BYTES) {
        let start = (sector * SECTOR_BYTES).max(durable);
        let end = ((sector + 1) * SECTOR_BYTES).min(len);
        let through = match extent {
            Extent::None => start,
            Extent::All => end,
            Extent::Prefix => cut.clamp(start, end),
            Extent::Sectors | Extent::Torn if !rng.chance(eighths, 8) => start,
            Extent::Sectors => any_version(inode, start, end, rng),
            Extent::Torn => rng.between(start, end),
        };
        bytes[index(start)..index(through)].copy_from_slice(&inode.bytes[index(start)..index(through)]);
        if through > start {
            present = through;
        }
    }
    // The length is written at another time than the bytes.
    let end = match rng.below(3) {
        0 => len,
        1 => rng.between(present, len),
        _ => present,
    };
    bytes.truncate(index(end));
    bytes
}

/// A sector is written again by every append that ends or begins in it: how far the one goes that came last.
fn any_version(inode: &Inode, start: u64, end: u64, rng: &mut Rng) -> u64 {
    let first = inode.ends.partition_point(|at| *at <= start);
    let last = inode.ends.partition_point(|at| *at < end);
    let which = rng.between(first as u64, last as u64);
    inode.ends.get(index(which)).map_or(end, |at| end.min(*at))
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the files of the busy run are small")
}
