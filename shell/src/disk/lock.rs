//! One process per data directory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::path::LOCK_NAME;

/// What the lock file begins with, so that it can be told from anyone else's.
pub(crate) const LOCK_MARK: &str = "dps ";

/// An exclusive lock on a data directory, given back when dropped or when the process ends in any way.
///
/// The file stays: removing it would let a third process lock a name that a second one still waits for.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

/// Why a lock was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockError {
    /// Another process has it: this one, if it has said so.
    Held {
        /// The process's number.
        pid: Option<u32>,
    },
    /// The operating system refused.
    Refused(Errno),
}

impl Lock {
    /// Takes the lock of the directory `root` and writes the own process number into it, creating the file if need be.
    ///
    /// # Errors
    /// When another process has it, or the file can't be used.
    pub fn take(root: impl AsFd) -> Result<Self, LockError> {
        let (file, writable) = open(root.as_fd()).map_err(LockError::Refused)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { pid: holder(&file) }),
            Err(error) => return Err(LockError::Refused(error)),
        }
        if writable {
            // The number is only for the message that another process prints: the lock holds without it, as it must on
            // a full disk.
            let text = format!("{LOCK_MARK}{}\n", std::process::id());
            if rustix::io::pwrite(&file, text.as_bytes(), 0).is_ok() {
                let _ = rustix::fs::ftruncate(&file, text.len() as u64);
            }
        }
        Ok(Self { _file: file })
    }
}

/// The lock file, and whether it may be written: a store on read-only media is locked as well.
fn open(root: impl AsFd) -> Result<(OwnedFd, bool), Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    match rustix::fs::openat(&root, LOCK_NAME, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => Ok((file, true)),
        Err(error @ (Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOSPC | Errno::DQUOT)) => {
            let readable = rustix::fs::openat(&root, LOCK_NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            readable.map(|file| (file, false)).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

fn holder(file: impl AsFd) -> Option<u32> {
    let mut text = [0; 32];
    let len = rustix::io::pread(file, &mut text, 0).ok()?;
    let text = core::str::from_utf8(&text[..len]).ok()?;
    text.strip_prefix(LOCK_MARK)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let root = File::open(dir.path()).unwrap();
        let first = Lock::take(&root).unwrap();
        assert_eq!(Lock::take(&root).unwrap_err(), LockError::Held { pid: Some(std::process::id()) });
        drop(first);
        Lock::take(&root).unwrap();
    }

    #[test]
    fn a_longer_number_from_before_leaves_no_digits_behind() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_NAME), "dps 12345678901234567890\n").unwrap();
        let _lock = Lock::take(File::open(dir.path()).unwrap()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(LOCK_NAME)).unwrap();
        assert_eq!(text, format!("dps {}\n", std::process::id()));
    }

    #[test]
    fn a_holder_that_wrote_nothing_has_no_number() {
        let dir = tempfile::tempdir().unwrap();
        let root = File::open(dir.path()).unwrap();
        let _lock = Lock::take(&root).unwrap();
        std::fs::write(dir.path().join(LOCK_NAME), "").unwrap();
        assert_eq!(Lock::take(&root).unwrap_err(), LockError::Held { pid: None });
    }
}
