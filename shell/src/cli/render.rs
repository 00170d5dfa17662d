//! The only file that prints: results to standard output, errors to standard error.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Stdout, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use dps_core::disk::File;
use dps_core::disk::damage::{Damage, DamageKind};
use dps_core::disk::stray::Stray;
use dps_core::id::ChunkId;
use dps_core::keystore::{ChunkFault, Place};
use dps_core::ledger::file::{FileStat, Reason, TombstoneStat};
use dps_core::ledger::name::{CONTENT_PREFIX, Name};
use dps_core::node::{Finding, GcSummary, StoredFile, Usage, VerifySummary};
use serde::Serialize;

use super::datetime;
use super::failure::{Exit, Failure};
use super::json::{self, Line};
use crate::disk::path::relative;

/// Prints what commands find out.
#[derive(Debug)]
pub(crate) struct Renderer {
    out: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    /// Standard output carries the bytes of a file, so nothing else may go there.
    data_only: bool,
}

impl Renderer {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { out: BufWriter::new(io::stdout()), json, quiet, data_only: false }
    }

    /// From now on standard output belongs to the bytes of a file.
    pub(crate) fn leave_stdout(&mut self) {
        self.data_only = true;
    }

    /// A put that is durable.
    pub(crate) fn stored(&mut self, stored: &StoredFile) -> Result<(), Failure> {
        let StoredFile { stat, new_bytes } = stored;
        self.confirm("stored", json::Stored::new(stored), || {
            let name = stat.name.as_ref().map_or_else(String::new, |name| printable(name.as_str()));
            format!("stored {name}: {} bytes, {new_bytes} of them new, {CONTENT_PREFIX}{}", stat.size, stat.file)
        })
    }

    /// A file that was written to `path`.
    pub(crate) fn fetched(&mut self, stat: &FileStat, path: &Path, first: u64, bytes: u64) -> Result<(), Failure> {
        let output = path.to_string_lossy().into_owned();
        let shown = printable(&output);
        let body = json::Fetched { stat: json::Stat::new(stat), output, first, bytes };
        self.confirm("fetched", body, || format!("fetched {shown}: {bytes} bytes, all checked"))
    }

    /// A member that takes part and serves files.
    pub(crate) fn serving(&mut self, member: u8, address: SocketAddr) -> Result<(), Failure> {
        let body = json::Serving { member, address };
        self.confirm("serving", body, || format!("member {member} serves files at http://{address}/v1/files/"))
    }

    /// A name that is gone.
    pub(crate) fn deleted(&mut self, name: &Name) -> Result<(), Failure> {
        let body = json::Deleted { name: name.as_str() };
        self.confirm("deleted", body, || format!("removed {}", printable(name.as_str())))
    }

    /// One name of a listing.
    pub(crate) fn listed(&mut self, stat: &FileStat, long: bool) -> Result<(), Failure> {
        self.result("item", json::Stat::new(stat), || {
            let name = stat.name.as_ref().map_or_else(String::new, |name| printable(name.as_str()));
            if !long {
                return name;
            }
            let missing = if stat.missing { "  (missing)" } else { "" };
            format!("{:>14}  {}  {}  {name}{missing}", stat.size, datetime::seconds(stat.stored_at), stat.file)
        })
    }

    /// One version that can be undeleted.
    pub(crate) fn listed_deleted(&mut self, stat: &TombstoneStat) -> Result<(), Failure> {
        self.result("tombstone", json::Tombstone::new(stat), || human_tombstone(stat))
    }

    /// What a collection has come to.
    pub(crate) fn collected(&mut self, summary: &GcSummary) -> Result<(), Failure> {
        self.confirm("collected", json::Collected::new(summary), || human_collected(summary))
    }

    /// A name that means again what it meant before.
    pub(crate) fn restored(&mut self, stat: &FileStat) -> Result<(), Failure> {
        self.confirm("restored", json::Stat::new(stat), || {
            let name = stat.name.as_ref().map_or_else(String::new, |name| printable(name.as_str()));
            format!("restored {name}: {} bytes, {CONTENT_PREFIX}{}", stat.size, stat.file)
        })
    }

    /// Everything was given up.
    pub(crate) fn cleaned(&mut self, deep: bool) -> Result<(), Failure> {
        let human = if deep { "everything is gone" } else { "all contents are given up, names stay" };
        self.confirm("cleaned", json::Cleaned { deep }, || String::from(human))
    }

    /// How much is stored.
    pub(crate) fn stats(&mut self, usage: &Usage) -> Result<(), Failure> {
        self.result("stats", json::Space::new(usage), || human_usage(usage))
    }

    /// The end of a listing.
    pub(crate) fn listed_all(&mut self, items: u64) -> Result<(), Failure> {
        if self.json { self.line(&Line::new("summary", json::Count { items })) } else { Ok(()) }
    }

    /// What is known of a file.
    pub(crate) fn stat(&mut self, stat: &FileStat) -> Result<(), Failure> {
        self.result("stat", json::Stat::new(stat), || human_stat(stat))
    }

    /// Something wrong with the store.
    pub(crate) fn finding(&mut self, finding: &Finding) -> Result<(), Failure> {
        self.result("finding", json::Found::new(finding), || human_finding(finding))
    }

    /// The end of a verification.
    pub(crate) fn verified(&mut self, summary: &VerifySummary) -> Result<(), Failure> {
        self.confirm("summary", json::Verified::new(summary), || {
            let VerifySummary { names, chunks, bytes, findings } = summary;
            format!("checked {names} names, {chunks} chunks, {bytes} bytes: {findings} findings")
        })
    }

    /// A failure. Nothing can be done about one of printing it.
    pub(crate) fn error(&mut self, failure: &Failure) {
        if failure.exit == Exit::BrokenPipe {
            return;
        }
        if !self.json {
            let _ = io::stderr().write_all(human_error(failure).as_bytes());
            return;
        }
        let line = Line::new("error", json::Error::new(failure));
        if self.data_only {
            let text = serde_json::to_string(&line).map(|text| text + "\n").unwrap_or_default();
            let _ = io::stderr().write_all(text.as_bytes());
        } else {
            let _ = self.line(&line);
        }
    }

    /// What the parser of the command line has to say: help to standard output, anything else to standard error.
    pub(crate) fn usage(error: &clap::Error) {
        let text = error.render().to_string();
        // A reader that has gone is no reason to fail.
        let _ = if error.use_stderr() {
            let text = text.strip_prefix("error: ").map_or(text.clone(), |rest| format!("error[E_USAGE]: {rest}"));
            io::stderr().write_all(text.as_bytes())
        } else {
            io::stdout().write_all(text.as_bytes())
        };
    }

    /// Hands over everything printed so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::stdout(&error))
    }

    /// Something that was asked for: printed unless standard output is taken.
    fn result<T: Serialize>(
        &mut self,
        kind: &'static str,
        body: T,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.data_only {
            return Ok(());
        }
        if self.json {
            return self.line(&Line::new(kind, body));
        }
        writeln!(self.out, "{}", human()).map_err(|error| Failure::stdout(&error))
    }

    /// Something that went well: people can do without.
    fn confirm<T: Serialize>(
        &mut self,
        kind: &'static str,
        body: T,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.quiet && !self.json { Ok(()) } else { self.result(kind, body, human) }
    }

    fn line<T: Serialize>(&mut self, line: &Line<T>) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, line).map_err(|error| Failure::stdout(&error.into()))?;
        self.out.write_all(b"\n").map_err(|error| Failure::stdout(&error))
    }
}

/// `text` on one line, whatever is in it.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

/// A failure as it is printed, with its line ends.
pub(crate) fn human_error(failure: &Failure) -> String {
    let mut text = format!("error[{}]: {}\n", failure.code, printable(&failure.what));
    for (label, line) in [("cause", &failure.cause), ("hint", &failure.hint)] {
        if let Some(line) = line {
            let _ = writeln!(text, "  {label}: {}", printable(line));
        }
    }
    text
}

/// What is wrong with a chunk, and where.
pub(crate) fn fault(index: Option<u32>, chunk: &ChunkId, fault: &ChunkFault) -> String {
    let which = match index {
        Some(index) => format!("chunk {index} ({chunk})"),
        None => format!("a manifest chunk ({chunk})"),
    };
    let at = |place: &Place| {
        let Place { volume, offset, position } = place;
        format!("{} at byte {offset} (record {position})", relative(File::Volume(*volume)))
    };
    match fault {
        ChunkFault::Missing { lost_volumes } if lost_volumes.is_empty() => format!("{which} is in no volume"),
        ChunkFault::Missing { lost_volumes } => {
            let volumes: Vec<_> = lost_volumes.iter().map(|number| relative(File::Volume(*number))).collect();
            format!("{which} is missing; records are lost of {}", volumes.join(", "))
        }
        ChunkFault::Mismatch(place) => format!("{which} has other bytes than were stored, in {}", at(place)),
        ChunkFault::Unreadable(place, error) => format!("{which} can't be read, in {}: {error}", at(place)),
        ChunkFault::Malformed => format!("{which} is not what its manifest says: the file was described wrongly"),
    }
}

/// Records that are lost, with the path of the file.
pub(crate) fn damage(damage: &Damage) -> String {
    let Damage { file, offset, first, last, kind } = damage;
    let lost = format!("records {first} to {last} are lost");
    match kind {
        DamageKind::Broken => format!("{} is broken at byte {offset}: {lost}", relative(*file)),
        DamageKind::Truncated => format!("{} ends at byte {offset}, too early: {lost}", relative(*file)),
        DamageKind::Missing => format!("{} is missing: {lost}", relative(*file)),
        DamageKind::Unreadable => format!("{} can't be read from byte {offset} on: {lost}", relative(*file)),
    }
}

/// A file under a wrong name, with its path and what to do.
fn stray(stray: &Stray) -> String {
    let Stray { file, origin } = stray;
    let file = relative(*file);
    match origin.map(relative) {
        Some(origin) => format!("{file} is {origin} under another name: move it back there if that one is missing"),
        None => format!("{file} is no file of this store: take it out of the directory"),
    }
}

fn human_finding(finding: &Finding) -> String {
    match finding {
        Finding::Damage(found) => format!("damaged: {}", damage(found)),
        Finding::Stray(found) => format!("astray: {}", stray(found)),
        Finding::Chunk { name, file, index, chunk, fault: found } => {
            let subject = match name {
                Some(name) => printable(name.as_str()),
                None => format!("{CONTENT_PREFIX}{file}"),
            };
            format!("damaged: {subject}: {}", fault(*index, chunk, found))
        }
    }
}

fn human_stat(stat: &FileStat) -> String {
    let mut text = String::new();
    if let Some(name) = &stat.name {
        let _ = writeln!(text, "name     {}", printable(name.as_str()));
    }
    let _ = writeln!(text, "sha256   {}", stat.file);
    let _ = writeln!(text, "size     {} bytes", stat.size);
    if stat.name.is_some() {
        let _ = writeln!(text, "version  {}", stat.version);
        let _ = writeln!(text, "stored   {}", datetime::seconds(stat.stored_at));
    }
    let _ = match stat.chunks {
        0 => writeln!(text, "chunks   none, the content is in the ledger"),
        chunks => writeln!(text, "chunks   {chunks} of up to {} bytes", stat.block_bytes),
    };
    let _ = write!(text, "names    {}", stat.names);
    if stat.missing {
        let _ = write!(text, "\nmissing  yes: the content was cleaned away; store it again to bring it back");
    }
    text
}

fn human_tombstone(stat: &TombstoneStat) -> String {
    let TombstoneStat { name, version, went_at, size, reason, missing, .. } = stat;
    let what = match (missing, reason) {
        (true, _) => "cleaned away",
        (false, Reason::Deleted) => "removed",
        (false, Reason::Expired) => "expired",
        (false, Reason::Overwritten) => "replaced",
    };
    format!("{size:>14}  version {version}  {what} {}  {}", datetime::seconds(*went_at), printable(name.as_str()))
}

fn human_collected(summary: &GcSummary) -> String {
    let GcSummary { tombstones, collected, compacted } = summary;
    let mut text = format!("dropped {} chunks of {} bytes", collected.chunks, collected.bytes);
    if *tombstones > 0 {
        let _ = write!(text, " after {tombstones} removed or replaced versions were old enough to go");
    }
    let _ = write!(text, "; {} volumes of {} bytes are gone", compacted.volumes, compacted.bytes);
    text
}

fn human_usage(usage: &Usage) -> String {
    let volumes = &usage.volumes;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "names       {}, of {} contents with {} bytes",
        usage.names, usage.contents, usage.content_bytes
    );
    let _ =
        writeln!(text, "undeletable {} versions, which alone keep {} bytes", usage.tombstones, usage.tombstone_bytes);
    let _ = match usage.damaged_chunks {
        0 => writeln!(text, "chunks      {}", volumes.chunks),
        damaged => writeln!(text, "chunks      {}, of which {damaged} were found damaged", volumes.chunks),
    };
    let _ = writeln!(text, "volumes     {} of {} bytes", usage.volume_count, volumes.file_bytes);
    let _ = writeln!(text, "needed      {} bytes, {} are not", volumes.live_bytes(), volumes.dead_bytes());
    let _ = writeln!(text, "set aside   {} bytes for a full disk", usage.reserve_bytes);
    let _ = match usage.available_bytes {
        Some(bytes) => write!(text, "left        {bytes} bytes of the disk"),
        None => write!(text, "left        unknown, as the disk does not say"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_core::disk::DiskError;
    use dps_core::id::FileId;
    use dps_core::time::WallTime;

    fn stat(name: Option<&str>) -> FileStat {
        FileStat {
            name: name.map(|name| Name::new(name.as_bytes()).unwrap()),
            version: 12,
            stored_at: WallTime::from_nanos(1_700_000_000_123_456_789),
            file: FileId::from_bytes([0xab; 32]),
            size: 131_073,
            block_bytes: 65_536,
            chunks: 3,
            names: 2,
            missing: false,
        }
    }

    fn findings() -> Vec<Finding> {
        let place = Place { volume: 7, offset: 4_096, position: 3 };
        let chunk = |name: Option<&str>, index, fault| Finding::Chunk {
            name: name.map(|name| Name::new(name.as_bytes()).unwrap()),
            file: FileId::from_bytes([1; 32]),
            index,
            chunk: ChunkId::from_bytes([2; 32]),
            fault,
        };
        let damage = |kind| Finding::Damage(Damage { file: File::Journal(2), offset: 512, first: 5, last: 9, kind });
        vec![
            chunk(Some("two\nlines"), Some(4), ChunkFault::Mismatch(place)),
            chunk(None, None, ChunkFault::Missing { lost_volumes: vec![1, 2] }),
            chunk(Some("a"), Some(0), ChunkFault::Missing { lost_volumes: vec![] }),
            chunk(Some("a"), Some(0), ChunkFault::Unreadable(place, DiskError::Io(5))),
            damage(DamageKind::Broken),
            damage(DamageKind::Truncated),
            damage(DamageKind::Missing),
            damage(DamageKind::Unreadable),
            Finding::Stray(Stray { file: File::Volume(78), origin: Some(File::Volume(2)) }),
            Finding::Stray(Stray { file: File::Journal(9), origin: None }),
        ]
    }

    /// Golden: keys of JSON output never change or go.
    #[test]
    fn every_object_of_json_output() {
        let stored = StoredFile { stat: stat(Some("b")), new_bytes: 5 };
        let summary = VerifySummary { names: 1, chunks: 2, bytes: 3, findings: 4 };
        let failure = Failure::new("E_NAME", Exit::Usage, "no name").cause("empty");
        let mut lines = vec![
            serde_json::to_string(&Line::new("stored", json::Stored::new(&stored))),
            serde_json::to_string(&Line::new("stat", json::Stat::new(&stat(None)))),
            serde_json::to_string(&Line::new("deleted", json::Deleted { name: "a\"b" })),
            serde_json::to_string(&Line::new("summary", json::Count { items: 9 })),
            serde_json::to_string(&Line::new("summary", json::Verified::new(&summary))),
            serde_json::to_string(&Line::new("error", json::Error::new(&failure))),
        ];
        let fetched =
            json::Fetched { stat: json::Stat::new(&stored.stat), output: String::from("/tmp/b"), first: 1, bytes: 2 };
        lines.push(serde_json::to_string(&Line::new("fetched", fetched)));
        for finding in &findings() {
            lines.push(serde_json::to_string(&Line::new("finding", json::Found::new(finding))));
        }
        let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_people_read() {
        let mut lines = vec![human_stat(&stat(Some("tab\there"))), human_stat(&stat(None))];
        lines.extend(findings().iter().map(human_finding));
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn control_characters_can_not_forge_a_line() {
        assert_eq!(printable("a\nb\u{1b}[2J\u{85}\u{e9}"), "a\\nb\\u{1b}[2J\\u{85}\u{e9}");
    }
}
