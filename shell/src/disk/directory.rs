//! The data directory: telling ours from anyone else's, making it, and holding it open under its lock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::lock::{LOCK_MARK, Lock, LockError};
use super::path::{BOOT_NAMES, Folder, LOCK_NAME, MARK_NAME, recognise};

/// What the root of a file system may hold before anyone wrote to it.
const LOST_AND_FOUND: &str = "lost+found";

/// How the mark of a member begins.
const MARK_START: &[u8; 11] = b"dps member ";

/// No mark is longer.
const MARK_BYTES_MAX: usize = 256;

/// Entries of a foreign directory that are looked at before it is called foreign.
const ENTRIES_SEEN_MAX: usize = 64;

/// Whether a store that does not exist is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// No: that is an error.
    Never,
    /// Yes, in a directory whose parent exists.
    Directory,
    /// Yes, and its parents too.
    Parents,
}

/// Why a data directory can't be used. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no store, and none was to be made.
    #[error("there is no store at {}", path.display())]
    NoStore {
        /// The data directory.
        path: PathBuf,
    },
    /// Neither the directory nor the one it would be made in exists.
    #[error("{} can't be created: the directory it would be in does not exist", path.display())]
    NoParent {
        /// The data directory.
        path: PathBuf,
    },
    /// Something else than a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What should be a directory.
        path: PathBuf,
    },
    /// A directory that holds something else.
    #[error("{} is not a dps store: it holds other files, such as {found:?}", path.display())]
    NotAStore {
        /// The data directory.
        path: PathBuf,
        /// Something in it that is not ours.
        found: String,
    },
    /// The directory of a member of a group.
    #[error("{} belongs to a member of a group ({mark})", path.display())]
    Member {
        /// The data directory.
        path: PathBuf,
        /// Of whom it is.
        mark: String,
    },
    /// Another process uses the store.
    #[error("the store at {} is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process's number, if it could be told.
        pid: Option<u32>,
    },
    /// The operating system refused.
    #[error("{} can't be {action}", path.display())]
    Io {
        /// What was tried: `opened`, `read`, `created`, `locked` or `synced`.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A data directory that is ours, open and locked.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    journal: OwnedFd,
    data: OwnedFd,
    stage: OwnedFd,
    _lock: Lock,
}

/// What a look into a directory told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Nothing at all.
    Nothing,
    /// Only what a first run makes before its boot record, or a store without boot records.
    Bare,
    /// A store.
    Store,
    /// Something else, of which this is an example.
    Foreign(String),
}

impl Directory {
    /// Opens the data directory at `path`, as `create` allows making it, and takes its lock.
    ///
    /// A directory that a first run left half-made opens like an empty one.
    ///
    /// # Errors
    /// When there is no store and none is to be made, when the directory belongs to something else, when another
    /// process uses it, or when the operating system refuses.
    pub fn open(path: &Path, create: Create) -> Result<Self, OpenError> {
        let root = open_or_make(path, create)?;
        let content = look(&root).map_err(io_error("read", path))?;
        match &content {
            Content::Foreign(found) => {
                return Err(OpenError::NotAStore { path: path.to_owned(), found: found.clone() });
            }
            Content::Nothing if create == Create::Never => return Err(OpenError::NoStore { path: path.to_owned() }),
            Content::Nothing | Content::Bare | Content::Store => {}
        }
        let lock = Lock::take(&root).map_err(|error| match error {
            LockError::Held { pid } => OpenError::Locked { path: path.to_owned(), pid },
            LockError::Refused(error) => io_error("locked", &path.join(LOCK_NAME))(error),
        })?;
        let mut made = content != Content::Store;
        let mut open = |folder: Folder| {
            let path = path.join(folder.name());
            let (fd, new) = subfolder(&root, folder).map_err(|(action, error)| match error {
                Errno::NOTDIR => OpenError::NotADirectory { path: path.clone() },
                error => io_error(action, &path)(error),
            })?;
            made |= new;
            Ok(fd)
        };
        let (journal, data, stage) = (open(Folder::Journal)?, open(Folder::Data)?, open(Folder::Stage)?);
        if made {
            // A run that was killed may have made the folders without syncing the directory, so that is done even where
            // none was missing, until there is a boot record.
            rustix::fs::fsync(&root).map_err(io_error("synced", path))?;
        }
        Ok(Self { root, journal, data, stage, _lock: lock })
    }

    /// Of which member of which group it is; `None` if of none.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn mark(&self) -> io::Result<Option<String>> {
        let file = match rustix::fs::openat(&self.root, MARK_NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let mut text = [0; MARK_BYTES_MAX];
        let len = rustix::io::pread(file, &mut text, 0)?;
        // One that its maker could not finish says nothing.
        Ok((len > 0).then(|| String::from_utf8_lossy(&text[..len]).into_owned()))
    }

    /// Makes it that of a member, durably.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_mark(&self, mark: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.root, MARK_NAME, flags, Mode::from_raw_mode(0o600))?;
        rustix::io::pwrite(&file, mark.as_bytes(), 0)?;
        rustix::fs::fsync(&file)?;
        rustix::fs::fsync(&self.root)?;
        Ok(())
    }

    /// Whether nothing was ever started in it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        BOOT_NAMES.iter().all(|name| matches!(kind(&self.root, name), Ok(None)))
    }

    /// The open directory of `folder`.
    #[must_use]
    pub fn folder(&self, folder: Folder) -> BorrowedFd<'_> {
        match folder {
            Folder::Root => self.root.as_fd(),
            Folder::Journal => self.journal.as_fd(),
            Folder::Data => self.data.as_fd(),
            Folder::Stage => self.stage.as_fd(),
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(Errno) -> OpenError {
    move |error| OpenError::Io { action, path: path.to_owned(), source: error.into() }
}

fn open_or_make(path: &Path, create: Create) -> Result<OwnedFd, OpenError> {
    let opened = match open_directory(CWD, path) {
        Err(Errno::NOENT) if create == Create::Never => return Err(OpenError::NoStore { path: path.to_owned() }),
        Err(Errno::NOENT) => {
            make(path, create).and_then(|()| open_directory(CWD, path).map_err(io_error("opened", path)))
        }
        opened => opened.map_err(io_error("opened", path)),
    };
    opened.map_err(|error| match error {
        OpenError::Io { source, path, .. } if source.kind() == io::ErrorKind::NotADirectory => {
            OpenError::NotADirectory { path }
        }
        error => error,
    })
}

/// Makes the directory at `path` and syncs the one it is in, so that the store can't vanish as a whole.
fn make(path: &Path, create: Create) -> Result<(), OpenError> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(OpenError::NoParent { path: path.to_owned() }),
    };
    if create == Create::Parents && !parent.exists() {
        make(parent, create)?;
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        // Another process may have been faster; the lock decides who goes on.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::NOENT) => return Err(OpenError::NoParent { path: path.to_owned() }),
        Err(error) => return Err(io_error("created", path)(error)),
    }
    let parent_fd = open_directory(CWD, parent).map_err(io_error("opened", parent))?;
    rustix::fs::fsync(parent_fd).map_err(io_error("synced", parent))
}

fn open_directory(at: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a folder of the store, made if it is missing; says whether it was.
fn subfolder(root: &OwnedFd, folder: Folder) -> Result<(OwnedFd, bool), (&'static str, Errno)> {
    match open_directory(root, folder.name()) {
        Ok(fd) => Ok((fd, false)),
        Err(Errno::NOENT) => {
            let mode = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(root, folder.name(), mode).map_err(|error| ("created", error))?;
            open_directory(root, folder.name()).map(|fd| (fd, true)).map_err(|error| ("opened", error))
        }
        Err(error) => Err(("opened", error)),
    }
}

/// Looks at what the directory holds, without writing anything.
fn look(root: &OwnedFd) -> Result<Content, Errno> {
    let (mut bare, mut foreign) = (false, None);
    for entry in Dir::read_from(root)?.take(ENTRIES_SEEN_MAX) {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        match core::str::from_utf8(name) {
            Ok("." | ".." | LOST_AND_FOUND) => {}
            Ok(LOCK_NAME) if is_our_lock(root)? => bare = true,
            Ok(text) if BOOT_NAMES.contains(&text) => {}
            Ok(MARK_NAME) if is_our_mark(root)? => bare = true,
            Ok(text) if is_our_folder(root, text)? => bare = true,
            Ok(_) | Err(_) => foreign = Some(String::from_utf8_lossy(name).into_owned()),
        }
    }
    for name in BOOT_NAMES {
        match kind(root, name)? {
            Some(FileType::RegularFile) => return Ok(Content::Store),
            Some(_) => foreign = Some(String::from(name)),
            None => {}
        }
    }
    Ok(match foreign {
        Some(found) => Content::Foreign(found),
        None if bare => Content::Bare,
        None => Content::Nothing,
    })
}

fn kind(root: &OwnedFd, name: &str) -> Result<Option<FileType>, Errno> {
    match rustix::fs::statat(root, name, rustix::fs::AtFlags::empty()) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the lock file is one of ours: empty when its maker was killed at once, or with our mark.
fn is_our_lock(root: &OwnedFd) -> Result<bool, Errno> {
    if kind(root, LOCK_NAME)? != Some(FileType::RegularFile) {
        return Ok(false);
    }
    let file = rustix::fs::openat(root, LOCK_NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; LOCK_MARK.len()];
    let len = rustix::io::pread(file, &mut text, 0)?;
    Ok(len == 0 || text.as_slice() == LOCK_MARK.as_bytes())
}

/// Whether the mark of a member is one of ours: empty when its maker was killed at once.
fn is_our_mark(root: &OwnedFd) -> Result<bool, Errno> {
    if kind(root, MARK_NAME)? != Some(FileType::RegularFile) {
        return Ok(false);
    }
    let file = rustix::fs::openat(root, MARK_NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; MARK_START.len()];
    let len = rustix::io::pread(file, &mut text, 0)?;
    Ok(len == 0 || text == *MARK_START)
}

/// Whether `name` is one of our folders with nothing but our files in it.
fn is_our_folder(root: &OwnedFd, name: &str) -> Result<bool, Errno> {
    let Some(folder) = Folder::SUBFOLDERS.into_iter().find(|folder| folder.name() == name) else { return Ok(false) };
    let fd = match open_directory(root, name) {
        Ok(fd) => fd,
        Err(Errno::NOTDIR) => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&fd)?.take(ENTRIES_SEEN_MAX) {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && recognise(folder, name).is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn entries(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_missing_directory_is_made_but_not_its_parents_unless_asked() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        assert!(matches!(Directory::open(&path, Create::Never), Err(OpenError::NoStore { .. })));
        assert!(matches!(Directory::open(&path, Create::Directory), Err(OpenError::NoParent { .. })));
        assert!(entries(temp.path()).is_empty());
        let directory = Directory::open(&path, Create::Parents).unwrap();
        assert_eq!(entries(&path), ["LOCK", "data", "journal", "stage"]);
        drop(directory);
        Directory::open(&temp.path().join("a/c"), Create::Directory).unwrap();
    }

    #[test]
    fn an_empty_directory_is_a_store_only_for_those_who_make_one() {
        let temp = tempfile::tempdir().unwrap();
        assert!(matches!(Directory::open(temp.path(), Create::Never), Err(OpenError::NoStore { .. })));
        assert!(entries(temp.path()).is_empty());
        fs::create_dir(temp.path().join("lost+found")).unwrap();
        Directory::open(temp.path(), Create::Directory).unwrap();
    }

    #[test]
    fn every_half_made_directory_opens() {
        for mask in 1..16_u8 {
            let temp = tempfile::tempdir().unwrap();
            if mask & 8 != 0 {
                fs::write(temp.path().join("LOCK"), "").unwrap();
            }
            for (bit, folder) in Folder::SUBFOLDERS.into_iter().enumerate() {
                if mask & (1 << bit) != 0 {
                    fs::create_dir(temp.path().join(folder.name())).unwrap();
                }
            }
            if mask & 4 != 0 {
                fs::write(temp.path().join("stage/000001.tmp"), "half").unwrap();
            }
            Directory::open(temp.path(), Create::Never).unwrap_or_else(|error| panic!("{mask}: {error}"));
            assert_eq!(entries(temp.path()), ["LOCK", "data", "journal", "stage"]);
        }
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        type Make = fn(&Path);
        let cases: [(&str, Make); 6] = [
            ("notes.txt", |path| fs::write(path.join("notes.txt"), "mine").unwrap()),
            ("data", |path| {
                fs::create_dir(path.join("data")).unwrap();
                fs::write(path.join("data/table.csv"), "1").unwrap();
            }),
            ("data", |path| fs::write(path.join("data"), "a file").unwrap()),
            ("LOCK", |path| fs::write(path.join("LOCK"), "someone else's").unwrap()),
            ("boot.0", |path| fs::create_dir(path.join("boot.0")).unwrap()),
            (".git", |path| {
                fs::create_dir(path.join(".git")).unwrap();
                fs::create_dir(path.join("journal")).unwrap();
            }),
        ];
        for (expected, make) in cases {
            let temp = tempfile::tempdir().unwrap();
            make(temp.path());
            let before = entries(temp.path());
            match Directory::open(temp.path(), Create::Parents).unwrap_err() {
                OpenError::NotAStore { found, .. } => assert_eq!(found, expected),
                error => panic!("{expected}: {error:?}"),
            }
            assert_eq!(entries(temp.path()), before);
        }
    }

    #[test]
    fn a_store_with_a_stranger_in_it_is_still_a_store() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("boot.1"), "a record, or what is left of it").unwrap();
        fs::write(temp.path().join(".DS_Store"), "").unwrap();
        Directory::open(temp.path(), Create::Never).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        for create in [Create::Never, Create::Parents] {
            let error = Directory::open(temp.path(), create).unwrap_err();
            assert!(matches!(error, OpenError::NotADirectory { .. }), "{error:?}");
        }
        let below = temp.path().join("store");
        assert!(matches!(Directory::open(&below, Create::Directory), Err(OpenError::NotADirectory { .. })));
    }

    #[test]
    fn a_folder_that_is_a_file_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("boot.0"), "").unwrap();
        fs::write(temp.path().join("stage"), "").unwrap();
        match Directory::open(temp.path(), Create::Never).unwrap_err() {
            OpenError::NotADirectory { path } => assert_eq!(path, temp.path().join("stage")),
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_second_opening_says_who_was_first() {
        let temp = tempfile::tempdir().unwrap();
        let first = Directory::open(temp.path(), Create::Directory).unwrap();
        match Directory::open(temp.path(), Create::Directory).unwrap_err() {
            OpenError::Locked { pid, .. } => assert_eq!(pid, Some(std::process::id())),
            error => panic!("{error:?}"),
        }
        drop(first);
        Directory::open(temp.path(), Create::Never).unwrap();
    }
}
