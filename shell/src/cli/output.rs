//! Where fetched bytes go. Nothing half-written ever has the final name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::failure::{Exit, Failure};

/// Where the bytes of a file go.
#[derive(Debug)]
pub(crate) enum Output {
    /// To standard output, or into a pipe or device that exists: straight through.
    Through(File, PathBuf),
    /// Into a file of its own.
    Partial(PartialFile),
}

/// What was asked for, before anything is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard output.
    Stdout,
    /// This path; replaced if `force` is set and it is a file.
    Path {
        /// The path.
        path: PathBuf,
        /// Whether a file that exists is replaced.
        force: bool,
    },
}

impl Place {
    /// Refuses what can't work before the store is even asked.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let Self::Path { path, force } = self else { return Ok(()) };
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                Err(Failure::file("the output", path, &io::ErrorKind::IsADirectory.into())
                    .hint("name the file to write, not the directory to put it in"))
            }
            Ok(metadata) if metadata.is_file() && !force => Err(exists(path)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Failure::file("the output", path, &error)),
        }
    }

    /// Opens the place for writing.
    pub(crate) fn open(&self) -> Result<Output, Failure> {
        let Self::Path { path, force } = self else {
            let fd = io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::stdout(&error))?;
            return Ok(Output::Through(File::from(fd), PathBuf::from("-")));
        };
        let special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        if special {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|error| Failure::file("the output", path, &error))?;
            return Ok(Output::Through(file, path.clone()));
        }
        PartialFile::create(path, *force).map(Output::Partial)
    }
}

impl Output {
    /// Writes `bytes`; waits for the disk or the reader.
    pub(crate) fn write(&mut self, bytes: &Bytes) -> Result<(), Failure> {
        let (file, path) = match self {
            Self::Through(file, path) => (file, &*path),
            Self::Partial(partial) => (&mut partial.file, &partial.target),
        };
        file.write_all(bytes).map_err(|error| write_failure(path, &error))
    }

    /// Makes what was written durable and gives it its final name. Returns that, if there is one.
    pub(crate) fn finish(self) -> Result<Option<PathBuf>, Failure> {
        match self {
            Self::Through(..) => Ok(None),
            Self::Partial(partial) => partial.finish().map(Some),
        }
    }
}

/// A file in the making, in the directory where it will be. Removed unless it is finished.
#[derive(Debug)]
pub(crate) struct PartialFile {
    file: File,
    /// Its temporary name.
    path: PathBuf,
    target: PathBuf,
    force: bool,
    finished: bool,
}

impl PartialFile {
    fn create(target: &Path, force: bool) -> Result<Self, Failure> {
        // A link is followed: the file it names is replaced, not the link.
        let target = if target.is_symlink() { std::fs::canonicalize(target) } else { Ok(target.to_owned()) };
        let target = target.map_err(|error| Failure::file("the output", Path::new("(a link)"), &error))?;
        // The final name may be as long as names can be, so the temporary one is not made from it.
        for attempt in 0..u32::MAX {
            let path = target.with_file_name(format!(".dps-{}-{attempt}.part", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path, target, force, finished: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(create_failure(&target, &error)),
            }
        }
        Err(create_failure(&target, &io::ErrorKind::AlreadyExists.into()))
    }

    fn finish(mut self) -> Result<PathBuf, Failure> {
        self.file.sync_data().map_err(|error| write_failure(&self.target, &error))?;
        self.rename().map_err(|error| match error {
            Errno::EXIST => exists(&self.target),
            error => write_failure(&self.target, &error.into()),
        })?;
        self.finished = true;
        Ok(std::mem::take(&mut self.target))
    }

    fn rename(&self) -> Result<(), Errno> {
        if self.force {
            return rustix::fs::rename(&self.path, &self.target);
        }
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            // Not every file system can do that.
            Err(Errno::INVAL | Errno::NOSYS) if self.target.exists() => Err(Errno::EXIST),
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(&self.path, &self.target),
            renamed => renamed,
        }
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new("E_EXISTS", Exit::Conflict, format!("the output {} exists", path.display()))
        .hint("--force replaces it; -o writes to another place")
}

fn create_failure(target: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let what = format!("the output {} can't be created", target.display());
            Failure::new("E_NO_FILE", Exit::NotFound, what)
                .cause("the directory it would be in does not exist")
                .hint("create that directory first, or write to another place with -o FILE")
        }
        _ => Failure::file("the output", target, error),
    }
}

fn write_failure(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::stdout(error);
    }
    Failure::file("the output", path, error).hint("nothing was left under its name; the store is untouched")
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

    fn place(path: &Path, force: bool) -> Place {
        Place::Path { path: path.to_owned(), force }
    }

    #[test]
    fn the_final_name_appears_only_when_all_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("x".repeat(255));
        let mut output = place(&target, false).open().unwrap();
        output.write(&Bytes::from_static(b"half")).unwrap();
        assert!(!target.exists());
        assert_eq!(entries(temp.path()).len(), 1);
        assert_eq!(output.finish().unwrap(), Some(target.clone()));
        assert_eq!(fs::read(&target).unwrap(), b"half");
        assert_eq!(entries(temp.path()).len(), 1);
    }

    #[test]
    fn what_is_given_up_leaves_nothing_behind() {
        let temp = tempfile::tempdir().unwrap();
        let mut output = place(&temp.path().join("a"), false).open().unwrap();
        output.write(&Bytes::from_static(b"half")).unwrap();
        drop(output);
        assert!(entries(temp.path()).is_empty());
    }

    #[test]
    fn a_file_that_exists_is_replaced_only_by_force_and_as_a_whole() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("a");
        fs::write(&target, "old").unwrap();
        assert_eq!(place(&target, false).check().unwrap_err().code, "E_EXISTS");
        // Created by someone else after the check: still not replaced.
        let output = place(&target, false).open().unwrap();
        assert_eq!(output.finish().unwrap_err().code, "E_EXISTS");
        assert_eq!(entries(temp.path()), ["a"]);
        place(&target, true).check().unwrap();
        let mut output = place(&target, true).open().unwrap();
        output.write(&Bytes::from_static(b"new")).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        output.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_link_stays_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let (target, link) = (temp.path().join("a"), temp.path().join("b"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut output = place(&link, true).open().unwrap();
        output.write(&Bytes::from_static(b"new")).unwrap();
        output.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_directory_or_a_missing_one_is_told() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(place(temp.path(), true).check().unwrap_err().code, "E_IS_DIRECTORY");
        assert_eq!(place(&temp.path().join("no/file"), false).open().unwrap_err().code, "E_NO_FILE");
    }

    #[test]
    fn a_device_is_written_through_and_never_replaced() {
        let null = place(Path::new("/dev/null"), true);
        null.check().unwrap();
        let mut output = null.open().unwrap();
        output.write(&Bytes::from_static(b"gone")).unwrap();
        assert_eq!(output.finish().unwrap(), None);
    }
}
