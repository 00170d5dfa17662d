//! A put on its own: events in, effects out.

mod random;
mod renewal;

use super::*;
use crate::config::RawConfig;
use crate::disk::{DiskError, File};
use crate::id::FileId;
use crate::keystore::Place;
use crate::keystore::ingest::Ingest;
use crate::keystore::manifest::Body;
use crate::time::WallTime;
use alloc::vec;
use bytes::Bytes;

/// Files below 8 bytes are one chunk, up to 32 bytes have chunks of 8, up to 128 bytes chunks of 32.
const TINY: RawConfig = RawConfig {
    block_bytes_min: 8,
    block_bytes_max: 32,
    blocks_target: 100,
    large_file_blocks: 4,
    inline_bytes_max: 4,
    manifest_entries_max: 2,
    manifest_fanout: 3,
    credit_timeout: Duration::from_secs(10),
    ..RawConfig::STANDARD
};

fn config() -> Config {
    Config::new(TINY).unwrap()
}

fn at(seconds: u64) -> Now {
    Now { mono: Instant::from_nanos(seconds * 1_000_000_000), ..Now::default() }
}

fn name() -> Name {
    Name::new(b"file").unwrap()
}

fn counted(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 32) as u8).collect()
}

/// The chunks and the digest of a file, as a client would send them.
fn cut(bytes: &[u8], size: Option<u64>) -> (Vec<VerifiedChunk>, FileDigest) {
    let mut ingest = Ingest::new(config().geometry(), size);
    let mut blocks = Vec::new();
    ingest.push(Bytes::copy_from_slice(bytes), &mut blocks).unwrap();
    let digest = ingest.finish(&mut blocks).unwrap();
    (blocks.into_iter().map(VerifiedChunk::new).collect(), digest)
}

fn stat(manifest: &Manifest, names: u64) -> FileStat {
    let chunks = if matches!(manifest.body, Body::Inline(_)) { 0 } else { manifest.layout().unwrap().count() };
    FileStat {
        name: Some(name()),
        version: 1,
        stored_at: WallTime::default(),
        file: manifest.file,
        size: manifest.size,
        block_bytes: manifest.block_bytes,
        chunks,
        names,
        missing: false,
    }
}

fn place(volume: u64, position: u64) -> StoredChunk {
    StoredChunk { place: Place { volume, offset: 0, position }, marked_at: None, fresh: true }
}

/// A put and everything it was told; asserts its invariants at every step.
struct Scene {
    put: Put,
    told: Vec<(Now, Event)>,
    said: Vec<Effect>,
}

impl Scene {
    fn open(size: Option<u64>) -> Self {
        let put = Put::new(&config(), name(), Expect::Absent, size, at(0));
        assert_eq!(put.deadline(), Some(Instant::ZERO), "it wants to be stepped at once");
        put.check();
        let mut scene = Self { put, told: vec![], said: vec![] };
        scene.tell(0, Event::Wake);
        scene
    }

    /// Opens a put and grants all it asks for at first.
    fn granted(size: Option<u64>) -> Self {
        let mut scene = Self::open(size);
        for bytes in asks(&scene.said.clone()) {
            scene.tell(0, Event::Granted { bytes });
        }
        scene
    }

    /// One step at second `seconds`; what it brought.
    fn tell(&mut self, seconds: u64, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.put.step(at(seconds), event.clone(), &mut out);
        self.put.check();
        self.told.push((at(seconds), event));
        self.said.extend(out.iter().cloned());
        out
    }

    fn store_all(&mut self) -> Vec<Effect> {
        let tickets: Vec<u64> = self.put.tickets.keys().copied().collect();
        tickets
            .into_iter()
            .flat_map(|ticket| self.tell(0, Event::Stored { ticket, result: Ok(place(1, ticket)) }))
            .collect()
    }

    /// Asserts that the last reply was given just once, as the last effect, and that all credit came back.
    fn ended(&self, expected: &Result<Reply, RequestError>) {
        let Some(Effect::Reply { reply, last: true }) = self.said.last() else { panic!("{:?}", self.said.last()) };
        assert_eq!(reply, expected);
        let lasts = self.said.iter().filter(|effect| matches!(effect, Effect::Reply { last: true, .. })).count();
        assert_eq!(lasts, 1);
        let granted: u64 =
            self.told.iter().map(|(_, event)| if let Event::Granted { bytes } = event { *bytes } else { 0 }).sum();
        assert_eq!(released(&self.said), granted, "all credit came back");
        assert_eq!(self.put.deadline(), None);
    }

    fn misuse(&self, what: &'static str) {
        self.ended(&Err(RequestError::Misuse(what)));
        assert!(proposal(&self.said).is_none(), "nothing is proposed");
    }
}

fn asks(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|effect| if let Effect::Ask { bytes } = effect { Some(*bytes) } else { None }).collect()
}

fn released(effects: &[Effect]) -> u64 {
    effects.iter().map(|effect| if let Effect::Release { bytes } = effect { *bytes } else { 0 }).sum()
}

fn stores(effects: &[Effect]) -> Vec<(u64, VerifiedChunk)> {
    let store = |effect: &Effect| match effect {
        Effect::Store { ticket, chunk } => Some((*ticket, chunk.clone())),
        Effect::Ask { .. }
        | Effect::Release { .. }
        | Effect::Touch { .. }
        | Effect::Load { .. }
        | Effect::Propose(_)
        | Effect::Reply { .. }
        | Effect::Note(_) => None,
    };
    effects.iter().filter_map(store).collect()
}

fn proposal(effects: &[Effect]) -> Option<Proposal> {
    effects
        .iter()
        .find_map(|effect| if let Effect::Propose(proposal) = effect { Some((**proposal).clone()) } else { None })
}

#[test]
fn credit_is_asked_for_block_by_block_and_never_beyond_the_end() {
    for (size, expected) in [
        (Some(0), vec![]),
        (Some(3), vec![3]),
        (Some(20), vec![8, 8, 4]),
        (Some(32), vec![8, 8, 8, 8]),
        (Some(40), vec![32, 8]),
        (Some(600), vec![8, 8, 8, 8]),
        (None, vec![32]),
    ] {
        assert_eq!(asks(&Scene::open(size).said), expected, "{size:?}");
    }
}

#[test]
fn the_window_moves_as_chunks_leave_memory() {
    let mut scene = Scene::granted(Some(128 + 20));
    let (chunks, _) = cut(&counted(148), Some(148));
    assert_eq!(chunks[0].bytes().len(), 8);
    for chunk in &chunks[..4] {
        assert_eq!(asks(&scene.tell(0, Event::Chunk(chunk.clone()))), [], "still in memory");
    }
    let out = scene.tell(0, Event::Written { ticket: 1 });
    assert_eq!(out, [Effect::Release { bytes: 8 }, Effect::Ask { bytes: 8 }]);
    let out = scene.tell(0, Event::Stored { ticket: 1, result: Ok(place(1, 1)) });
    assert_eq!(out, [], "released once");
    let out = scene.tell(0, Event::Stored { ticket: 2, result: Ok(place(1, 2)) });
    assert_eq!(out, [Effect::Release { bytes: 8 }, Effect::Ask { bytes: 8 }], "durable chunks have left memory");
}

#[test]
fn a_put_far_ahead_of_the_disks_sync_asks_no_more() {
    let raw = RawConfig { blocks_target: 100_000, manifest_fanout: 1_024, ..TINY };
    let mut put = Put::new(&Config::new(raw).unwrap(), name(), Expect::Any, Some(8_000), at(0));
    let mut out = Vec::new();
    put.step(at(0), Event::Wake, &mut out);
    let (mut index, mut done) = (0_u8, 0);
    while done < out.len() {
        let effect = out[done].clone();
        done += 1;
        match effect {
            Effect::Ask { bytes } => {
                put.step(at(0), Event::Granted { bytes }, &mut out);
                index += 1;
                put.step(at(0), Event::Chunk(VerifiedChunk::new(Bytes::from(vec![index; 8]))), &mut out);
            }
            Effect::Store { ticket, .. } => put.step(at(0), Event::Written { ticket }, &mut out),
            Effect::Touch { .. } | Effect::Load { .. } => panic!("no sweep has begun"),
            Effect::Release { .. } | Effect::Propose(_) | Effect::Reply { .. } | Effect::Note(_) => {}
        }
        put.check();
        assert!(put.tickets.len() < PUT_STORES_MAX + PUT_BLOCKS_AHEAD as usize);
    }
    assert!(put.tickets.len() >= PUT_STORES_MAX);
    put.step(at(60), Event::Wake, &mut out);
    assert!(matches!(put.stage, Stage::Receiving(_)), "the client owes nothing while the disk is behind");
    out.clear();
    for ticket in 1..=10 {
        put.step(at(0), Event::Stored { ticket, result: Ok(place(1, ticket)) }, &mut out);
    }
    assert!(!asks(&out).is_empty(), "it goes on as chunks become durable");
}

#[test]
fn the_manifest_is_proposed_only_when_everything_is_durable() {
    let mut scene = Scene::granted(Some(100));
    let (chunks, digest) = cut(&counted(100), Some(100));
    for chunk in &chunks {
        scene.tell(0, Event::Chunk(chunk.clone()));
    }
    scene.tell(0, Event::Commit(digest));
    let stored = stores(&scene.said);
    let ids: Vec<_> = stored.iter().map(|(_, chunk)| chunk.id()).collect();
    assert_eq!(ids.len(), 4 + 3, "four chunks, two leaves, a root");
    for (ticket, _) in &stored {
        assert!(proposal(&scene.said).is_none(), "before store {ticket}");
        let (volume, fresh) = (1 + ticket % 2, ticket % 2 == 0);
        let place = Place { volume, offset: 0, position: 100 - ticket };
        scene.tell(0, Event::Stored { ticket: *ticket, result: Ok(StoredChunk { place, marked_at: None, fresh }) });
    }
    let proposal = proposal(&scene.said).unwrap();
    assert_eq!(proposal.volumes, [(1, 98), (2, 99)]);
    assert_eq!((proposal.name, proposal.expect), (name(), Expect::Absent));
    assert_eq!((proposal.manifest.file, proposal.manifest.size, proposal.manifest.block_bytes), (digest.file, 100, 32));
    let stat = stat(&proposal.manifest, 1);
    scene.tell(0, Event::Committed { result: Ok(stat.clone()) });
    let fresh = stored.iter().filter(|(ticket, chunk)| ticket % 2 == 0 && !chunk.bytes().starts_with(b"dpsM"));
    let new_bytes = fresh.map(|(_, chunk)| chunk.bytes().len() as u64).sum();
    scene.ended(&Ok(Reply::Stored(Box::new(StoredFile { stat, new_bytes }))));
}

#[test]
fn small_content_is_inline_and_never_stored() {
    for (bytes, size) in [(&b"abcd"[..], Some(4)), (b"abcd", None), (b"", Some(0)), (b"", None)] {
        let mut scene = Scene::granted(size);
        let (chunks, digest) = cut(bytes, size);
        let whole = chunks.first().cloned();
        for chunk in chunks {
            scene.tell(0, Event::Chunk(chunk));
        }
        scene.tell(0, Event::Commit(digest));
        assert!(stores(&scene.said).is_empty());
        let Proposal { manifest, volumes, .. } = proposal(&scene.said).unwrap();
        assert!(volumes.is_empty());
        assert_eq!(manifest, Manifest::inline(digest.file, bytes));
        if let (Body::Inline(content), Some(whole)) = (&manifest.body, whole) {
            assert_ne!(content.as_ptr(), whole.bytes().as_ptr(), "the ledger keeps no buffer of the client");
        }
        let new = stat(&manifest, 1);
        scene.tell(0, Event::Committed { result: Ok(new.clone()) });
        scene.ended(&Ok(Reply::Stored(Box::new(StoredFile { new_bytes: new.size, stat: new }))));
    }
}

#[test]
fn inline_content_that_another_name_means_is_not_new() {
    let mut scene = Scene::granted(Some(3));
    let (chunks, digest) = cut(b"abc", Some(3));
    scene.tell(0, Event::Chunk(chunks[0].clone()));
    scene.tell(0, Event::Commit(digest));
    let stat = stat(&proposal(&scene.said).unwrap().manifest, 2);
    scene.tell(0, Event::Committed { result: Ok(stat.clone()) });
    scene.ended(&Ok(Reply::Stored(Box::new(StoredFile { stat, new_bytes: 0 }))));
}

#[test]
fn chunks_that_break_the_rules_are_misuse() {
    let chunk = |len: u64| VerifiedChunk::new(Bytes::from(counted(len)));
    let other = "a chunk has another length than its block";
    for (size, lens, what) in [
        (Some(20), &[8, 8, 5][..], "a chunk came without credit for it"),
        (Some(40), &[8], other),
        (Some(40), &[33], other),
        (Some(40), &[32, 7], other),
        (Some(40), &[0], other),
        (Some(8), &[7], other),
        (Some(20), &[8, 8, 4, 0], "more chunks came than the declared size has"),
        (Some(0), &[0], "more chunks came than the declared size has"),
        (Some(0), &[1], "a chunk came without credit for it"),
        (None, &[33], "a chunk came without credit for it"),
        (None, &[8, 0], "a chunk is empty"),
        (None, &[0], "a chunk is empty"),
        (None, &[8, 9], other),
        (None, &[8, 7, 1], "a chunk came after the last one"),
        (None, &[4, 4], "a chunk came after the last one"),
        (None, &[8, 8, 8, 8, 1], "a chunk came without credit for it"),
    ] {
        let mut scene = Scene::granted(size);
        for len in lens {
            scene.tell(0, Event::Chunk(chunk(*len)));
        }
        scene.store_all();
        scene.misuse(what);
    }
}

#[test]
fn a_chunk_before_any_credit_is_misuse() {
    let mut scene = Scene::open(Some(8));
    scene.tell(0, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(8)))));
    scene.misuse("a chunk came without credit for it");
    assert_eq!(scene.tell(0, Event::Granted { bytes: 8 }), [Effect::Release { bytes: 8 }], "late credit goes back");
}

#[test]
fn a_put_without_space_ends_unless_everything_came() {
    let refused = [Effect::Reply { reply: Err(RequestError::DiskFull), last: true }];
    let (mut put, mut out) = (Put::new(&config(), name(), Expect::Absent, Some(40), at(0)), Vec::new());
    put.step(at(0), Event::Refused, &mut out);
    assert_eq!(out, refused, "it is not even opened");
    put.check();

    let mut scene = Scene::open(Some(40));
    scene.tell(0, Event::Granted { bytes: 32 });
    let last = scene.tell(0, Event::Refused);
    assert_eq!(last, [&[Effect::Release { bytes: 32 }][..], &refused].concat(), "its credit goes back");

    let mut scene = Scene::granted(Some(40));
    scene.tell(0, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(32)))));
    scene.tell(0, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(8)))));
    scene.tell(0, Event::Commit(FileDigest { file: FileId::from_bytes([7; 32]), size: 40 }));
    assert_eq!(scene.tell(0, Event::Refused), [], "nothing more is to come");
}

#[test]
fn digests_that_do_not_fit_are_misuse() {
    let file = |bytes: &[u8]| FileId::from_bytes(sha256(bytes));
    let length = "the digest is of another length than the chunks";
    let hash = "the digest is not the hash of the content";
    let blocks = "the blocks do not suit the size of the file";
    for (size, lens, digest, what) in [
        (Some(40), &[32][..], FileDigest { file: file(b"x"), size: 32 }, "the commit came before the last chunk"),
        (Some(40), &[32], FileDigest { file: file(b"x"), size: 40 }, length),
        (Some(3), &[3], FileDigest { file: file(&counted(3)), size: 2 }, length),
        (Some(3), &[3], FileDigest { file: file(b"abd"), size: 3 }, hash),
        (Some(7), &[7], FileDigest { file: file(b"x"), size: 7 }, hash),
        (Some(0), &[], FileDigest { file: file(b"x"), size: 0 }, hash),
        (None, &[], FileDigest { file: file(b"x"), size: 0 }, hash),
        // A pipe of 32 bytes has blocks of 8, one of 20 not of 10, and one of 33 not of 8.
        (None, &[32], FileDigest { file: file(&counted(32)), size: 32 }, blocks),
        (None, &[10, 10], FileDigest { file: file(b"x"), size: 20 }, blocks),
        (None, &[9], FileDigest { file: file(&counted(9)), size: 9 }, blocks),
        (None, &[5, 5, 5], FileDigest { file: file(b"x"), size: 15 }, blocks),
    ] {
        let mut scene = Scene::granted(size);
        for len in lens {
            scene.tell(0, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(*len)))));
        }
        scene.tell(0, Event::Commit(digest));
        scene.store_all();
        scene.misuse(what);
    }
}

#[test]
fn a_client_that_goes_on_after_its_commit_is_stopped_or_ignored() {
    let (chunks, digest) = cut(&counted(8), Some(8));
    for (event, what) in [
        (Event::Chunk(chunks[0].clone()), "a chunk came after the commit"),
        (Event::Commit(digest), "a second commit came"),
    ] {
        let mut scene = Scene::granted(Some(8));
        scene.tell(0, Event::Chunk(chunks[0].clone()));
        scene.tell(0, Event::Commit(digest));
        assert_eq!(scene.tell(0, event.clone()), [], "the store is on its way");
        scene.store_all();
        scene.misuse(what);

        let mut scene = Scene::granted(Some(8));
        scene.tell(0, Event::Chunk(chunks[0].clone()));
        scene.tell(0, Event::Commit(digest));
        scene.store_all();
        assert_eq!(scene.tell(0, event), [], "the ledger decides now");
        scene.tell(0, Event::Committed { result: Err(RequestError::Conflict { current: Some(3) }) });
        scene.ended(&Err(RequestError::Conflict { current: Some(3) }));
    }
}

#[test]
fn a_cancel_before_the_proposal_proposes_nothing() {
    let (chunks, digest) = cut(&counted(20), Some(20));
    for sent in 0..=4 {
        let mut scene = Scene::granted(Some(20));
        for chunk in chunks.iter().take(sent) {
            scene.tell(0, Event::Chunk(chunk.clone()));
        }
        if sent == 4 {
            scene.tell(0, Event::Commit(digest));
        }
        let out = scene.tell(0, Event::Cancel);
        assert_eq!(out[0], Effect::Note(Note::PutDropped));
        let unsent: u64 = chunks.iter().skip(sent).map(|chunk| chunk.bytes().len() as u64).sum();
        assert_eq!(released(&out), unsent, "what the client held is free at once");
        if sent < 4 {
            scene.tell(0, Event::Chunk(chunks[0].clone()));
        }
        scene.tell(0, Event::Cancel);
        scene.store_all();
        scene.ended(&Ok(Reply::Cancelled));
        assert!(proposal(&scene.said).is_none());
    }
}

#[test]
fn a_cancel_of_an_inline_put_gives_its_credit_back() {
    let mut scene = Scene::granted(Some(3));
    scene.tell(0, Event::Chunk(VerifiedChunk::new(Bytes::from_static(b"abc"))));
    scene.tell(0, Event::Cancel);
    scene.ended(&Ok(Reply::Cancelled));
}

#[test]
fn a_cancel_after_the_proposal_waits_for_the_outcome() {
    let mut scene = Scene::granted(Some(3));
    let (chunks, digest) = cut(b"abc", Some(3));
    scene.tell(0, Event::Chunk(chunks[0].clone()));
    scene.tell(0, Event::Commit(digest));
    assert_eq!(scene.tell(0, Event::Cancel), []);
    let error = RequestError::OutcomeUnknown(DiskError::Io(5));
    scene.tell(0, Event::Committed { result: Err(error.clone()) });
    scene.ended(&Err(error));
}

#[test]
fn a_client_that_holds_credit_and_sends_nothing_is_dropped() {
    let mut scene = Scene::open(Some(40));
    assert_eq!(scene.put.deadline(), None, "waiting for credit is not the client's fault");
    scene.tell(3, Event::Granted { bytes: 32 });
    scene.tell(5, Event::Granted { bytes: 8 });
    assert_eq!(scene.put.deadline(), Some(at(13).mono), "more credit is no progress");
    assert_eq!(scene.tell(12, Event::Wake), []);
    scene.tell(12, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(32)))));
    assert_eq!(scene.put.deadline(), Some(at(22).mono));
    let out = scene.tell(22, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(8)))));
    assert_eq!(out, [Effect::Note(Note::PutDropped), Effect::Release { bytes: 8 }], "too late");
    scene.store_all();
    scene.ended(&Err(RequestError::Busy));
}

#[test]
fn a_client_that_never_commits_is_dropped() {
    let mut scene = Scene::granted(Some(8));
    scene.tell(1, Event::Chunk(VerifiedChunk::new(Bytes::from(counted(8)))));
    assert_eq!(scene.put.deadline(), None, "the disk is busy with it");
    scene.tell(5, Event::Stored { ticket: 1, result: Ok(place(1, 1)) });
    assert_eq!(scene.put.deadline(), Some(at(15).mono));
    scene.tell(15, Event::Wake);
    scene.ended(&Err(RequestError::Busy));
}

#[test]
fn a_store_that_fails_ends_the_put_with_its_error() {
    let file = File::Volume(7);
    let error = DiskError::Io(5);
    for (failure, expected) in [
        (StoreError::Full, RequestError::DiskFull),
        (StoreError::Failed { file, error }, RequestError::WriteFailed { file, error }),
        (StoreError::Busy, RequestError::Busy),
    ] {
        for commit in [false, true] {
            let mut scene = Scene::granted(Some(20));
            let (chunks, digest) = cut(&counted(20), Some(20));
            for chunk in chunks {
                scene.tell(0, Event::Chunk(chunk));
            }
            if commit {
                scene.tell(0, Event::Commit(digest));
            }
            scene.tell(0, Event::Written { ticket: 1 });
            scene.tell(0, Event::Stored { ticket: 2, result: Err(failure) });
            scene.tell(0, Event::Stored { ticket: 1, result: Err(StoreError::Full) });
            scene.store_all();
            scene.ended(&Err(expected.clone()));
            assert!(proposal(&scene.said).is_none());
        }
    }
}

#[test]
fn a_file_that_no_manifest_can_list_is_refused() {
    for size in [u64::MAX, 81 * 32 + 1] {
        let raw = RawConfig { blocks_target: 1, large_file_blocks: 1, ..TINY };
        let mut put = Put::new(&Config::new(raw).unwrap(), name(), Expect::Any, Some(size), at(0));
        let mut out = Vec::new();
        put.step(at(0), Event::Wake, &mut out);
        put.check();
        assert_eq!(out, [Effect::Reply { reply: Err(RequestError::TooLarge), last: true }]);
    }
    let mut scene = Scene::granted(None);
    for index in 0..=81_u8 {
        let event = Event::Chunk(VerifiedChunk::new(Bytes::from(vec![index; 32])));
        let out = scene.tell(0, event);
        for (ticket, _) in stores(&out) {
            let out = scene.tell(0, Event::Stored { ticket, result: Ok(place(1, ticket)) });
            for bytes in asks(&out) {
                scene.tell(0, Event::Granted { bytes });
            }
        }
        for bytes in asks(&out) {
            scene.tell(0, Event::Granted { bytes });
        }
    }
    assert!(scene.said.contains(&Effect::Reply { reply: Err(RequestError::TooLarge), last: true }));
}

#[test]
fn chunks_in_too_many_volumes_are_refused() {
    let raw = RawConfig { blocks_target: 100_000, large_file_blocks: 1, manifest_fanout: 1_024, ..TINY };
    let size = 8 * (PUT_VOLUMES_MAX as u64 + 1);
    let mut put = Put::new(&Config::new(raw).unwrap(), name(), Expect::Any, Some(size), at(0));
    let (mut out, mut done) = (Vec::new(), 0);
    put.step(at(0), Event::Wake, &mut out);
    while done < out.len() {
        let effect = out[done].clone();
        done += 1;
        match effect {
            Effect::Ask { bytes } => {
                put.step(at(0), Event::Granted { bytes }, &mut out);
                put.step(at(0), Event::Chunk(VerifiedChunk::new(Bytes::from(done.to_le_bytes().to_vec()))), &mut out);
            }
            Effect::Store { ticket, .. } => {
                put.step(at(0), Event::Stored { ticket, result: Ok(place(ticket, 1)) }, &mut out);
            }
            Effect::Touch { .. } | Effect::Load { .. } => panic!("no sweep has begun"),
            Effect::Release { .. } | Effect::Propose(_) | Effect::Reply { .. } | Effect::Note(_) => {}
        }
        put.check();
    }
    assert!(out.contains(&Effect::Reply { reply: Err(RequestError::TooLarge), last: true }));
    assert!(proposal(&out).is_none());
}
