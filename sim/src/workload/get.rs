//! A client that reads a file, or a part of it, with as much credit as it likes.

use std::sync::Arc;

use dps_core::id::FileId;
use dps_core::ledger::file::{FileStat, Target};
use dps_core::node::{ByteRange, Reply, Request, RequestError};

use super::desk::{Conversation, Desk, Outcome};
use crate::check::{bytes, conservation, durable};
use crate::content::Content;
use crate::model::Mark;

/// What to read and how.
#[derive(Clone, Debug)]
pub(crate) struct GetPlan {
    pub(crate) target: Target,
    pub(crate) range: Option<ByteRange>,
    /// Credit for so many bytes at a time.
    pub(crate) grant_bytes: u64,
    /// Nanoseconds of hesitation before each grant.
    pub(crate) hesitation_ns: u64,
    /// Cancel once so many bytes have come.
    pub(crate) cancel_at: Option<u64>,
}

/// The conversation.
#[derive(Debug)]
pub(crate) struct Get {
    plan: GetPlan,
    since: Mark,
    content: Option<Arc<Content>>,
    first: u64,
    total: u64,
    received: u64,
    granted: u64,
    cancelled: bool,
}

/// The first byte and how many come; `None` when the range begins past the end.
fn resolve(range: Option<ByteRange>, size: u64) -> Option<(u64, u64)> {
    match range {
        None => Some((0, size)),
        Some(ByteRange::From { first }) => (first < size).then(|| (first, size - first)),
        Some(ByteRange::FromTo { first, last }) => (first < size).then(|| (first, last.min(size - 1) - first + 1)),
        Some(ByteRange::Last { bytes }) => Some((size - bytes.min(size), bytes.min(size))),
    }
}

impl Get {
    pub(crate) fn new(plan: GetPlan) -> Self {
        Self { plan, since: 0, content: None, first: 0, total: 0, received: 0, granted: 0, cancelled: false }
    }

    fn grant(&mut self, desk: &mut Desk<'_>) {
        if self.cancelled || self.received < self.granted {
            return;
        }
        if self.plan.cancel_at.is_some_and(|at| at <= self.received) {
            self.cancelled = true;
            desk.send_later(Request::Cancel, self.plan.hesitation_ns);
        } else if self.received < self.total {
            self.granted += self.plan.grant_bytes;
            desk.send_later(Request::GetMore { bytes: self.plan.grant_bytes }, self.plan.hesitation_ns);
        }
    }

    fn opened(&mut self, desk: &mut Desk<'_>, stat: &FileStat, first: u64, total: u64) {
        let at = desk.view.at;
        match self.plan.target.clone() {
            Target::Name(name) => desk.observe(&name, Some(stat.file), Some(stat.version), self.since),
            Target::Content(file) if file == stat.file => {
                if !desk.oracle.model.was_possible(file) {
                    let text = format!("file {file} can be read, but was never committed");
                    desk.findings().correctness("S3", at, text);
                }
            }
            Target::Content(file) => {
                let (found, expected) = (stat.file.to_string(), file.to_string());
                durable::differs("the file behind a hash", &found, &expected, at, desk.findings());
            }
        }
        desk.check_stat(stat, self.since);
        self.content = desk.oracle.library.find(stat.file).cloned();
        (self.first, self.total) = (first, total);
        if resolve(self.plan.range, stat.size) != Some((first, total)) {
            let (found, expected) = (format!("{total} from {first}"), format!("{:?}", self.plan.range));
            durable::differs("the range that was opened", &found, &expected, at, desk.findings());
        }
        self.grant(desk);
    }

    fn data(&mut self, desk: &mut Desk<'_>, data: &[u8]) {
        let at = desk.view.at;
        let Some(content) = self.content.clone() else { return };
        bytes::check(&content, self.first + self.received, data, at, desk.findings());
        self.received += data.len() as u64;
        conservation::within("bytes sent", self.received, self.granted.min(self.total), at, desk.findings());
        self.grant(desk);
    }

    /// A file that the target may have meant.
    fn any_file(&self, desk: &Desk<'_>) -> Option<FileId> {
        match (&self.content, &self.plan.target) {
            (Some(content), _) => Some(content.file),
            (None, Target::Content(file)) => Some(*file),
            (None, Target::Name(name)) => desk.oracle.model.possible(name, self.since).into_iter().flatten().next(),
        }
    }

    /// Whether a file of this size, in which the range lies outside, may have been meant.
    fn may_be_outside(&self, desk: &Desk<'_>, size: u64) -> bool {
        let files: Vec<FileId> = match &self.plan.target {
            Target::Content(file) => vec![*file],
            Target::Name(name) => desk.oracle.model.possible(name, self.since).into_iter().flatten().collect(),
        };
        let fits =
            |file: &FileId| desk.oracle.library.find(*file).is_some_and(|content| content.bytes.len() as u64 == size);
        let outside = resolve(self.plan.range, size).is_none() || (size == 0 && self.plan.range.is_some());
        outside && files.iter().any(fits)
    }
}

/// Judges that a target was not found.
pub(super) fn not_found(desk: &mut Desk<'_>, target: &Target, since: Mark) {
    match target {
        Target::Name(name) => desk.observe(name, None, None, since),
        Target::Content(file) => {
            if desk.has_content(*file, since) {
                let text = format!("file {file} is not found by its hash, but a name means it");
                let at = desk.view.at;
                desk.findings().correctness("S1", at, text);
            }
        }
    }
}

impl Conversation for Get {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        desk.send(Request::GetOpen { target: self.plan.target.clone(), range: self.plan.range });
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Opened { stat, first, bytes } if !last && self.content.is_none() => {
                self.opened(desk, &stat, first, bytes);
            }
            Reply::Data(data) if !last && self.content.is_some() => self.data(desk, &data),
            Reply::Complete if last && self.content.is_some() => {
                if self.received != self.total {
                    let (found, expected) = (self.received.to_string(), self.total.to_string());
                    let at = desk.view.at;
                    durable::differs("the bytes of a complete get", &found, &expected, at, desk.findings());
                }
            }
            Reply::Cancelled if last && self.cancelled => {}
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        match error {
            RequestError::NotFound if self.content.is_none() => {
                not_found(desk, &self.plan.target, self.since);
                Some(Outcome::Done)
            }
            RequestError::Missing if self.content.is_none() => Some(desk.target_missing(&self.plan.target, self.since)),
            RequestError::RangeOutside { size } if self.may_be_outside(desk, *size) => Some(Outcome::Done),
            RequestError::BadChunk { .. } => {
                let file = self.any_file(desk)?;
                desk.bad_chunk(file, error)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_at_their_edges() {
        for (range, size, expected) in [
            (None, 0, Some((0, 0))),
            (Some(ByteRange::From { first: 3 }), 4, Some((3, 1))),
            (Some(ByteRange::From { first: 4 }), 4, None),
            (Some(ByteRange::FromTo { first: 1, last: 9 }), 4, Some((1, 3))),
            (Some(ByteRange::FromTo { first: 1, last: 1 }), 4, Some((1, 1))),
            (Some(ByteRange::Last { bytes: 9 }), 4, Some((0, 4))),
            (Some(ByteRange::Last { bytes: 1 }), 4, Some((3, 1))),
        ] {
            assert_eq!(resolve(range, size), expected, "{range:?} of {size}");
        }
    }
}
