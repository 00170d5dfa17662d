//! Three real members on loopback: they agree on small files, and what was acknowledged survives the leader.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use dps_core::id::NodeId;
use dps_core::limits::FRAME_BYTES_MAX;
use dps_core::replica::{Body, Letter, Message};
use dps_core::wire::{control, frame};
use dps_tests::command::{Bench, binary};
use dps_tests::members::{Answer, Members, ask};

/// Leaders that are killed.
const KILLS: usize = 10;

/// Files that are stored between two kills, at least.
const FILES_BETWEEN: usize = 40;

fn code(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("an error is JSON");
    String::from(body["code"].as_str().expect("it has a code"))
}

#[test]
fn every_member_serves_what_any_of_them_stored() {
    let members = Members::new(3);
    let _ = members.wait_for_leader();
    let at = |number| members.files(number);
    let stored = ask(at(1), "PUT", "/v1/files/notes/a%20b", &[], b"hello").unwrap();
    assert_eq!(stored.status, 200, "{stored:?}");
    for number in members.numbers() {
        let read = ask(at(number), "GET", "/v1/files/notes/a%20b", &[], b"").unwrap();
        assert_eq!((read.status, &*read.body), (200, &b"hello"[..]), "member {number}");
    }
    let tag = stored.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("it has a version");
    let put = |number, header: &str, body| ask(at(number), "PUT", "/v1/files/notes/a%20b", &[header], body).unwrap();
    assert_eq!(code(&put(2, "if-none-match: *", b"new")), "E_CONFLICT");
    assert_eq!(put(2, &format!("if-match: {tag}"), b"next").status, 200);
    assert_eq!(code(&put(3, &format!("if-match: {tag}"), b"late")), "E_CONFLICT");
    assert_eq!(put(3, "x: y", &[7; 512]).status, 200);
    assert_eq!(ask(at(1), "DELETE", "/v1/files/notes/a%20b", &[], b"").unwrap().status, 204);
    for number in members.numbers() {
        let read = ask(at(number), "GET", "/v1/files/notes/a%20b", &[], b"").unwrap();
        assert_eq!((read.status, &*code(&read)), (404, "E_NOT_FOUND"), "member {number}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let members = Members::new(1);
    let _ = members.wait_for_leader();
    let at = members.files(1);
    for (method, path, headers, body, status, expected) in [
        ("PUT", "/v1/files/large", &[][..], &[1; 513][..], 413, "E_TOO_LARGE"),
        ("PUT", "/v1/files/", &[], b"x", 400, "E_NAME"),
        ("PUT", "/v1/files/a%2", &[], b"x", 400, "E_NAME"),
        ("PUT", "/v1/files/a%+1", &[], b"x", 400, "E_NAME"),
        ("PUT", "/v1/files/%ff", &[], b"x", 400, "E_NAME"),
        ("PUT", "/v1/files/a", &["if-match: 7"], b"x", 400, "E_CONDITION"),
        ("PUT", "/v1/files/a", &["if-none-match: *", "if-match: \"1\""], b"x", 400, "E_CONDITION"),
        ("POST", "/v1/files/a", &[], b"x", 405, "E_METHOD"),
        ("GET", "/v2", &[], b"", 404, "E_PATH"),
        ("GET", "/v1/files/a", &[], b"", 404, "E_NOT_FOUND"),
        ("DELETE", "/v1/files/a", &[], b"", 404, "E_NOT_FOUND"),
        ("PUT", "/v1/files/a", &["if-match: \"9\""], b"x", 412, "E_CONFLICT"),
    ] {
        let answer = ask(at, method, path, headers, body).unwrap();
        assert_eq!((answer.status, &*code(&answer)), (status, expected), "{method} {path} {headers:?}");
    }
}

/// A connection that announces what no frame has is closed at once, one with bytes that are no message goes on, and the member
/// serves as before.
#[test]
fn a_peer_that_talks_nonsense_is_not_listened_to() {
    let members = Members::new(1);
    let _ = members.wait_for_leader();
    let connect = || TcpStream::connect(members.peers(1)).expect("it listens");
    for header in [u32::MAX, FRAME_BYTES_MAX + 1, 0] {
        let mut stream = connect();
        stream.write_all(&header.to_le_bytes()).unwrap();
        // It would wait for the rest of the frame otherwise.
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() && closed.is_ok_and(|count| count == 0), "a frame of {header} bytes");
    }
    let mut stream = connect();
    let letter = |from: u8, incarnation| {
        let node = |number| NodeId::from_bytes([number; 20]);
        let body = Body::Wanted { from: 1 };
        control::encode(&Message::Member(Letter { from: node(from), incarnation, to: node(1), body }))
    };
    for message in [vec![0xff; 9], vec![0x4a, 0], letter(9, 1), letter(1, 1), letter(9, u64::MAX)] {
        let mut bytes = Vec::new();
        frame::encode(&message, &mut bytes).expect("it fits");
        stream.write_all(&bytes).unwrap();
    }
    let at = members.files(1);
    assert_eq!(ask(at, "PUT", "/v1/files/a", &[], b"x").unwrap().status, 200);
    assert_eq!(ask(at, "GET", "/v1/files/a", &[], b"").unwrap().body, b"x");
}

/// Whoever comes back on an empty disk under its old number would vote twice.
#[test]
fn a_member_on_an_empty_directory_under_its_old_number_stops() {
    let mut members = Members::new(3);
    let leader = members.wait_for_leader();
    assert_eq!(ask(members.files(leader), "PUT", "/v1/files/a", &[], b"x").unwrap().status, 200);
    let gone = leader % 3 + 1;
    members.kill(gone);
    std::fs::remove_dir_all(members.data(gone)).unwrap();
    // A service manager tries it again and again.
    for _ in 0..4 {
        let arguments = members.arguments(gone, &members.data(gone));
        let output = std::process::Command::new(binary()).args(arguments).output().expect("the binary was built");
        let text = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.code() == Some(8) && text.contains("E_ROLLED_BACK"), "{text}");
    }
    assert_eq!(ask(members.files(leader), "GET", "/v1/files/a", &[], b"").unwrap().body, b"x");
}

#[test]
fn a_directory_is_that_of_one_member_and_of_no_store() {
    let mut members = Members::new(3);
    let _ = members.wait_for_leader();
    members.kill(1);
    let bench = Bench::new();
    let run = |arguments: &[String]| {
        let output = std::process::Command::new(binary()).args(arguments).output().expect("the binary was built");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    // Member 1 is not there, so its addresses are free for the directory of member 2.
    let (status, text) = run(&members.arguments(1, &members.data(2)));
    assert!(status == Some(11) && text.contains("E_LOCKED"), "{text}");
    members.kill(2);
    let (status, text) = run(&members.arguments(1, &members.data(2)));
    assert!(status == Some(10) && text.contains("E_OTHER_MEMBER"), "{text}");
    let data = members.data(2).to_str().unwrap().to_owned();
    let (status, text) = run(&[String::from("ls"), String::from("--data"), data]);
    assert!(status == Some(10) && text.contains("E_MEMBER"), "{text}");
    let own = bench.path().join("own");
    let own_data = own.to_str().unwrap().to_owned();
    let (status, text) = run(&["put", "/proc/version", "v", "--data", &own_data].map(String::from));
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = run(&members.arguments(1, &own));
    assert!(status == Some(10) && text.contains("E_OTHER_MEMBER"), "{text}");
}

/// Stores files at one member after the other until it is told to stop, and remembers what was acknowledged.
fn store(
    client: usize,
    members: &[std::net::SocketAddr],
    over: &AtomicBool,
    count: &AtomicUsize,
) -> BTreeMap<String, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    for turn in client.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (path, body) =
            (format!("/v1/files/{client}/{turn}"), format!("file {turn} of client {client}").into_bytes());
        // One that is down refuses at once, and the next is asked.
        if ask(members[turn % members.len()], "PUT", &path, &[], &body).is_ok_and(|answer| answer.status == 200) {
            acknowledged.insert(path, body);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

#[test]
fn what_was_acknowledged_survives_every_leader() {
    let mut members = Members::new(3);
    let addresses: Vec<_> = members.numbers().map(|number| members.files(number)).collect();
    let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let all = Arc::new(Mutex::new(BTreeMap::new()));
    let clients: Vec<_> = (0..2)
        .map(|client| {
            let (addresses, over, count, all) = (addresses.clone(), over.clone(), count.clone(), all.clone());
            thread::spawn(move || {
                let acknowledged = store(client, &addresses, &over, &count);
                all.lock().expect("nobody panics with it").extend(acknowledged);
            })
        })
        .collect();
    for kill in 1..=KILLS {
        while count.load(Ordering::Relaxed) < kill * FILES_BETWEEN {
            thread::yield_now();
        }
        let leader = members.wait_for_leader();
        members.kill(leader);
        // The others go on without it.
        let before = count.load(Ordering::Relaxed);
        while count.load(Ordering::Relaxed) < before + FILES_BETWEEN / 2 {
            thread::yield_now();
        }
        members.start(leader);
    }
    over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client does not panic"));
    let acknowledged = all.lock().expect("nobody panics with it");
    assert!(acknowledged.len() >= KILLS * FILES_BETWEEN);
    for number in members.numbers() {
        for (path, body) in acknowledged.iter() {
            let read = loop {
                // The one that was started last may not listen yet.
                match ask(members.files(number), "GET", path, &[], b"") {
                    Ok(answer) if answer.status != 503 => break answer,
                    Ok(_) | Err(_) => thread::yield_now(),
                }
            };
            assert_eq!((read.status, &read.body), (200, body), "{path} at member {number}");
        }
    }
}
