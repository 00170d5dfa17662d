//! Conversations from the clients' side: what they send, and what they may be answered.

use std::collections::VecDeque;

use bytes::Bytes;
use dps_core::config::Geometry;
use dps_core::crypto::hash::sha256;
use dps_core::id::{FileId, RequestId, VerifiedChunk};
use dps_core::keystore::ingest::{FileDigest, Ingest};
use dps_core::ledger::file::{Expect, FileStat, Target};
use dps_core::ledger::name::Name;
use dps_core::node::{Reply, Request, RequestError};

use super::model::{Model, WriteId};

/// A conversation that has not had its last answer.
#[derive(Debug)]
pub(crate) enum Talk {
    Put(Box<Put>),
    Get(Get),
    Verify(Verify),
    Delete { name: Name, write: WriteId },
    List { prefix: String, after: Option<Name>, limit: u32 },
    Stat(Target),
    Close,
}

#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) name: Name,
    pub(crate) expect: Expect,
    /// Blocks that an honest client has yet to send.
    pub(crate) blocks: VecDeque<Bytes>,
    /// Bytes it may send.
    pub(crate) credit: u64,
    /// All bytes sent before the commit.
    pub(crate) sent: Vec<u8>,
    pub(crate) committed: Option<(WriteId, FileDigest)>,
    pub(crate) cancelled: bool,
}

#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) target: Target,
    /// What must still come, once it is known.
    expected: Option<VecDeque<u8>>,
    pub(crate) granted: u64,
    pub(crate) cancelled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Verify {
    pub(crate) granted: u64,
    pub(crate) cancelled: bool,
}

impl Put {
    /// A put of `content`, cut as an honest client does.
    pub(crate) fn new(geometry: &Geometry, name: Name, expect: Expect, content: &[u8], piped: bool) -> Self {
        let mut ingest = Ingest::new(geometry, (!piped).then_some(content.len() as u64));
        let mut blocks = Vec::new();
        ingest.push(Bytes::copy_from_slice(content), &mut blocks).expect("as long as declared");
        ingest.finish(&mut blocks).expect("as long as declared");
        let blocks = blocks.into();
        Self { name, expect, blocks, credit: 0, sent: Vec::new(), committed: None, cancelled: false }
    }

    /// Sends a chunk, whether it is allowed to or not.
    pub(crate) fn send(&mut self, chunk: Bytes) -> Request {
        self.credit = self.credit.saturating_sub(chunk.len() as u64);
        if self.committed.is_none() {
            self.sent.extend_from_slice(&chunk);
        }
        Request::PutChunk(VerifiedChunk::new(chunk))
    }

    /// Sends a commit: of what was sent, or of a file that no other put names.
    pub(crate) fn commit(&mut self, model: &mut Model, lie: Option<FileDigest>) -> Request {
        let honest = FileDigest { file: FileId::from_bytes(sha256(&self.sent)), size: self.sent.len() as u64 };
        let digest = lie.unwrap_or(honest);
        if self.committed.is_none() {
            model.know(digest.file, self.sent.clone());
            self.committed = Some((model.begin(&self.name, Some(digest.file)), digest));
        }
        Request::PutCommit(digest)
    }

    /// What an honest client sends next, if it may.
    pub(crate) fn go_on(&mut self, model: &mut Model) -> Option<Request> {
        if self.committed.is_some() || self.cancelled {
            return None;
        }
        match self.blocks.front() {
            Some(block) if block.len() as u64 > self.credit => None,
            Some(_) => {
                let block = self.blocks.pop_front().expect("just looked at");
                Some(self.send(block))
            }
            None => Some(self.commit(model, None)),
        }
    }
}

impl Get {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target, expected: None, granted: 0, cancelled: false }
    }
}

/// What the judge knows besides the conversation.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) model: &'a mut Model,
    /// Whether the disk has refused a read, so that a start may have missed what it should have seen.
    pub(crate) doubtful: bool,
}

impl Talk {
    /// Judges an answer. `last` is whether it ends the conversation.
    pub(crate) fn answered(&mut self, reply: Result<Reply, RequestError>, last: bool, bench: &mut Bench<'_>) {
        match reply {
            Ok(reply) => {
                let ends =
                    !matches!(reply, Reply::Credit { .. } | Reply::Opened { .. } | Reply::Data(_) | Reply::Finding(_));
                assert_eq!(last, ends, "{reply:?} to {self:?}");
                self.succeeded(reply, bench);
            }
            Err(error) => {
                assert!(last, "an error is the last answer");
                assert!(!error.to_string().is_empty() && error.code().starts_with("E_"));
                self.failed(&error, bench);
            }
        }
    }

    fn succeeded(&mut self, reply: Reply, bench: &mut Bench<'_>) {
        match (self, reply) {
            (Self::Put(put), Reply::Credit { bytes }) => put.credit += bytes,
            (Self::Put(put), Reply::Stored(stored)) => {
                let (write, digest) = put.committed.expect("nothing is stored that was not committed");
                assert_eq!((stored.stat.file, stored.stat.size), (digest.file, digest.size), "what was committed");
                assert_eq!(stored.stat.name.as_ref(), Some(&put.name));
                assert!(stored.new_bytes <= digest.size, "no more is new than there is");
                let absent = bench.doubtful || bench.model.may_mean(&put.name, None);
                assert!(put.expect != Expect::Absent || absent, "{} was there", put.name);
                bench.model.acknowledge(&put.name, write);
            }
            (Self::Put(put), Reply::Cancelled) => {
                assert!(put.cancelled, "nobody cancelled");
                if let Some((write, _)) = put.committed {
                    bench.model.refuse(&put.name, write);
                }
            }
            (Self::Get(get), Reply::Opened { stat, first, bytes }) => get.opened(&stat, first, bytes, bench),
            (Self::Get(get), Reply::Data(data)) => get.data(&data),
            (Self::Get(get), Reply::Complete) => {
                let rest = get.expected.as_ref().expect("opened before");
                assert!(rest.is_empty(), "{} bytes are missing", rest.len());
            }
            (Self::Get(get), Reply::Cancelled) => assert!(get.cancelled, "nobody cancelled"),
            (Self::Verify(verify), Reply::Finding(finding)) => {
                assert!(bench.doubtful, "nothing is wrong with the store: {finding:?}");
                verify.granted = verify.granted.checked_sub(1).expect("no more findings than granted");
            }
            (Self::Verify(_), Reply::Verified(summary)) => {
                assert!(bench.doubtful || summary.findings == 0, "nothing is wrong with the store");
            }
            (Self::Verify(verify), Reply::Cancelled) => assert!(verify.cancelled, "nobody cancelled"),
            (Self::Delete { name, write }, Reply::Deleted) => bench.model.acknowledge(name, *write),
            (Self::List { prefix, after, limit }, Reply::Page { entries, more }) => {
                judge_page(prefix, after.as_ref(), *limit, &entries, more, bench);
            }
            (Self::Stat(target), Reply::Stat(stat)) => judge_stat(target, &stat, bench),
            (Self::Close, Reply::Closed) => {}
            (talk, reply) => panic!("{reply:?} is no answer to {talk:?}"),
        }
    }

    fn failed(&mut self, error: &RequestError, bench: &mut Bench<'_>) {
        let damage = matches!(error, RequestError::BadChunk { .. } | RequestError::LedgerDamaged(_));
        assert!(bench.doubtful || !damage, "nothing is wrong with the store: {error:?} to {self:?}");
        let unknown = matches!(error, RequestError::OutcomeUnknown(_));
        match self {
            Self::Put(put) => match put.committed {
                Some((write, _)) if !unknown => bench.model.refuse(&put.name, write),
                Some(_) => {}
                None => assert!(!unknown, "nothing was committed"),
            },
            Self::Delete { name, write } if !unknown => bench.model.refuse(name, *write),
            Self::Delete { .. } => {}
            Self::Get(Get { target, .. }) | Self::Stat(target) => {
                if let (Target::Name(name), RequestError::NotFound) = (target, error) {
                    let absent = bench.doubtful || bench.model.may_mean(name, None);
                    assert!(absent, "{name} was acknowledged and is gone");
                }
            }
            Self::Verify(_) | Self::List { .. } | Self::Close => {}
        }
    }

    /// What an honest client sends next without waiting for anything, if there is something.
    pub(crate) fn go_on(&mut self, model: &mut Model) -> Option<Request> {
        match self {
            Self::Put(put) => put.go_on(model),
            Self::Get(get) if get.granted < 1 << 40 && !get.cancelled => {
                get.granted += 1 << 40;
                Some(Request::GetMore { bytes: 1 << 40 })
            }
            Self::Verify(verify) if verify.granted == 0 && !verify.cancelled => {
                verify.granted += 100;
                Some(Request::VerifyMore { findings: 100 })
            }
            Self::Get(_) | Self::Verify(_) => None,
            Self::Delete { .. } | Self::List { .. } | Self::Stat(_) | Self::Close => None,
        }
    }

    /// Sends a cancel.
    pub(crate) fn cancel(&mut self) -> Request {
        match self {
            Self::Put(put) => put.cancelled = true,
            Self::Get(get) => get.cancelled = true,
            Self::Verify(verify) => verify.cancelled = true,
            Self::Delete { .. } | Self::List { .. } | Self::Stat(_) | Self::Close => {}
        }
        Request::Cancel
    }
}

impl Get {
    fn opened(&mut self, stat: &FileStat, first: u64, bytes: u64, bench: &mut Bench<'_>) {
        judge_stat(&self.target, stat, bench);
        let content = bench.model.content(&stat.file);
        let bound = |at: u64| usize::try_from(at).expect("files are small");
        let part = &content[bound(first)..bound(first + bytes)];
        let earlier = self.expected.replace(part.iter().copied().collect());
        assert!(earlier.is_none(), "opened once");
    }

    fn data(&mut self, data: &[u8]) {
        assert!(!data.is_empty(), "data is some data");
        self.granted = self.granted.checked_sub(data.len() as u64).expect("no more data than granted");
        let rest = self.expected.as_mut().expect("opened before");
        assert!(rest.len() >= data.len(), "more than the file has");
        assert!(rest.drain(..data.len()).eq(data.iter().copied()), "other bytes than were stored");
    }
}

/// A file that is known is one that was put, under a name that may mean it.
fn judge_stat(target: &Target, stat: &FileStat, bench: &Bench<'_>) {
    match target {
        Target::Name(name) => {
            assert_eq!(stat.name.as_ref(), Some(name), "what was asked for");
            let may = bench.doubtful || bench.model.may_mean(name, Some(stat.file));
            assert!(may, "{name} does not mean {:?}", stat.file);
        }
        Target::Content(file) => assert_eq!(stat.file, *file, "what was asked for"),
    }
    assert_eq!(bench.model.content(&stat.file).len() as u64, stat.size, "as long as what was put");
}

fn judge_page(prefix: &str, after: Option<&Name>, limit: u32, entries: &[FileStat], more: bool, bench: &Bench<'_>) {
    let names: Vec<&Name> = entries.iter().map(|stat| stat.name.as_ref().expect("names are listed")).collect();
    assert!(names.len() <= limit as usize, "a page has its limit");
    assert!(names.is_sorted_by(|a, b| a < b), "names come in order");
    assert!(names.iter().all(|name| name.as_str().starts_with(prefix)), "with their prefix");
    assert!(after.is_none_or(|after| names.iter().all(|name| *name > after)), "after the one named");
    for stat in entries {
        judge_stat(&Target::Name(stat.name.clone().expect("just seen")), stat, bench);
    }
    if more || bench.doubtful {
        return;
    }
    for name in bench.model.names() {
        let asked = name.as_str().starts_with(prefix) && after.is_none_or(|after| name > *after);
        let owed = asked && !bench.model.may_mean(&name, None);
        assert!(!owed || names.contains(&&name), "{name} was acknowledged and is not listed");
    }
}

/// The identifier of the conversation that a script means by a number: an open one, or one that never was.
pub(crate) fn pick(open: &[RequestId], choice: usize) -> RequestId {
    open.get(choice % (open.len() + 1)).copied().unwrap_or(RequestId(u64::MAX - choice as u64))
}
