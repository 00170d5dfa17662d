//! Errors for people: what happened, why, what to do; with a code that never changes and an exit code.

use std::io;
use std::path::Path;

use dps_core::disk::DiskError;
use dps_core::ledger::name::NameError;
use dps_core::node::{HaltReason, RequestError};

use crate::disk::OpenError;
use crate::error::StoreError;

/// Exit codes. A code that is not listed means failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Partial = 3,
    NotFound = 4,
    Conflict = 5,
    Busy = 6,
    Denied = 7,
    Damaged = 8,
    NoStore = 10,
    Locked = 11,
    NewerFormat = 13,
    DiskFull = 14,
    Interrupted = 130,
    /// Whoever read standard output has gone; nothing is printed about it.
    BrokenPipe = 141,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) exit: Exit,
    /// What happened, to what.
    pub(crate) what: String,
    /// Why, as far as the first line doesn't say.
    pub(crate) cause: Option<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: &'static str, exit: Exit, what: impl Into<String>) -> Self {
        Self { code, exit, what: what.into(), cause: None, hint: None }
    }

    pub(crate) fn cause(self, cause: impl ToString) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A person or a supervisor wants this process to end.
    pub(crate) fn interrupted() -> Self {
        Self::new("E_INTERRUPTED", Exit::Interrupted, "interrupted").hint("everything stored before is safe")
    }

    /// A name that is none.
    pub(crate) fn name(text: &[u8], error: NameError) -> Self {
        let what = format!("{:?} can't be a name", String::from_utf8_lossy(text));
        Self::new("E_NAME", Exit::Usage, what).cause(error).hint("a name is 1 to 1,024 bytes of UTF-8 without NUL")
    }

    /// A file outside the store that can't be used. `role` is `the source` or `the output`.
    pub(crate) fn file(role: &str, path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => {
                Self::new("E_NO_FILE", Exit::NotFound, format!("{role} {path} does not exist")).hint("look at the path")
            }
            io::ErrorKind::NotADirectory => {
                Self::new("E_NO_FILE", Exit::NotFound, format!("{role} {path} does not exist"))
                    .cause(error)
                    .hint("look at the path: part of it is a file")
            }
            io::ErrorKind::IsADirectory => {
                Self::new("E_IS_DIRECTORY", Exit::Usage, format!("{role} {path} is a directory"))
                    .hint("name a file; directories are not stored as such")
            }
            io::ErrorKind::PermissionDenied => {
                Self::new("E_DENIED", Exit::Denied, format!("{role} {path} can't be opened"))
                    .cause(error)
                    .hint("look at its permissions and at those of the directories above it")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::new("E_OUTPUT_FULL", Exit::DiskFull, format!("{role} {path} can't be written"))
                    .cause(error)
                    .hint("make room there, or write to another place")
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                Self::new("E_READ_ONLY", Exit::Denied, format!("{role} {path} can't be written"))
                    .cause(error)
                    .hint("write to another place")
            }
            _ => Self::new("E_IO", Exit::Failed, format!("{role} {path} can't be used"))
                .cause(error)
                .hint("look at the disk or device that it is on"),
        }
    }

    /// Standard output can't be written.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new("E_BROKEN_PIPE", Exit::BrokenPipe, "standard output was closed");
        }
        Self::file("the output", Path::new("(standard output)"), error)
    }

    /// A call to the store failed while it was about `subject`.
    pub(crate) fn store(subject: &str, error: StoreError) -> Self {
        match error {
            StoreError::Open(error) => Self::open(error),
            StoreError::Halted(reason) => Self::halted(reason),
            StoreError::Request(error) => Self::request(subject, &error),
            StoreError::Source(error) => {
                let what = format!("the source of {subject} can't be read to its end");
                Self::new("E_SOURCE", Exit::Failed, what).cause(error).hint("nothing of it was stored")
            }
            StoreError::Ingest(error) => {
                let what = format!("{subject} was not stored");
                Self::new("E_SOURCE_CHANGED", Exit::Failed, what)
                    .cause(error)
                    .hint("store it again when nobody writes to it; what the name meant before is untouched")
            }
            StoreError::Entropy(error) => {
                Self::new("E_ENTROPY", Exit::Failed, "the operating system gives no random bytes")
                    .cause(error)
                    .hint("try again when the system has been running for a while")
            }
            StoreError::Closed => Self::new("E_CLOSED", Exit::Failed, format!("{subject}: the store has stopped"))
                .hint("the lines above say why; everything acknowledged is safe"),
            StoreError::Unexpected(question) => {
                Self::new("E_BUG", Exit::Failed, format!("{subject}: the node answered {question} with something else"))
                    .hint("this is a bug of dps")
            }
        }
    }

    fn open(error: OpenError) -> Self {
        let what = error.to_string();
        match error {
            OpenError::NoStore { .. } => Self::new("E_NO_STORE", Exit::NoStore, what)
                .hint("\"dps put\" creates a store; --data DIR or DPS_DATA say where another one is"),
            OpenError::NoParent { .. } => Self::new("E_NO_PARENT", Exit::NoStore, what)
                .hint("create that directory first, or choose another place with --data DIR"),
            OpenError::NotADirectory { .. } => Self::new("E_NOT_A_DIRECTORY", Exit::NoStore, what)
                .hint("--data must name a directory, which holds the store's files"),
            OpenError::NotAStore { .. } => Self::new("E_NOT_A_STORE", Exit::NoStore, what)
                .hint("nothing was written to it; choose a new or an empty directory with --data DIR"),
            OpenError::Member { .. } => Self::new("E_MEMBER", Exit::NoStore, what)
                .hint("\"dps server\" runs it; choose another directory with --data DIR"),
            OpenError::Locked { pid, .. } => {
                let failure = Self::new("E_LOCKED", Exit::Locked, what).hint("wait for it to end, or stop it");
                match pid {
                    Some(pid) => failure.cause(format!("process {pid} holds the lock")),
                    None => failure,
                }
            }
            OpenError::Io { source, .. } => {
                let (code, exit) = match source.kind() {
                    io::ErrorKind::PermissionDenied => ("E_DENIED", Exit::Denied),
                    io::ErrorKind::ReadOnlyFilesystem => ("E_READ_ONLY", Exit::Denied),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ("E_DISK_FULL", Exit::DiskFull),
                    _ => ("E_IO", Exit::Failed),
                };
                Self::new(code, exit, what).cause(source).hint("look at the disk and at the permissions of that place")
            }
        }
    }

    fn halted(reason: HaltReason) -> Self {
        let what = "the store can't be opened; nothing was written to it";
        match reason {
            HaltReason::NewerFormat { .. } => Self::new("E_NEWER_FORMAT", Exit::NewerFormat, what)
                .cause(reason)
                .hint("use the version of dps that wrote it, or a newer one"),
            HaltReason::BootRecordLost => Self::new("E_BOOT_RECORD_LOST", Exit::Damaged, what)
                .cause(reason)
                .hint("bring boot.0 or boot.1 back from a backup of the data directory"),
            HaltReason::Unreadable { error, .. } => Self::new("E_UNREADABLE", disk_exit(error, Exit::Damaged), what)
                .cause(reason)
                .hint("check the disk and the permissions of the data directory"),
            HaltReason::SnapshotLost { .. } => Self::new("E_SNAPSHOT_LOST", Exit::Damaged, what)
                .cause(reason)
                .hint(
                    "all that was stored after that entry is kept in the folder journal; bring its .snap files back from a \
                     backup of the data directory. Only a member that votes alone stops for this: others fetch a snapshot",
                ),
            HaltReason::OfGroup => Self::new("E_MEMBER", Exit::NoStore, what)
                .cause(reason)
                .hint("\"dps server\" runs it; choose another directory with --data DIR"),
            HaltReason::RolledBack { .. } => Self::new("E_ROLLED_BACK", Exit::Damaged, "this member must not go on")
                .cause(reason)
                .hint(
                    "nothing that the group has acknowledged was changed, and this member must not vote again; have it removed \
                     from the group, and let it join under a new identity with an empty data directory",
                ),
            HaltReason::UnknownCommand { .. } => Self::new("E_NEWER_FORMAT", Exit::NewerFormat, what)
                .cause(reason)
                .hint("use the version of dps that wrote it, or a newer one"),
        }
    }

    fn request(subject: &str, error: &RequestError) -> Self {
        let (exit, what, hint) = match error {
            RequestError::NotFound => {
                (Exit::NotFound, format!("{subject} is not in the store"), "\"dps ls\" lists names")
            }
            RequestError::Conflict { current } => {
                let meaning = match current {
                    Some(version) => format!("has version {version}"),
                    None => String::from("does not exist"),
                };
                (Exit::Conflict, format!("{subject} {meaning}, which is not what was asked for"), "nothing was changed")
            }
            RequestError::Missing => {
                let what = format!("the content of {subject} was cleaned away");
                (Exit::NotFound, what, "its name is still known: store the same file again to bring it back")
            }
            RequestError::GcRunning | RequestError::GcSuperseded => {
                (Exit::Busy, format!("{subject}: another collection is under way"), "wait for it; nothing was changed")
            }
            RequestError::SweepStopped { file, .. } => {
                let what = format!("nothing was dropped: it is not known what sha256:{file} needs");
                (
                    Exit::Damaged,
                    what,
                    "\"dps verify\" names the file; store it again, or remove it with \"dps rm --purge\"",
                )
            }
            RequestError::Swept => {
                let what = format!("{subject} was not stored: it took too long, and a collection has come between");
                (Exit::Busy, what, "store it again; no name was changed")
            }
            RequestError::RangeOutside { size } => {
                let what = format!("the range begins past the end of {subject}, which has {size} bytes");
                (Exit::Usage, what, "\"dps stat\" shows the size of a file")
            }
            RequestError::BadChunk { .. } => {
                let what = format!("{subject} can't be read: the store is damaged");
                (Exit::Damaged, what, "\"dps verify\" names everything that is damaged; other files are readable")
            }
            RequestError::LedgerDamaged(_) => {
                let what = format!("{subject} can't be used: part of the journal is lost, so names can't be trusted");
                (Exit::Damaged, what, "nothing was changed; whole contents can still be read as sha256:HEX")
            }
            RequestError::DiskFull => {
                let what = format!("no space is left for {subject}: the disk is full");
                let hint = "no name was changed, and reads go on; \"dps rm --purge\" and \"dps gc\" make room; if these are \
                            refused, too, remove a few megabytes of other files first";
                (Exit::DiskFull, what, hint)
            }
            RequestError::WriteFailed { error, .. } => {
                let what = format!("the disk failed: no change of {subject} was made");
                (disk_exit(*error, Exit::Failed), what, "check the disk; everything stored before can still be read")
            }
            RequestError::OutcomeUnknown(error) => {
                let what = format!("the disk failed while {subject} was being committed");
                let hint = "after the next start the change is there as a whole or not at all: look with \"dps stat\"";
                (disk_exit(*error, Exit::Failed), what, hint)
            }
            RequestError::Busy | RequestError::Starting | RequestError::Closing => {
                (Exit::Busy, format!("{subject}: the store has no time for it now"), "try again")
            }
            RequestError::TooLarge => (Exit::Failed, format!("{subject} is too large"), "store it in parts"),
            RequestError::Misuse(_) => (Exit::Failed, format!("{subject}: {error}"), "this is a bug of dps"),
        };
        Self::new(error.code(), exit, what).hint(hint).because(error)
    }

    /// The cause, where the first line does not say it.
    fn because(self, error: &RequestError) -> Self {
        match error {
            RequestError::BadChunk { index, chunk, fault } => self.cause(super::render::fault(*index, chunk, fault)),
            RequestError::LedgerDamaged(damage) => self.cause(super::render::damage(damage)),
            RequestError::WriteFailed { .. } | RequestError::OutcomeUnknown(_) => self.cause(error),
            RequestError::Busy | RequestError::Starting | RequestError::Closing => self.cause(error),
            RequestError::SweepStopped { chunk: Some(chunk), fault, .. } => {
                self.cause(super::render::fault(None, chunk, fault))
            }
            RequestError::GcRunning | RequestError::GcSuperseded => self.cause(error),
            RequestError::NotFound
            | RequestError::Missing
            | RequestError::Swept
            | RequestError::SweepStopped { .. }
            | RequestError::Conflict { .. }
            | RequestError::RangeOutside { .. }
            | RequestError::DiskFull
            | RequestError::TooLarge
            | RequestError::Misuse(_) => self,
        }
    }
}

/// The exit code of what the disk said, where it has one of its own.
fn disk_exit(error: DiskError, otherwise: Exit) -> Exit {
    match error {
        DiskError::Full => Exit::DiskFull,
        DiskError::ReadOnly | DiskError::Denied => Exit::Denied,
        DiskError::NotFound | DiskError::Exists | DiskError::Io(_) => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::human_error;
    use dps_core::disk::File;
    use dps_core::disk::damage::{Damage, DamageKind};
    use dps_core::id::{ChunkId, FileId, NodeId};
    use dps_core::keystore::{ChunkFault, Place};
    use dps_core::node::event::FileOrList;
    use dps_core::replica::witness::Because;
    use std::path::PathBuf;

    fn requests() -> Vec<RequestError> {
        let place = Place { volume: 1, offset: 4_096, position: 3 };
        let damage = Damage { file: File::Journal(2), offset: 77, first: 4, last: 9, kind: DamageKind::Broken };
        vec![
            RequestError::NotFound,
            RequestError::Conflict { current: Some(7) },
            RequestError::Conflict { current: None },
            RequestError::RangeOutside { size: 10 },
            RequestError::BadChunk {
                index: Some(2),
                chunk: Box::new(ChunkId::of(b"abc")),
                fault: Box::new(ChunkFault::Mismatch(place)),
            },
            RequestError::LedgerDamaged(Box::new(damage)),
            RequestError::DiskFull,
            RequestError::WriteFailed { file: File::Volume(1), error: DiskError::ReadOnly },
            RequestError::OutcomeUnknown(DiskError::Io(5)),
            RequestError::Missing,
            RequestError::GcRunning,
            RequestError::GcSuperseded,
            RequestError::SweepStopped {
                file: Box::new(FileId::from_bytes([7; 32])),
                chunk: Some(Box::new(ChunkId::of(b"abc"))),
                fault: Box::new(ChunkFault::Mismatch(place)),
            },
            RequestError::Swept,
            RequestError::Busy,
            RequestError::Starting,
            RequestError::Closing,
            RequestError::TooLarge,
            RequestError::Misuse("chunks without credit"),
        ]
    }

    fn others() -> Vec<StoreError> {
        let path = || PathBuf::from("/srv/dps");
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        vec![
            OpenError::NoStore { path: path() }.into(),
            OpenError::NoParent { path: path() }.into(),
            OpenError::NotADirectory { path: path() }.into(),
            OpenError::NotAStore { path: path(), found: String::from("notes.txt") }.into(),
            OpenError::Locked { path: path(), pid: Some(42) }.into(),
            OpenError::Locked { path: path(), pid: None }.into(),
            OpenError::Io { action: "opened", path: path(), source: io(io::ErrorKind::PermissionDenied) }.into(),
            OpenError::Io { action: "created", path: path(), source: io(io::ErrorKind::StorageFull) }.into(),
            StoreError::Halted(HaltReason::NewerFormat { found: 9, supported: 1 }),
            StoreError::Halted(HaltReason::BootRecordLost),
            StoreError::Halted(HaltReason::SnapshotLost { index: 7 }),
            StoreError::Halted(HaltReason::OfGroup),
            StoreError::Halted(HaltReason::RolledBack {
                by: NodeId::from_bytes([2; 20]),
                because: Because::EarlierStart { known: 7 },
            }),
            StoreError::Halted(HaltReason::UnknownCommand { index: 7 }),
            StoreError::Halted(HaltReason::Unreadable { file: FileOrList::List, error: DiskError::Denied }),
            StoreError::Source(io(io::ErrorKind::UnexpectedEof)),
            StoreError::Closed,
            StoreError::Unexpected("a put"),
        ]
    }

    /// Golden: codes and exit codes never change, and every error says what happened, why and what to do.
    #[test]
    fn every_error_as_it_is_printed() {
        let requests = requests().into_iter().map(StoreError::Request);
        let mut text = String::new();
        for error in requests.chain(others()) {
            let failure = Failure::store("notes/hi.txt", error);
            assert!(failure.hint.is_some(), "{} says what to do", failure.code);
            text += &format!("exit {}\n{}\n", failure.exit as u8, human_error(&failure));
        }
        for kind in [
            io::ErrorKind::NotFound,
            io::ErrorKind::NotADirectory,
            io::ErrorKind::IsADirectory,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull,
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::Other,
        ] {
            let failure = Failure::file("the source", Path::new("a.bin"), &kind.into());
            assert!(failure.hint.is_some(), "{} says what to do", failure.code);
            text += &format!("exit {}\n{}\n", failure.exit as u8, human_error(&failure));
        }
        let failure = Failure::name(b"a\xff", NameError::NotUtf8 { offset: 1 });
        assert!(failure.hint.is_some(), "{} says what to do", failure.code);
        text += &format!("exit {}\n{}", failure.exit as u8, human_error(&failure));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        let exits = [
            Exit::Failed,
            Exit::Usage,
            Exit::Partial,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Busy,
            Exit::Denied,
            Exit::Damaged,
            Exit::NoStore,
            Exit::Locked,
            Exit::NewerFormat,
            Exit::DiskFull,
            Exit::Interrupted,
            Exit::BrokenPipe,
        ];
        for exit in exits {
            let line = format!("\n  {:<5}", exit as u8);
            assert!(super::super::args::EXIT_CODES.contains(&line), "{exit:?}");
        }
    }
}
