//! A node whose volumes or segments somebody renamed, or copied in.

use alloc::format;

use super::*;
use crate::disk::stray::Stray;
use crate::note::Note;

const FILES: usize = 8;

fn file(number: usize) -> (String, Vec<u8>) {
    (format!("file {number}"), content(900, u8::try_from(number).unwrap()))
}

/// A store of several volumes and segments, of which some were removed by a collection. With `crash` it was not closed.
fn filled(crash: bool) -> Disk {
    let mut host = Host::start(Disk::new(), TINY);
    for number in 0..FILES {
        let (gone, (text, bytes)) = (content(1_500, 100 + u8::try_from(number).unwrap()), file(number));
        host.put("gone", &gone).unwrap();
        host.put(&text, &bytes).unwrap();
    }
    assert_eq!(host.once(Request::Purge { name: named("gone"), expect: Expect::Any }), Ok(Reply::Deleted));
    assert!(host.gc().compacted.volumes > 0);
    let disk = if crash { host.disk } else { host.close() };
    assert!(volumes(&disk).len() > 2 && segments(&disk).len() > 2, "{:?}", disk.keys().collect::<Vec<_>>());
    disk
}

fn volumes(disk: &Disk) -> Vec<u64> {
    disk.keys().filter_map(|file| if let File::Volume(number) = file { Some(*number) } else { None }).collect()
}

fn segments(disk: &Disk) -> Vec<u64> {
    disk.keys().filter_map(|file| if let File::Journal(number) = file { Some(*number) } else { None }).collect()
}

impl Host {
    fn findings(&mut self) -> Vec<Finding> {
        let id = self.open();
        let mut replies = self.ask(id, Request::VerifyOpen(VerifyScope::All));
        replies.extend(self.ask(id, Request::VerifyMore { findings: 1_000 }));
        assert!(matches!(replies.pop(), Some(Ok(Reply::Verified(_)))));
        let found = |reply| if let Ok(Reply::Finding(found)) = reply { *found } else { panic!("{reply:?}") };
        replies.into_iter().map(found).collect()
    }

    fn strays(&mut self) -> Vec<Stray> {
        let found = self.findings().into_iter();
        found.filter_map(|found| if let Finding::Stray(stray) = found { Some(stray) } else { None }).collect()
    }

    fn assert_whole(&mut self) {
        for number in 0..FILES {
            let (text, bytes) = file(number);
            assert_eq!(self.get(name(&text), None), Ok(bytes), "{text}");
        }
        assert_eq!(self.findings(), []);
    }

    fn assert_noted(&self, stray: Stray) {
        assert!(self.notes.contains(&Note::Stray(stray)), "the start tells of {stray}: {:?}", self.notes);
    }
}

/// Work that needs new volumes and segments, and takes what it can out of old ones.
fn work(host: &mut Host) {
    for round in 0..4 {
        for number in 0..6 {
            host.put("new", &content(1_200, 200 + 6 * round + number)).unwrap();
        }
        assert_eq!(host.once(Request::Purge { name: named("new"), expect: Expect::Any }), Ok(Reply::Deleted));
        // A volume that is missing may hold a manifest; then nothing is dropped.
        match host.once(Request::Gc) {
            Ok(Reply::Collected(_)) | Err(RequestError::SweepStopped { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Where a file may end up: right behind the last one, in the place of one that is gone, and far away.
fn targets(disk: &Disk) -> Vec<u64> {
    let there = volumes(disk);
    let last = there.last().copied().unwrap();
    let gone = (1..last).find(|number| !there.contains(number)).expect("a collection has removed some");
    vec![gone, last + 1, last + 2, 78, 1 << 40]
}

#[test]
fn a_volume_under_another_name_is_named_and_kept_and_can_go_back() {
    for crash in [false, true] {
        let disk = filled(crash);
        for volume in volumes(&disk) {
            for target in targets(&disk) {
                let (from, to) = (File::Volume(volume), File::Volume(target));
                let (mut disk, stray) = (disk.clone(), Stray { file: to, origin: Some(from) });
                let bytes = disk.remove(&from).unwrap();
                disk.insert(to, bytes.clone());
                for crash in [false, true] {
                    let mut host = Host::start(disk, TINY);
                    host.assert_noted(stray);
                    assert_eq!(host.strays(), [stray], "{volume} as {target}");
                    work(&mut host);
                    assert_eq!(host.strays(), [stray], "{volume} as {target}");
                    disk = if crash { host.disk } else { host.close() };
                    assert!(disk[&to] == bytes && !disk.contains_key(&from), "{volume} as {target}");
                }
                let bytes = disk.remove(&to).unwrap();
                disk.insert(from, bytes);
                let mut host = Host::start(disk, TINY);
                host.assert_whole();
                work(&mut host);
                host.assert_whole();
            }
        }
    }
}

#[test]
fn a_volume_that_was_copied_is_named_and_not_read() {
    let disk = filled(false);
    for volume in volumes(&disk) {
        for target in targets(&disk) {
            let (from, to) = (File::Volume(volume), File::Volume(target));
            let (mut disk, stray) = (disk.clone(), Stray { file: to, origin: Some(from) });
            disk.insert(to, disk[&from].clone());
            let bytes = disk[&to].clone();
            let mut host = Host::start(disk, TINY);
            host.assert_noted(stray);
            assert_eq!(host.findings(), [Finding::Stray(stray)], "nothing is lost");
            work(&mut host);
            let mut disk = host.close();
            assert!(disk[&to] == bytes, "{volume} as {target}");
            disk.remove(&to);
            Host::start(disk, TINY).assert_whole();
        }
    }
}

#[test]
fn a_volume_of_another_store_is_named_and_not_read() {
    let (disk, mut other) = (filled(false), Host::start(Disk::new(), TINY));
    // Another store has other random bytes.
    other.node = Node::new(Config::new(TINY).unwrap(), Seed::new([6; 32]));
    other.disk = Disk::new();
    assert!(other.turn(vec![Event::Wake]).is_empty());
    other.put("theirs", &content(1_000, 77)).unwrap();
    let theirs = other.close();
    let next = volumes(&disk).last().unwrap() + 1;
    for (from, to) in [
        (File::Volume(1), File::Volume(next)),
        (File::Journal(1), File::Journal(next)),
        (File::Volume(1), File::Volume(u64::MAX)),
    ] {
        let (mut disk, stray) = (disk.clone(), Stray { file: to, origin: None });
        disk.insert(to, theirs[&from].clone());
        let mut host = Host::start(disk, TINY);
        assert_eq!(host.findings(), [Finding::Stray(stray)]);
        work(&mut host);
        assert_eq!(host.findings(), [Finding::Stray(stray)]);
        let disk = host.close();
        assert!(disk[&to] == theirs[&from]);
        let mut host = Host::start(disk, TINY);
        assert_eq!(host.get(name("file 1"), None), Ok(file(1).1));
        assert_eq!(host.get(name("theirs"), None), Err(RequestError::NotFound));
    }
}

/// Names can't be trusted while one of its entries is away, also not if it is the last one, which nothing else names.
#[test]
fn a_segment_under_another_name_is_missed_and_can_go_back() {
    for crash in [false, true] {
        let disk = filled(crash);
        for segment in segments(&disk) {
            let last = segments(&disk).last().copied().unwrap();
            for to in [last + 1, last + 2, 78].map(File::Journal).into_iter().chain([File::Volume(99)]) {
                let from = File::Journal(segment);
                let (mut disk, stray) = (disk.clone(), Stray { file: to, origin: Some(from) });
                let bytes = disk.remove(&from).unwrap();
                disk.insert(to, bytes);
                let before = disk.clone();
                let mut host = Host::start(disk, TINY);
                host.assert_noted(stray);
                assert_eq!(host.strays(), [stray]);
                let lost = |found: &Finding| matches!(found, Finding::Damage(damage) if damage.file == from);
                assert!(host.findings().iter().any(lost), "segment {segment} is missed");
                let refused = host.get(name("file 1"), None).unwrap_err();
                assert!(matches!(refused, RequestError::LedgerDamaged(_)), "{refused}");
                assert!(matches!(host.put("new", &content(500, 250)), Err(RequestError::LedgerDamaged(_))));
                assert!(matches!(host.once(Request::Gc), Err(RequestError::LedgerDamaged(_))));
                let mut disk = host.close();
                let is_data = |file: &&File| matches!(file, File::Journal(_) | File::Volume(_));
                let of = |disk: &Disk| disk.keys().filter(is_data).copied().collect::<Vec<_>>();
                assert_eq!(of(&disk), of(&before), "nothing was written or removed");
                let bytes = disk.remove(&to).unwrap();
                disk.insert(from, bytes);
                let mut host = Host::start(disk, TINY);
                host.assert_whole();
                work(&mut host);
                host.assert_whole();
            }
        }
    }
}

#[test]
fn a_segment_that_was_copied_is_named_and_not_read() {
    for crash in [false, true] {
        let disk = filled(crash);
        for segment in segments(&disk) {
            let last = segments(&disk).last().copied().unwrap();
            for to in [last + 1, last + 2, 78].map(File::Journal) {
                let from = File::Journal(segment);
                let (mut disk, stray) = (disk.clone(), Stray { file: to, origin: Some(from) });
                disk.insert(to, disk[&from].clone());
                let bytes = disk[&to].clone();
                let mut host = Host::start(disk, TINY);
                host.assert_noted(stray);
                assert_eq!(host.findings(), [Finding::Stray(stray)]);
                work(&mut host);
                let mut disk = host.close();
                assert!(disk[&to] == bytes);
                disk.remove(&to);
                let mut host = Host::start(disk, TINY);
                host.assert_whole();
            }
        }
    }
}
