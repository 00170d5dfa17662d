//! Puts in which everything happens in any order, against the bytes that went in.

use super::*;
use crate::id::ChunkId;
use crate::keystore::manifest_walk::{ManifestWalk, Step};
use proptest::prelude::*;

/// What may happen next in a random run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choice {
    Grant,
    Send,
    Write,
    Store,
    Commit,
    Cancel,
}

/// Runs a put of `bytes` with everything happening in the order of `dice`; returns it at its end.
fn run(bytes: &[u8], size: Option<u64>, dice: &[u8], cancel: bool) -> Scene {
    let (chunks, digest) = cut(bytes, size);
    let mut scene = Scene::open(size);
    let (mut granted, mut credit, mut sent, mut committed, mut cancelled) = (0, 0, 0, false, false);
    let mut written = 0;
    for round in 0.. {
        assert!(round < 10_000, "a put comes to its end");
        if matches!(scene.said.last(), Some(Effect::Reply { last: true, .. })) {
            return scene;
        }
        if let Some(proposal) = proposal(&scene.said) {
            scene.tell(0, Event::Committed { result: Ok(stat(&proposal.manifest, 1)) });
            continue;
        }
        let asks = asks(&scene.said);
        let unwritten: Vec<u64> = scene.put.tickets.keys().copied().filter(|ticket| *ticket > written).collect();
        let mut choices = Vec::new();
        choices.extend((granted < asks.len()).then_some(Choice::Grant));
        let next = chunks.get(sent).filter(|chunk| chunk.bytes().len() as u64 <= credit);
        choices.extend(next.filter(|_| !cancelled).map(|_| Choice::Send));
        choices.extend((!unwritten.is_empty()).then_some(Choice::Write));
        choices.extend((!scene.put.tickets.is_empty()).then_some(Choice::Store));
        choices.extend((sent == chunks.len() && !committed && !cancelled).then_some(Choice::Commit));
        choices.extend((cancel && !cancelled && round > 5).then_some(Choice::Cancel));
        let die = usize::from(dice[round % dice.len()]);
        match choices[die % choices.len()] {
            Choice::Grant => {
                credit += asks[granted];
                scene.tell(0, Event::Granted { bytes: asks[granted] });
                granted += 1;
            }
            Choice::Send => {
                credit -= chunks[sent].bytes().len() as u64;
                scene.tell(0, Event::Chunk(chunks[sent].clone()));
                sent += 1;
            }
            Choice::Write => {
                written = unwritten[0];
                scene.tell(0, Event::Written { ticket: written });
            }
            Choice::Store => {
                let tickets: Vec<u64> = scene.put.tickets.keys().copied().collect();
                let ticket = tickets[die / 7 % tickets.len()];
                scene.tell(0, Event::Stored { ticket, result: Ok(place(1 + ticket % 3, ticket)) });
            }
            Choice::Commit => {
                committed = true;
                scene.tell(0, Event::Commit(digest));
            }
            Choice::Cancel => {
                cancelled = true;
                scene.tell(0, Event::Cancel);
            }
        }
    }
    unreachable!()
}

proptest! {
    #[test]
    fn any_order_of_things_stores_the_file_or_nothing(
        len in 0_u64..640,
        piped in any::<bool>(),
        dice in prop::collection::vec(any::<u8>(), 1..60),
        cancel in any::<bool>(),
    ) {
        let bytes = counted(len);
        let size = if piped { None } else { Some(len) };
        let scene = run(&bytes, size, &dice, cancel);
        let Some(Effect::Reply { reply, .. }) = scene.said.last() else { unreachable!() };
        scene.ended(&reply.clone());

        if let Some(proposal) = proposal(&scene.said) {
            prop_assert!(matches!(reply, Ok(Reply::Stored(_))));
            let stored: BTreeMap<ChunkId, VerifiedChunk> =
                stores(&scene.said).into_iter().map(|(_, chunk)| (chunk.id(), chunk)).collect();
            prop_assert_eq!(read(&proposal.manifest, &stored), bytes);
        } else {
            prop_assert_eq!(reply, &Ok(Reply::Cancelled));
        }

        let mut again = Put::new(&config(), name(), Expect::Absent, size, at(0));
        let mut out = Vec::new();
        for (now, event) in scene.told {
            again.step(now, event, &mut out);
        }
        prop_assert_eq!(out, scene.said, "the same events give the same effects");
    }
}

fn read(manifest: &Manifest, stored: &BTreeMap<ChunkId, VerifiedChunk>) -> Vec<u8> {
    let mut walk = ManifestWalk::new(manifest, 0, manifest.size).unwrap();
    let mut bytes = Vec::new();
    loop {
        match walk.step() {
            Step::Inline(content) => bytes.extend_from_slice(&content),
            Step::Node(node) => walk.feed(&stored[&node]).unwrap(),
            Step::Chunk { chunk, .. } => bytes.extend_from_slice(stored[&chunk].bytes()),
            Step::Done => return bytes,
        }
    }
}
