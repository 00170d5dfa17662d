//! What one decision of a script does.

use bytes::Bytes;
use dps_core::disk::DiskError;
use dps_core::id::{FileId, RequestId};
use dps_core::keystore::ingest::FileDigest;
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::node::{ByteRange, Request, VerifyScope};

use super::disk::Fault;
use super::talk::{Get, Put, Talk, Verify, pick};
use super::world::World;
use crate::input::{Input, noise};

/// Conversations that a script opens in one go.
const BURST_MAX: usize = 260;

/// Names that are there only because of bursts, so that a script stays fast.
const BURST_NAMES_MAX: usize = 1_300;

/// Takes one decision. The top bit says whether a turn follows.
pub(super) fn step(world: &mut World, input: &mut Input<'_>, refuse_reads: bool) {
    let choice = input.u8();
    match choice % 32 {
        0..=2 => open_put(world, input),
        3..=6 => go_on(world),
        7 => misuse(world, input),
        8 | 9 => open_get(world, input),
        10 => get_more(world, input),
        11 => {
            let scope = if input.flag() { VerifyScope::All } else { VerifyScope::One(target(world, input)) };
            world.open(Talk::Verify(Verify::default()), Request::VerifyOpen(scope));
        }
        12 => cancel(world, input),
        13 | 14 => delete(world, input),
        15 => list(world, input),
        16 => {
            let target = target(world, input);
            world.open(Talk::Stat(target.clone()), Request::Stat(target));
        }
        17..=21 => {
            let fault = fault(input, refuse_reads);
            let which = input.below(256);
            world.perform(which, fault, input);
        }
        22..=24 => {
            for _ in 0..world.disk.ready() {
                world.perform(0, None, input);
            }
        }
        25 | 26 => world.perform_all(),
        27 => {
            let nanos = 1_000 << input.below(20);
            let wall = input.u64();
            world.pass(nanos, wall);
        }
        28 => world.restart(true, input),
        29 => world.restart(false, input),
        30 if input.rarely(4) => _ = world.open(Talk::Close, Request::Close),
        30 => burst(world, input),
        _ => world.come_to_rest(),
    }
    if choice & 128 == 0 {
        world.turn();
    }
}

fn name(input: &mut Input<'_>) -> Name {
    let text = ["a", "ab", "b/c", "b/d", "\u{e9}t\u{e9}"][input.below(5)];
    Name::new(text.as_bytes()).expect("a good name")
}

fn expect(input: &mut Input<'_>) -> Expect {
    match input.below(8) {
        0 => Expect::Absent,
        1 => Expect::Version(u64::from(input.u8())),
        _ => Expect::Any,
    }
}

fn target(world: &World, input: &mut Input<'_>) -> Target {
    let files = world.model.files();
    if !files.is_empty() && input.rarely(4) {
        return Target::Content(files[input.below(files.len())]);
    }
    if input.rarely(16) { Target::Content(FileId::from_bytes(input.digest())) } else { Target::Name(name(input)) }
}

fn open_put(world: &mut World, input: &mut Input<'_>) {
    let (name, expect) = (name(input), expect(input));
    let len = match input.below(8) {
        0 => input.below(10),
        1..=4 => input.below(140),
        5 | 6 => input.below(600),
        _ => input.below(2_400),
    };
    // Few seeds: contents share chunks, and names share contents.
    let content = noise(u64::from(input.u8() % 4), len);
    let piped = input.flag();
    let put = Put::new(world.config.geometry(), name.clone(), expect, &content, piped);
    let lie = input.rarely(32).then(|| input.u64());
    let size = if piped { None } else { Some(lie.unwrap_or(len as u64)) };
    world.open(Talk::Put(Box::new(put)), Request::PutOpen { name, expect, size });
}

/// Every client sends what it can.
fn go_on(world: &mut World) {
    let ids: Vec<RequestId> = world.talks.keys().copied().collect();
    for id in ids {
        while let Some(Talk::Put(put)) = world.talks.get_mut(&id) {
            let Some(request) = put.go_on(&mut world.model) else { break };
            world.send(id, request);
        }
    }
}

/// A message that does not belong where it is sent.
fn misuse(world: &mut World, input: &mut Input<'_>) {
    let open: Vec<RequestId> = world.talks.keys().copied().collect();
    let id = pick(&open, input.below(64));
    let request = match input.below(6) {
        0 | 1 => {
            let len = input.below(200);
            let chunk = Bytes::from(noise(u64::from(input.u8() % 4), len));
            match world.talks.get_mut(&id) {
                Some(Talk::Put(put)) => put.send(chunk),
                _ => Request::PutChunk(dps_core::id::VerifiedChunk::new(chunk)),
            }
        }
        2 | 3 => {
            let mut file = [0xee; 32];
            file[..8].copy_from_slice(&id.0.to_le_bytes());
            file[8] = input.u8();
            let size = u64::from(input.u16());
            let lie = FileDigest { file: FileId::from_bytes(file), size };
            match world.talks.get_mut(&id) {
                Some(Talk::Put(put)) => {
                    // The file is a lie, its length may be none.
                    let size = if input.flag() { put.sent.len() as u64 } else { size };
                    put.commit(&mut world.model, Some(FileDigest { size, ..lie }))
                }
                _ => Request::PutCommit(lie),
            }
        }
        4 => {
            let bytes = input.u64();
            if let Some(Talk::Get(get)) = world.talks.get_mut(&id) {
                get.granted = get.granted.saturating_add(bytes);
            }
            Request::GetMore { bytes }
        }
        _ => {
            let findings = input.u32();
            if let Some(Talk::Verify(verify)) = world.talks.get_mut(&id) {
                verify.granted = verify.granted.saturating_add(findings.into());
            }
            Request::VerifyMore { findings }
        }
    };
    world.send(id, request);
}

fn open_get(world: &mut World, input: &mut Input<'_>) {
    let target = target(world, input);
    let mut place = || if input.rarely(16) { input.u64() } else { input.below(700) as u64 };
    let (first, last) = (place(), place());
    let range = match input.below(6) {
        0 => Some(ByteRange::From { first }),
        1 | 2 => Some(ByteRange::FromTo { first, last }),
        3 => Some(ByteRange::Last { bytes: last }),
        _ => None,
    };
    let id = world.open(Talk::Get(Get::new(target.clone())), Request::GetOpen { target, range });
    if input.flag() {
        grant(world, id, 100 + u64::from(input.u8()));
    }
}

fn grant(world: &mut World, id: RequestId, bytes: u64) {
    if let Some(Talk::Get(get)) = world.talks.get_mut(&id) {
        get.granted = get.granted.saturating_add(bytes);
        world.send(id, Request::GetMore { bytes });
    }
}

fn get_more(world: &mut World, input: &mut Input<'_>) {
    let bytes = input.below(300) as u64;
    let is_get = |(id, talk): (&RequestId, &Talk)| matches!(talk, Talk::Get(_)).then_some(*id);
    let ids: Vec<RequestId> = world.talks.iter().filter_map(is_get).collect();
    for id in ids {
        grant(world, id, bytes);
    }
}

fn cancel(world: &mut World, input: &mut Input<'_>) {
    let open: Vec<RequestId> = world.talks.keys().copied().collect();
    let id = pick(&open, input.below(64));
    let request = world.talks.get_mut(&id).map_or(Request::Cancel, Talk::cancel);
    world.send(id, request);
}

fn delete(world: &mut World, input: &mut Input<'_>) {
    let (name, expect) = (name(input), expect(input));
    let write = world.model.begin(&name, None);
    world.open(Talk::Delete { name: name.clone(), write }, Request::Delete { name, expect });
}

fn list(world: &mut World, input: &mut Input<'_>) {
    let prefix = String::from(["", "a", "b/", "zz"][input.below(4)]);
    let after = input.flag().then(|| name(input));
    let limit = if input.flag() { 1_000 } else { u32::from(input.u8() % 4) };
    let request = Request::List { prefix: prefix.clone(), after: after.clone(), limit };
    world.open(Talk::List { prefix, after, limit }, request);
}

/// What goes wrong with the next disk request, mostly nothing.
fn fault(input: &mut Input<'_>, refuse_reads: bool) -> Option<Fault> {
    match input.below(24) {
        20 => Some(Fault::Write(DiskError::Full)),
        21 => Some(Fault::Write(DiskError::Io(5))),
        22 if refuse_reads => Some(Fault::Read),
        _ => None,
    }
}

/// Many empty files at once.
fn burst(world: &mut World, input: &mut Input<'_>) {
    let count = 1 + input.below(BURST_MAX);
    let known = world.model.names().len();
    for number in known..(known + count).min(BURST_NAMES_MAX) {
        let name = Name::new(format!("many/{number}").as_bytes()).expect("a good name");
        let put = Put::new(world.config.geometry(), name.clone(), Expect::Any, &[], false);
        let request = Request::PutOpen { name, expect: Expect::Any, size: Some(0) };
        let id = world.open(Talk::Put(Box::new(put)), request);
        if let Some(Talk::Put(put)) = world.talks.get_mut(&id) {
            let commit = put.commit(&mut world.model, None);
            world.send(id, commit);
        }
    }
}
