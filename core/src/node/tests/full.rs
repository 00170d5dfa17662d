//! A whole node on a disk that gets full (rule J11).

use super::*;
use crate::note::Note;

/// Bytes of a disk that holds some dozens of files of [`FILE_BYTES`].
const CAPACITY_BYTES: u64 = 400_000;
const FILE_BYTES: usize = 6_000;
/// More than a segment of the journal begins with here.
const PREAMBLE_BYTES_MAX: u64 = 1_200;

/// Volumes of which a collection needs far more than the few bytes of heads and catalogs.
const SMALL: RawConfig = RawConfig {
    block_bytes_min: 256,
    block_bytes_max: 1_024,
    volume_bytes: 16 << 10,
    segment_bytes: 8 << 10,
    ingest_bytes_max: 4 << 10,
    ..TINY
};

fn file(number: usize) -> (String, Vec<u8>) {
    (alloc::format!("file {number}"), content(FILE_BYTES, u8::try_from(number).unwrap()))
}

impl Host {
    /// Puts files until one is refused. Returns how many were stored.
    fn fill(&mut self) -> usize {
        for number in 0..200 {
            let (name, bytes) = file(number);
            match self.put(&name, &bytes) {
                Ok(_) => {}
                Err(RequestError::DiskFull) => return number,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the disk is never full");
    }

    fn assert_readable(&mut self, numbers: core::ops::Range<usize>) {
        for number in numbers {
            let (text, bytes) = file(number);
            assert_eq!(self.get(name(&text), None), Ok(bytes), "file {number}");
        }
    }

    fn purge(&mut self, number: usize) -> Result<Reply, RequestError> {
        self.once(Request::Purge { name: named(&file(number).0), expect: Expect::Any })
    }

    fn assert_undamaged(&mut self) {
        let id = self.open();
        let mut replies = self.ask(id, Request::VerifyOpen(VerifyScope::All));
        replies.extend(self.ask(id, Request::VerifyMore { findings: 10 }));
        let Some(Ok(Reply::Verified(summary))) = replies.last() else { panic!("{replies:?}") };
        assert_eq!(summary.findings, 0);
    }
}

/// A disk with files up to where puts are refused, and how many there are. With `crash`, the last put never ended.
fn filled(crash: bool) -> (Disk, usize) {
    let mut host = Host::start_on(CAPACITY_BYTES, Disk::new(), SMALL);
    let stored = host.fill();
    (if crash { host.disk } else { host.close() }, stored)
}

#[test]
fn puts_are_refused_before_the_disk_is_full_and_room_is_made_in_the_same_process() {
    let mut host = Host::start_on(CAPACITY_BYTES, Disk::new(), SMALL);
    let stored = host.fill();
    assert!(stored >= 10, "{stored} files");
    assert!(!host.node.inspect().read_only, "no write has failed");
    assert!(!host.notes.iter().any(|note| matches!(note, Note::WritesStopped { .. })));
    let usage = host.usage();
    let left = CAPACITY_BYTES - used(&host.disk);
    assert_eq!(usage.available_bytes, Some(left));
    assert_eq!(usage.reserve_bytes, host.disk[&File::Reserve].len() as u64);
    assert!(usage.reserve_bytes >= SMALL.volume_bytes && left >= CAPACITY_BYTES / 64, "{usage:?}");
    host.assert_readable(0..stored);
    // What is smaller than a block may still find room, and in the end not even that.
    let mut empty = (0..100).map(|number| host.put(&alloc::format!("empty {number}"), b""));
    assert_eq!(empty.find_map(Result::err), Some(RequestError::DiskFull), "no put is opened");
    // What was deleted stays on the disk until it is purged, but the name goes.
    assert_eq!(host.once(Request::Delete { name: named("file 0"), expect: Expect::Any }), Ok(Reply::Deleted));
    for number in 1..5 {
        assert_eq!(host.purge(number), Ok(Reply::Deleted));
    }
    assert!(host.gc().compacted.volumes > 0);
    host.assert_readable(5..stored);
    let (text, bytes) = file(1);
    host.put(&text, &bytes).unwrap();
    host.assert_readable(1..2);
    host.assert_undamaged();
    assert!(host.usage().reserve_bytes > 0, "the reserve is made again");
}

#[test]
fn a_disk_that_somebody_fills_to_the_last_byte_is_read_and_emptied_after_a_start() {
    for (crash, left) in [(false, 0), (true, 0), (false, 1), (true, 1), (true, 100), (false, 200), (true, 900)] {
        let (disk, stored) = filled(crash);
        let capacity = used(&disk) + left;
        let mut host = Host::start_on(capacity, disk, SMALL);
        assert!(!host.node.inspect().read_only, "{left} left: it can write");
        host.assert_readable(0..stored);
        assert_eq!(host.put("more", &content(900, 99)).unwrap_err(), RequestError::DiskFull, "{left} left");
        // Each command is a start of its own, and leaves nothing for others to take but what a change needs.
        let disk = host.close();
        assert!(
            capacity - used(&disk) <= SMALL.segment_bytes + PREAMBLE_BYTES_MAX,
            "{left} left: what was taken is set aside again"
        );
        let mut host = Host::start_on(capacity, disk, SMALL);
        for number in 0..6 {
            assert_eq!(host.purge(number), Ok(Reply::Deleted), "{left} left");
        }
        assert!(capacity - used(&host.disk) <= SMALL.segment_bytes + PREAMBLE_BYTES_MAX, "{left} left");
        let mut host = Host::start_on(capacity, host.disk, SMALL);
        let summary = host.gc();
        assert!(summary.compacted.volumes > 0, "{left} left: {summary:?}");
        host.assert_readable(6..stored);
        host.assert_undamaged();
        let (text, bytes) = file(0);
        host.put(&text, &bytes).unwrap();
        let mut host = Host::start_on(capacity, host.close(), SMALL);
        host.assert_readable(0..1);
        host.assert_undamaged();
        assert!(!host.notes.iter().any(|note| matches!(note, Note::Damaged(_))));
    }
}

#[test]
fn a_running_node_gets_its_reserve_when_somebody_fills_the_disk() {
    let mut host = Host::start_on(CAPACITY_BYTES, Disk::new(), SMALL);
    let stored = host.fill();
    host.nanos += 1_000_000_000;
    host.turn(vec![Event::Wake]);
    assert!(host.notes.contains(&Note::Settled), "an idle node writes nothing more that matters");
    host.capacity = used(&host.disk);
    host.nanos += 1_000_000_000;
    for number in 0..6 {
        assert_eq!(host.purge(number), Ok(Reply::Deleted));
    }
    assert!(host.gc().compacted.volumes > 0);
    assert!(!host.node.inspect().read_only);
    host.assert_readable(6..stored);
    host.assert_undamaged();
}

#[test]
fn without_its_reserve_a_full_store_still_reads() {
    for crash in [false, true] {
        let (mut disk, stored) = filled(crash);
        disk.remove(&File::Reserve).expect("there was one");
        let capacity = used(&disk);
        let mut host = Host::start_on(capacity, disk, SMALL);
        assert!(host.node.inspect().read_only);
        host.assert_readable(0..stored);
        assert_eq!(host.put("more", b"more").unwrap_err(), RequestError::DiskFull);
        assert_eq!(host.purge(0), Err(RequestError::DiskFull));
        assert_eq!(host.once(Request::Gc), Err(RequestError::DiskFull));
        let usage = host.usage();
        assert_eq!((usage.reserve_bytes, usage.available_bytes), (0, Some(0)));
        // Somebody makes a little room, and the next start can do the rest.
        let mut host = Host::start_on(capacity + 50_000, host.disk, SMALL);
        for number in 0..6 {
            assert_eq!(host.purge(number), Ok(Reply::Deleted));
        }
        assert!(host.gc().compacted.volumes > 0);
        host.assert_readable(6..stored);
        host.assert_undamaged();
    }
}

#[test]
fn a_reserve_of_another_length_is_harmless() {
    for bytes in [0, 1, 100, 20_000, 500_000] {
        let (mut disk, stored) = filled(false);
        disk.insert(File::Reserve, vec![7; bytes]);
        let mut host = Host::start_on(2_000_000, disk, SMALL);
        host.assert_readable(0..stored);
        host.put("more", &content(900, 99)).unwrap();
        let held = host.disk[&File::Reserve].len() as u64;
        let bytes_max = SMALL.volume_bytes + 2 * (SMALL.segment_bytes + PREAMBLE_BYTES_MAX);
        assert!((SMALL.volume_bytes..=bytes_max).contains(&held), "{bytes} became {held}");
    }
}
