//! The writer against what it must never do: sync twice at once, claim what is not durable, seal too early.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::disk::record::{FileKind, HEADER_LEN, Parsed, parse};
use crate::disk::testing::{KEY, Pen, TestDisk, fixed_cases, head};
use crate::disk::{DiskReply, File};

const DONE: DiskResult = Ok(DiskReply::Done);
const BAD: DiskResult = Err(DiskError::Io(5));

/// A body that does not wait for a sync.
const LARGE: &[u8] = &[7; HELD_BYTES_MAX as usize];

fn stamp() -> Stamp {
    Stamp::new(&KEY, FileKind::Journal, 1)
}

fn create() -> Writer {
    Writer::create(stamp(), 1, &head(Predecessor::default()))
}

fn flush(writer: &mut Writer) -> Vec<(WriterOp, DiskRequest)> {
    let mut out = Vec::new();
    writer.flush(&mut out);
    let mut again = Vec::new();
    writer.flush(&mut again);
    assert!(again.is_empty(), "a second flush issues nothing");
    out
}

fn ops(requests: &[(WriterOp, DiskRequest)]) -> Vec<WriterOp> {
    requests.iter().map(|(op, _)| *op).collect()
}

fn headers(stamp: &Stamp, bytes: &[u8]) -> Vec<Header> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let Parsed::Record(header) = parse(stamp, at as u64, &bytes[at..]) else { panic!("no record at byte {at}") };
        at += usize::try_from(header.record_len()).unwrap();
        found.push(header);
    }
    found
}

/// A writer whose first record and its sync are through.
fn started() -> Writer {
    let mut writer = create();
    for (op, _) in flush(&mut writer) {
        writer.done(op, &DONE);
    }
    assert_eq!(writer.durable_through(), 1);
    writer
}

#[test]
fn what_comes_during_a_sync_shares_the_next_one() {
    let mut writer = create();
    let first = flush(&mut writer);
    assert_eq!(ops(&first), [WriterOp::Append { through: 1 }, WriterOp::Sync { through: 1 }]);
    assert!(matches!(first[0].1, DiskRequest::Append { file: File::Journal(1), offset: 0, .. }));
    assert_eq!(first[1].1, DiskRequest::Sync { file: File::Journal(1), directory: true });
    writer.record(Kind::Entry, b"a");
    assert!(flush(&mut writer).is_empty(), "no second sync");
    writer.record(Kind::Entry, b"b");
    assert!(flush(&mut writer).is_empty(), "no second sync");
    writer.done(WriterOp::Append { through: 1 }, &DONE);
    writer.done(WriterOp::Sync { through: 1 }, &DONE);
    assert_eq!(writer.durable_through(), 1, "the sync says nothing of what came later");
    let second = flush(&mut writer);
    assert_eq!(ops(&second), [WriterOp::Append { through: 3 }, WriterOp::Sync { through: 3 }]);
    assert_eq!(second[1].1, DiskRequest::Sync { file: File::Journal(1), directory: false });
    writer.done(WriterOp::Append { through: 3 }, &DONE);
    assert_eq!((writer.durable_through(), writer.is_busy()), (1, true));
    writer.done(WriterOp::Sync { through: 3 }, &DONE);
    assert_eq!((writer.durable_through(), writer.is_busy()), (3, false));
}

/// What comes during a sync waits for it, but not if it is much.
#[test]
fn much_is_appended_while_a_sync_is_outstanding() {
    let mut writer = create();
    let first = ops(&flush(&mut writer));
    let half = vec![7; LARGE.len() / 2];
    writer.record(Kind::Entry, &half);
    assert!(flush(&mut writer).is_empty(), "not yet much");
    writer.record(Kind::Entry, &half);
    assert_eq!(ops(&flush(&mut writer)), [WriterOp::Append { through: 3 }]);
    writer.record(Kind::Entry, &half);
    assert!(flush(&mut writer).is_empty(), "that is counted anew");
    for op in first {
        writer.done(op, &DONE);
    }
    let second = ops(&flush(&mut writer));
    assert_eq!(second, [WriterOp::Append { through: 4 }, WriterOp::Sync { through: 4 }]);
    writer.done(second[0], &DONE);
    writer.done(second[1], &DONE);
    assert_eq!(writer.durable_through(), 1, "the append before is not acknowledged");
    writer.done(WriterOp::Append { through: 3 }, &DONE);
    assert_eq!((writer.durable_through(), writer.is_busy()), (4, false));
}

#[test]
fn many_are_appended_while_a_sync_is_outstanding() {
    let mut writer = create();
    flush(&mut writer);
    for _ in 1..HELD_RECORDS_MAX {
        writer.record(Kind::Entry, b"a");
        assert!(flush(&mut writer).is_empty(), "not yet many");
    }
    writer.record(Kind::Entry, b"a");
    assert_eq!(ops(&flush(&mut writer)), [WriterOp::Append { through: 1 + HELD_RECORDS_MAX }]);
    writer.record(Kind::Entry, b"a");
    assert!(flush(&mut writer).is_empty(), "they are counted anew");
}

#[test]
fn the_footer_waits_for_all_before_it() {
    let mut writer = started();
    writer.record(Kind::Entry, b"a");
    writer.seal();
    assert!(!writer.is_open() && !writer.is_sealed());
    let first = ops(&flush(&mut writer));
    assert_eq!(first, [WriterOp::Append { through: 2 }, WriterOp::Sync { through: 2 }], "no footer yet");
    writer.done(first[0], &DONE);
    assert!(flush(&mut writer).is_empty());
    writer.done(first[1], &DONE);
    assert!(!writer.is_sealed());
    let last = flush(&mut writer);
    assert_eq!(ops(&last), [WriterOp::Append { through: 3 }, WriterOp::Sync { through: 3 }]);
    writer.done(last[0].0, &DONE);
    assert!(!writer.is_sealed(), "a footer counts once it is synced");
    writer.done(last[1].0, &DONE);
    assert!(writer.is_sealed());
    let end = Predecessor { number: 1, position: 3, offset: writer.bytes() };
    assert_eq!(writer.as_predecessor(), end);
    assert!(flush(&mut writer).is_empty());
}

#[test]
#[should_panic(expected = "only an open file takes records")]
fn nothing_follows_a_seal() {
    let mut writer = started();
    writer.seal();
    writer.record(Kind::Entry, b"a");
}

#[test]
fn a_failure_stops_the_file_whatever_comes_behind_it() {
    let (append, sync) = (WriterOp::Append { through: 2 }, WriterOp::Sync { through: 2 });
    for order in
        [vec![(append, BAD), (sync, DONE)], vec![(append, DONE), (sync, BAD)], vec![(append, BAD), (sync, BAD)]]
    {
        let mut writer = started();
        writer.record(Kind::Entry, b"a");
        assert_eq!(ops(&flush(&mut writer)), [append, sync]);
        writer.record(Kind::Entry, LARGE);
        assert_eq!(ops(&flush(&mut writer)), [WriterOp::Append { through: 3 }]);
        for (op, result) in &order {
            writer.done(*op, result);
        }
        writer.done(WriterOp::Append { through: 3 }, &DONE);
        assert_eq!(writer.failed(), Some(DiskError::Io(5)), "{order:?}");
        assert_eq!(writer.durable_through(), 1, "{order:?}");
        assert!(flush(&mut writer).is_empty(), "nothing is written any more");
        writer.seal();
        assert!(!writer.is_sealed() && flush(&mut writer).is_empty());
    }
}

/// Requests run in the order of their issue, but nothing promises that their results arrive in it.
#[test]
fn nothing_is_durable_before_every_append_before_it_is_acknowledged() {
    let mut writer = started();
    writer.record(Kind::Entry, b"a");
    flush(&mut writer);
    writer.record(Kind::Entry, LARGE);
    flush(&mut writer);
    writer.done(WriterOp::Append { through: 3 }, &DONE);
    writer.done(WriterOp::Sync { through: 2 }, &DONE);
    assert_eq!(writer.durable_through(), 1, "the append of record 2 may have failed");
    writer.done(WriterOp::Append { through: 2 }, &DONE);
    assert_eq!(writer.durable_through(), 2);
}

#[test]
fn a_publication_ends_with_the_empty_record_that_knows_all_before_it_durable() {
    let mut writer = Writer::stage(stamp(), 8, 1, &head(Predecessor::default()));
    let mut out = Vec::new();
    writer.record(Kind::Entry, b"a");
    writer.append(&mut out);
    writer.record(Kind::Entry, b"b");
    writer.publish(&mut out);
    let expected = [WriterOp::Append { through: 2 }, WriterOp::Append { through: 4 }, WriterOp::Publish { through: 4 }];
    assert_eq!(ops(&out), expected);
    assert_eq!(out[2].1, DiskRequest::Publish { stage: 8, to: File::Journal(1) });
    let mut disk = TestDisk::default();
    for (op, request) in &out {
        assert_eq!(writer.durable_through(), 0, "nothing counts before the file has its name");
        writer.done(*op, &disk.perform(request));
    }
    assert_eq!((writer.durable_through(), writer.failed()), (4, None));
    let found = headers(&stamp(), disk.bytes(File::Journal(1)).unwrap());
    let kinds: Vec<(Kind, u64)> = found.iter().map(|header| (header.kind, header.durable_through)).collect();
    assert_eq!(kinds, [(Kind::Head, 0), (Kind::Entry, 0), (Kind::Entry, 0), (Kind::Empty, 3)]);
    writer.record(Kind::Entry, b"c");
    let next = flush(&mut writer);
    assert!(matches!(next[0].1, DiskRequest::Append { file: File::Journal(1), offset, .. } if offset > 0));
    assert_eq!(next[1].1, DiskRequest::Sync { file: File::Journal(1), directory: false }, "its name is durable");
}

#[test]
fn large_bodies_are_passed_on_and_small_ones_gathered() {
    let stamp = Stamp::new(&KEY, FileKind::Volume, 1);
    let mut writer = Writer::create(stamp, 1, &head(Predecessor::default()));
    let chunks: Vec<VerifiedChunk> =
        [0, 100, SHARE_BYTES_MIN, SHARE_BYTES_MIN - 1].map(|len| VerifiedChunk::new(vec![7; len].into())).into();
    let placed: Vec<Written> = (1..).zip(&chunks).map(|(sequence, chunk)| writer.chunk(sequence, 0, chunk)).collect();
    let requests = flush(&mut writer);
    let DiskRequest::Append { parts, .. } = &requests[0].1 else { panic!("an append comes first") };
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[1].as_ptr(), chunks[2].bytes().as_ptr(), "not copied");
    let bytes = parts.concat();
    assert_eq!(bytes.len() as u64, writer.bytes());
    let found = headers(&stamp, &bytes);
    assert_eq!(found.iter().map(|header| header.sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for (written, chunk) in placed.iter().zip(&chunks) {
        let body = usize::try_from(written.offset).unwrap() + HEADER_LEN;
        assert_eq!(&bytes[body..body + 32], chunk.id().as_bytes());
        assert_eq!(&bytes[body + 32..body + 32 + chunk.bytes().len()], &chunk.bytes()[..]);
    }
}

/// What a history does next.
#[derive(Clone, Copy, Debug)]
enum Op {
    Record(u16),
    Flush,
    Complete,
    Seal,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..600u16).prop_map(Op::Record),
        1 => Just(Op::Record(u16::MAX)),
        4 => Just(Op::Flush),
        6 => Just(Op::Complete),
        1 => Just(Op::Seal),
    ]
}

proptest! {
    #![proptest_config(fixed_cases())]

    /// Every header says exactly what had been acknowledged when it was written, as told by the requests alone.
    #[test]
    fn headers_are_truthful_and_syncs_come_one_at_a_time(history in proptest::collection::vec(any_op(), 0..80)) {
        let mut disk = TestDisk::default();
        let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
        // By position: what was known durable when the record was taken.
        let mut expected = vec![0];
        let (mut known, mut taken) = (0, 1);
        let mut sealed = false;
        let settle = [Op::Flush, Op::Complete, Op::Complete, Op::Complete];
        let settling = settle.iter().cycle().take(settle.len() * history.len().max(4));
        for op in history.iter().chain(settling) {
            match *op {
                Op::Record(len) if pen.writer.is_open() => {
                    let written = pen.writer.record(Kind::Entry, &vec![5; usize::from(len)]);
                    taken += 1;
                    prop_assert_eq!(written.position, taken);
                    expected.push(known);
                }
                Op::Record(_) => {}
                Op::Flush => {
                    let footed = sealed && known == taken && expected.len() as u64 == taken;
                    pen.flush();
                    if footed {
                        expected.push(known);
                    }
                    let syncs = pen.queue.iter().filter(|(op, _)| matches!(op, WriterOp::Sync { .. })).count();
                    prop_assert!(syncs <= 1, "two syncs at once");
                    prop_assert!(syncs == 1 || known == pen.writer.last_position(), "what is not durable is under way");
                }
                Op::Complete => {
                    if let Some((WriterOp::Sync { through }, _)) = pen.queue.front().cloned() {
                        known = through;
                    }
                    pen.complete(&mut disk);
                    prop_assert_eq!(pen.writer.durable_through(), known);
                }
                Op::Seal => {
                    pen.writer.seal();
                    sealed = true;
                }
            }
            pen.writer.check();
        }
        prop_assert_eq!(known, pen.writer.last_position(), "all became durable");
        prop_assert_eq!(pen.writer.is_sealed(), sealed);
        let found = headers(&stamp(), disk.bytes(File::Journal(1)).unwrap());
        let claims: Vec<u64> = found.iter().map(|header| header.durable_through).collect();
        prop_assert_eq!(claims, expected);
        let positions: Vec<u64> = found.iter().map(|header| header.position).collect();
        prop_assert!(positions.iter().copied().eq(1..=found.len() as u64), "dense from 1");
        let footers = found.iter().filter(|header| header.kind == Kind::Footer).count();
        prop_assert_eq!(footers, usize::from(sealed));
        prop_assert_eq!(found.last().unwrap().kind == Kind::Footer, sealed);
    }
}
