//! Writes the first seeds of every corpus: `cargo run --no-default-features --example seeds`, from the folder `fuzz`.
//!
//! Codecs get bytes that are accepted. Scripts get bytes that decide anything, of several lengths: whatever they are,
//! they mean something. What a fuzzer finds beyond that joins them by hand.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dps_core::disk::boot::BootRecord;
use dps_core::disk::record::FileKey;
use dps_core::id::{ChunkId, FileId, NodeId};
use dps_core::keystore::filter::Filter;
use dps_core::keystore::manifest::{self, Manifest, Tree};
use dps_core::keystore::manifest_codec;
use dps_core::ledger::command::Command;
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::raft::membership::{Change, Membership};
use dps_core::raft::message::{Appended, Body, Message};
use dps_core::raft::snapshot::Snapshot;
use dps_core::replica::witness::{Because, Start, Words};
use dps_core::replica::{Answer, Body as Says, Letter, Message as Told, Piece};
use dps_core::rng::Seed;
use dps_core::time::WallTime;
use dps_core::wire::control;
use dps_core::wire::frame;

const SCRIPT_LENS: [usize; 6] = [12, 40, 90, 180, 350, 700];

fn main() -> io::Result<()> {
    for (target, _) in dps_fuzz::TARGETS {
        for (number, len) in (0..).zip(SCRIPT_LENS) {
            let mut rng = Seed::new([7; 32]).split(target, number).rng();
            let script: Vec<u8> = (0..len).map(|_| rng.bytes::<1>()[0]).collect();
            write(target, &format!("script-{number}"), &script)?;
        }
    }
    for (name, manifest) in manifests() {
        let mut bytes = Vec::new();
        manifest_codec::encode(&manifest, &mut bytes);
        write("manifest", name, &bytes)?;
        let time = WallTime::from_nanos(1);
        let put = Command::Put { time, lease: 0, name: file_name(), expect: Expect::Version(3), manifest };
        write("command", &format!("put-{name}"), &put.encode())?;
    }
    for (name, expect) in [("any", Expect::Any), ("absent", Expect::Absent)] {
        let delete = Command::Delete { time: WallTime::from_nanos(2), name: file_name(), expect };
        write("command", &format!("delete-{name}"), &delete.encode())?;
    }
    for (name, command) in reclaiming() {
        write("command", name, &command.encode())?;
    }
    let mut filter = Filter::builder(3, [4; 16], 10);
    (0..10_u8).for_each(|index| filter.insert(&ChunkId::of(&[index])));
    write("filter", "part", &filter.finish().encode_part(0))?;
    let stream = messages().map(|(name, message)| (name, control::encode(&Told::Raft(message))));
    for (name, letter) in letters() {
        write("wire", name, &control::encode(&Told::Member(letter)))?;
    }
    let mut frames = Vec::new();
    for (name, bytes) in &stream {
        write("wire", name, bytes)?;
        frame::encode(bytes, &mut frames).expect("a small message");
    }
    write("wire", "frames", &frames)?;
    let record = BootRecord { store: [1; 16], key: FileKey([2; 16]), boot: 5, random: [3; 16] };
    write("boot_record", "record", &record.encode())
}

/// A command of each kind that came with what gives space back.
fn reclaiming() -> [(&'static str, Command); 8] {
    let (time, name, expect) = (WallTime::from_nanos(3), file_name(), Expect::Any);
    let manifest = Manifest::inline(FileId::from_bytes(*ChunkId::of(b"").as_bytes()), b"");
    [
        ("put-leased", Command::Put { time, lease: 7, name: name.clone(), expect, manifest }),
        ("sweep-start", Command::SweepStart { time }),
        ("sweep-complete", Command::SweepComplete { time, epoch: 7, filter_hash: [8; 32], by_person: true }),
        ("undelete", Command::Undelete { time, name: name.clone(), version: 9, expect }),
        ("reap", Command::Reap { time, before: WallTime::from_nanos(2), limit: 100 }),
        ("purge", Command::Purge { time, name, expect }),
        ("clean", Command::Clean { time }),
        ("deep-clean", Command::DeepClean { time }),
    ]
}

/// Messages of a group, of kinds that differ in shape.
fn messages() -> [(&'static str, Message); 8] {
    let node = |number: u8| NodeId::from_bytes([number; 20]);
    let at = |term, index| Position { term, index };
    let group = Membership::new([1, 2, 3].map(node)).expect("three voters");
    let joint = group.change(&[Change::Demote(node(1)), Change::Remove(node(2)), Change::AddLearner(node(4))]);
    let joint = Arc::new(joint.expect("the third one stays"));
    let payloads =
        [Payload::Empty, Payload::Command(Bytes::from_static(b"command")), Payload::Membership(Arc::clone(&joint))];
    let entries = payloads.into_iter().zip(12..).map(|(payload, index)| Entry { position: at(9, index), payload });
    let snapshot = Snapshot { last: at(6, 1_000), membership: joint, digest: [5; 32], bytes: 70_000 };
    let (session, hint) = (21, at(4, 5));
    [
        ("vote", Body::Vote { last: at(8, 11), transfer: true }),
        ("vote-reply", Body::VoteReply { granted: false, clock: 0 }),
        ("append", Body::Append { session, prev: at(8, 11), entries: entries.collect(), commit: 10 }),
        (
            "conflict",
            Body::AppendReply { session, result: Appended::Conflict { prev: 15, hint }, counts: true, clock: 0 },
        ),
        ("install", Body::Install { session, snapshot: snapshot.into() }),
        ("heartbeat", Body::Heartbeat { session, commit: 16, round: 31 }),
        ("read-reply", Body::ReadReply { asker: 2, ticket: 41, index: Some(0) }),
        ("stale", Body::Stale),
    ]
    .map(|(name, body)| (name, Message { from: node(1), incarnation: 3, to: node(2), term: 300, body }))
}

/// Letters of members, of kinds that differ in shape.
fn letters() -> [(&'static str, Letter); 9] {
    let (from, to) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
    let piece = Piece { index: 1_000, digest: [5; 32], offset: 70 };
    let end = Position { term: 9, index: 14 };
    let start = Start { random: [3; 16], end, term: 10, whole: true };
    let membership = Arc::new(Membership::new([from, to]).expect("two voters"));
    let snapshot = Snapshot { last: end, membership, digest: [5; 32], bytes: 70_000 };
    let command = Command::Clean { time: WallTime::from_nanos(3) };
    let because = Because::ShorterLog { acknowledged: end };
    [
        ("letter-ask", Says::Ask(piece)),
        ("letter-part", Says::Part { asker: 3, piece, bytes: Bytes::from_static(b"part") }),
        ("letter-wanted", Says::Wanted { from: 1_000 }),
        ("letter-offered", Says::Offered { asker: 3, snapshot }),
        ("letter-propose", Says::Propose { ticket: 4, command }),
        ("letter-proposed", Says::Proposed { asker: 3, ticket: 4, answer: Answer::NotLeader(Some(from)) }),
        ("letter-introduction", Says::Meet(Words::Introduction { start, nonce: Some([4; 16]) })),
        ("letter-challenge", Says::Meet(Words::Challenge { start: 3, nonce: [4; 16] })),
        ("letter-rolled-back", Says::Meet(Words::RolledBack { random: [3; 16], because })),
    ]
    .map(|(name, body)| (name, Letter { from, incarnation: 3, to, body }))
}

fn manifests() -> [(&'static str, Manifest); 4] {
    let chunk = |index: u8| ChunkId::of(&[index]);
    let file = FileId::from_bytes([9; 32]);
    let entries =
        [100, 100, 7].into_iter().zip(0..).map(|(bytes, index)| manifest::Entry { chunk: chunk(index), bytes });
    let tree = Tree { root: chunk(9), levels: 2, fanout: 4 };
    let hello = ChunkId::of(b"hello");
    let inline = Manifest::inline(FileId::from_bytes(*hello.as_bytes()), &Bytes::from_static(b"hello"));
    let empty = Manifest::inline(FileId::from_bytes(*ChunkId::of(b"").as_bytes()), b"");
    let body = manifest::Body::Entries(entries.collect());
    [
        ("empty", empty),
        ("inline", inline),
        ("entries", Manifest { file, size: 207, block_bytes: 100, body }),
        ("tree", Manifest { file, size: 1_600, block_bytes: 100, body: manifest::Body::Tree(tree) }),
    ]
}

fn file_name() -> Name {
    Name::new(b"folder/file").expect("a good name")
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}
