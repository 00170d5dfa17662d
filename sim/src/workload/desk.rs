//! What a client's side of a conversation has at hand: the oracle that judges answers, and the way to send requests.

use std::collections::BTreeMap;

use dps_core::config::Geometry;
use dps_core::disk::File;
use dps_core::id::{ChunkId, FileId};
use dps_core::keystore::manifest_builder::chunks_max;
use dps_core::ledger::file::{FileStat, Target, TombstoneStat};
use dps_core::ledger::name::Name;
use dps_core::node::{Reply, Request, RequestError};
use dps_core::rng::Rng;
use dps_core::time::WallTime;

use crate::check::damage::Damages;
use crate::check::{Findings, conservation, crash, damage, durable, full};
use crate::content::Library;
use crate::disk::FileClass;
use crate::model::{Mark, Model, Reader, WriteId};
use crate::world::View;

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As the client wished, or with an answer that its request deserves.
    Done,
    /// A chunk is bad, and that is excused.
    BadChunk,
    /// Refused for a reason that is excused; its code.
    Refused(&'static str),
    /// Not now.
    Again,
}

/// Everything that is known of what the store should hold.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) model: Model,
    pub(crate) library: Library,
    pub(crate) damages: Damages,
    pub(crate) findings: Findings,
    pub(crate) geometry: Geometry,
    pub(crate) ingest_bytes_max: u64,
    /// Collections that were asked for and have not ended.
    pub(crate) collections: u32,
    /// What went before this ledger time may have been reaped.
    pub(crate) reaped_before: WallTime,
    /// By content, a lease that no acknowledged put of it was below.
    pub(crate) leases: BTreeMap<FileId, u64>,
    /// The largest version that was acknowledged.
    pub(crate) version_max: u64,
    /// Where the last page of a listing ended, if there are further ones.
    pub(crate) list_after: Option<Name>,
    /// Chunks that gets reported as bad since the last verification of everything began.
    pub(crate) bad: Vec<(FileId, ChunkId)>,
    /// Chunks and damaged files that the last verification of everything reported.
    pub(crate) verified_bad: Vec<ChunkId>,
}

/// One conversation's access to everything around it.
pub(crate) struct Desk<'a> {
    pub(crate) oracle: &'a mut Oracle,
    pub(crate) view: &'a View<'a>,
    pub(crate) rng: &'a mut Rng,
    /// The conversation.
    pub(crate) id: u64,
    /// When it was opened.
    pub(crate) opened_at: u64,
    /// Whether it writes nothing.
    pub(crate) reads: bool,
    /// Requests to send, each with nanoseconds of hesitation.
    pub(crate) out: Vec<(Request, u64)>,
    /// Set once the conversation is over.
    pub(crate) outcome: Option<Outcome>,
}

/// A client's side of one kind of conversation.
pub(crate) trait Conversation {
    /// Sends what opens it.
    fn open(&mut self, desk: &mut Desk<'_>);
    /// Takes an answer. When `last`, [`Desk::outcome`] must be set by it.
    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool);
    /// Takes an error, which is always the last answer. Returns the outcome when the error fits the request.
    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome>;
}

impl Desk<'_> {
    pub(crate) fn send(&mut self, request: Request) {
        self.out.push((request, 0));
    }

    pub(crate) fn send_later(&mut self, request: Request, hesitation_ns: u64) {
        self.out.push((request, hesitation_ns));
    }

    pub(crate) fn findings(&mut self) -> &mut Findings {
        &mut self.oracle.findings
    }

    pub(crate) fn mark(&self) -> Mark {
        self.oracle.model.mark()
    }

    /// The epoch of the ledger: no put that it takes from now on has a smaller lease.
    pub(crate) fn epoch(&self) -> u64 {
        self.view.holdings.map_or(0, |holdings| holdings.ledger.epoch())
    }

    /// An answer that has no place in this conversation.
    pub(crate) fn unexpected(&mut self, answer: &impl std::fmt::Debug) {
        let answer: String = format!("{answer:?}").chars().take(300).collect();
        conservation::unexpected(self.id, self.view.at, &answer, &mut self.oracle.findings);
    }

    /// Judges an error that every request may get.
    pub(crate) fn judge(&mut self, error: &RequestError) -> Outcome {
        if self.reads {
            full::check(self.id, error, self.view.at, &mut self.oracle.findings);
        }
        if damage::is_excused(error, self.view.disk) != Some(true) {
            let text = format!("conversation {} failed without cause: {error:?}", self.id);
            self.oracle.findings.correctness("D1", self.view.at, text);
        }
        match error {
            RequestError::Busy | RequestError::Starting | RequestError::Closing => Outcome::Again,
            _ => Outcome::Refused(error.code()),
        }
    }

    /// Somebody saw what a name means.
    pub(crate) fn observe(&mut self, name: &Name, file: Option<FileId>, version: Option<u64>, since: Mark) {
        // A start that can't write shows the tail that it found without making it durable, so that a loss of power may
        // still take what was never acknowledged: such a reading decides nothing.
        let decides = !self.view.disk.is_refusing(false);
        let reader = Reader { incarnation: self.view.incarnation, decides };
        if let Err(why) = self.oracle.model.observe(name, file, version, since, reader) {
            durable::refuted(name, file, why, self.view.at, &mut self.oracle.findings);
        }
    }

    /// A write was refused: it must not have taken place.
    pub(crate) fn refuse(&mut self, name: &Name, write: WriteId) {
        if !self.oracle.model.refuse(name, write) {
            crash::refused_but_seen(name, self.view.at, &mut self.oracle.findings);
        }
    }

    /// A write failed: it did not take place, or nobody says.
    pub(crate) fn not_done(&mut self, name: &Name, write: WriteId, error: &RequestError) {
        if matches!(error, RequestError::OutcomeUnknown(_)) {
            self.oracle.model.lose_sight(name, write);
        } else {
            self.refuse(name, write);
        }
    }

    /// Whether a content is missing, as somebody saw it just now.
    pub(crate) fn check_missing(&mut self, file: FileId, missing: bool) {
        if self.is_ledger_harmed() {
            return;
        }
        let (may, must) = self.oracle.model.is_missing(file);
        if (missing && !may) || (!missing && must) {
            let (what, at) = (format!("whether file {file} is missing"), self.view.at);
            let (found, expected) = (missing.to_string(), (!missing).to_string());
            durable::differs(&what, &found, &expected, at, &mut self.oracle.findings);
        } else if !self.view.disk.is_refusing(false) {
            self.oracle.model.observe_missing(file, missing);
        }
    }

    /// Somebody was told that what a target means is missing.
    pub(crate) fn target_missing(&mut self, target: &Target, since: Mark) -> Outcome {
        let files: Vec<FileId> = match target {
            Target::Content(file) => vec![*file],
            Target::Name(name) => self.oracle.model.possible(name, since).into_iter().flatten().collect(),
        };
        match files[..] {
            [only] => self.check_missing(only, true),
            _ if self.is_ledger_harmed() || files.iter().any(|file| self.oracle.model.is_missing(*file).0) => {}
            _ => {
                let (what, at) = (format!("what {target:?} means"), self.view.at);
                durable::differs(&what, "missing", "what was never cleaned", at, &mut self.oracle.findings);
            }
        }
        Outcome::Done
    }

    /// What is known of a tombstone by its content alone.
    pub(crate) fn check_tombstone(&mut self, stat: &TombstoneStat) {
        let size = self.oracle.library.find(stat.file).map(|content| content.bytes.len() as u64);
        if size != Some(stat.size) {
            let (found, expected, at) = (stat.size.to_string(), format!("{size:?}"), self.view.at);
            durable::differs("the size of what a tombstone keeps", &found, &expected, at, &mut self.oracle.findings);
        }
        self.check_missing(stat.file, stat.missing);
    }

    /// A conflict that was answered to a write with a condition: whether the name can have had that version.
    pub(crate) fn conflict(&mut self, name: &Name, current: Option<u64>) {
        let since = self.mark();
        let possible = self.oracle.model.possible(name, since);
        let fits = match current {
            None => possible.contains(&None),
            Some(_) => possible.iter().any(Option::is_some),
        };
        let known = self.oracle.model.version(name);
        if !fits || (known.is_some() && current.is_some() && known != current) {
            let (found, expected) = (format!("{current:?}"), format!("{known:?} of {possible:?}"));
            let what = format!("the version of {name:?} in a conflict");
            durable::differs(&what, &found, &expected, self.view.at, &mut self.oracle.findings);
        }
    }

    /// What is known of a file by its content alone.
    pub(crate) fn check_stat(&mut self, stat: &FileStat, since: Mark) {
        let at = self.view.at;
        let Some(content) = self.oracle.library.find(stat.file).cloned() else {
            let text = format!("file {} was never stored", stat.file);
            return self.oracle.findings.correctness("S3", at, text);
        };
        let size = content.bytes.len() as u64;
        if stat.size != size {
            let (found, expected) = (stat.size.to_string(), size.to_string());
            durable::differs("the size of a file", &found, &expected, at, &mut self.oracle.findings);
        }
        let inline = size <= u64::from(self.oracle.geometry.inline_bytes_max());
        let counts = [false, true].map(|piped| content.cut(piped).chunks.len() as u64);
        let count = u64::from(stat.chunks);
        if (inline && count != 0) || (!inline && !counts.contains(&count)) {
            let (found, expected) = (count.to_string(), format!("{counts:?}"));
            durable::differs("the number of chunks", &found, &expected, at, &mut self.oracle.findings);
        }
        if self.is_ledger_harmed() {
            // Lost entries may have named it or not.
            return;
        }
        let model = &self.oracle.model;
        let (mut least, mut most) = (0, 0);
        for (may, must) in model.names().map(|name| model.means(name, stat.file, since)) {
            most += u64::from(may);
            least += u64::from(must);
        }
        if stat.names < least || stat.names > most {
            let (found, expected) = (stat.names.to_string(), format!("{least} to {most}"));
            durable::differs("the number of names of a file", &found, &expected, at, &mut self.oracle.findings);
        }
        self.check_missing(stat.file, stat.missing);
    }

    /// Whether entries of the ledger may be lost, so that names can't be trusted.
    pub(crate) fn is_ledger_harmed(&self) -> bool {
        self.view.disk.is_class_harmed(FileClass::Journal, 0)
    }

    /// Whether some name certainly means this content since `since`.
    pub(crate) fn has_content(&self, file: FileId, since: Mark) -> bool {
        let model = &self.oracle.model;
        !self.is_ledger_harmed() && model.names().any(|name| model.means(name, file, since).1)
    }

    /// A bad chunk of a file.
    pub(crate) fn bad_chunk(&mut self, file: FileId, error: &RequestError) -> Option<Outcome> {
        let RequestError::BadChunk { chunk, fault, .. } = error else { return None };
        let (disk, times) = (self.view.disk, (self.opened_at, self.view.at));
        self.oracle.damages.chunk(file, **chunk, fault, disk, times, &mut self.oracle.findings);
        self.oracle.bad.push((file, **chunk));
        Some(Outcome::BadChunk)
    }

    /// Whether a manifest can list so many chunks.
    pub(crate) fn fits_manifest(&self, chunks: usize) -> bool {
        chunks as u64 <= chunks_max(&self.oracle.geometry)
    }
}

/// Whether a file is the journal's.
pub(crate) const fn is_journal(file: File) -> bool {
    matches!(file, File::Journal(_) | File::Snapshot(_))
}
