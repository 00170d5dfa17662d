//! Real processes killed at any moment: what was acknowledged comes back, and a first run that died leaves nothing in the
//! way. The moments are drawn from a fixed seed, but where a process is by then depends on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use dps_core::rng::{Rng, Seed};
use dps_tests::command::{Bench, Ended, wait};

const SEED: Seed = Seed::new(*b"kill -9 at fifty random moments!");
/// Puts that are killed. Some end before that, and then there is another.
const KILLS: u64 = 50;
const FIRST_RUNS: u64 = 12;
const NAMES: u64 = 6;

/// How often this process gives way, at most, before it kills. On an idle machine, a few milliseconds.
const YIELDS_MAX: u64 = 10_000;

/// The end of a process that was killed.
const KILLED: i32 = 128 + 9;
/// There is no such name.
const NOT_FOUND: i32 = 4;
/// There is no store.
const NO_STORE: i32 = 10;

/// When a put is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When it has taken so many bytes from its standard input, and waits for more.
    Fed(u64),
    /// When a folder of the store has so many bytes more, or the put has ended.
    Grown(&'static str, u64),
    /// When this process has given way so often since the start: anywhere from before the first step to after the end.
    Started(u64),
}

impl Moment {
    fn draw(rng: &mut Rng, body_bytes: u64) -> Self {
        match rng.below(6) {
            0..=1 => Self::Fed(rng.below(body_bytes)),
            2 => Self::Grown("data", rng.below(body_bytes)),
            3 => Self::Grown("journal", rng.between(1, 800)),
            4 => Self::Grown("stage", rng.between(1, 400)),
            _ => Self::Started(rng.below(YIELDS_MAX)),
        }
    }
}

/// Small ones are part of the journal; large ones leave memory before they are read to their end.
fn body(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(8) {
        0..=1 => rng.between(1, 512),
        2..=5 => rng.between(513, 400 << 10),
        6 => rng.between(400 << 10, 4 << 20),
        _ => rng.between(4 << 20, 6 << 20),
    };
    let len = usize::try_from(len).expect("bodies fit into memory");
    let pattern: [u8; 1_020] = rng.bytes();
    let mut body = Vec::with_capacity(len + 1_024);
    // No two blocks are equal: each repetition of the pattern has its number.
    let mut number = 0_u32;
    while body.len() < len {
        body.extend_from_slice(&number.to_le_bytes());
        body.extend_from_slice(&pattern);
        number += 1;
    }
    body.truncate(len);
    body
}

/// Bytes of all files in a folder. Files may come and go meanwhile.
fn folder_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Starts a put of `body` and kills it at the moment. It may have ended before.
fn put_and_kill(bench: &Bench, name: &str, body: &[u8], moment: Moment) -> Ended {
    let mut child = match moment {
        Moment::Fed(bytes) => {
            let mut child = bench.command(["put", "-", name]).stdin(Stdio::piped()).spawn().expect("dps can be run");
            let part = &body[..usize::try_from(bytes).expect("bodies fit into memory")];
            child.stdin.as_mut().expect("it is a pipe").write_all(part).expect("a put reads its input");
            child
        }
        Moment::Grown(folder, bytes) => {
            let folder = bench.store().join(folder);
            let before = folder_bytes(&folder);
            let mut child = start_of_file(bench, name, body);
            while folder_bytes(&folder) < before + bytes && child.try_wait().expect("a child can be asked").is_none() {
                thread::yield_now();
            }
            child
        }
        Moment::Started(yields) => {
            let child = start_of_file(bench, name, body);
            (0..yields).for_each(|_| thread::yield_now());
            child
        }
    };
    child.kill().expect("a child can be killed");
    wait(child)
}

fn start_of_file(bench: &Bench, name: &str, body: &[u8]) -> Child {
    let source = bench.file("source", body);
    bench.command(["put".as_ref(), source.as_os_str(), name.as_ref()]).spawn().expect("dps can be run")
}

/// What a name means.
fn get(bench: &Bench, name: &str) -> Option<Vec<u8>> {
    let ended = bench.run(["get", name, "-o", "-"]);
    match ended.code {
        0 => Some(ended.stdout),
        NOT_FOUND => None,
        _ => panic!("{name}: {}", ended.stderr),
    }
}

fn verify(bench: &Bench) {
    let ended = bench.run(["verify"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// A comparison of bodies that does not print them.
fn same(found: Option<&Vec<u8>>, expected: Option<&Vec<u8>>) -> bool {
    found == expected
}

#[test]
fn what_was_acknowledged_survives_fifty_kills() {
    let bench = Bench::new();
    let mut rng = SEED.split("puts", 0).rng();
    let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut round, mut killed, mut stored_all_the_same) = (0, 0, 0);
    // A process that waits for its input does not end before it is killed, so this ends.
    while killed < KILLS {
        if round % 3 == 0 {
            let (name, body) = (format!("whole {}", rng.below(NAMES)), body(&mut rng));
            let ended = bench.run_with_input(["put", "-", &name], &body);
            assert_eq!(ended.code, 0, "round {round}: {}", ended.stderr);
            stored.insert(name, body);
        }
        let (name, body) = (format!("killed {}", rng.below(NAMES)), body(&mut rng));
        let moment = Moment::draw(&mut rng, body.len() as u64);
        let ended = put_and_kill(&bench, &name, &body, moment);
        verify(&bench);
        let found = get(&bench, &name);
        let is_new = same(found.as_ref(), Some(&body));
        match ended.code {
            0 => assert!(is_new, "round {round}, {moment:?}: {name} was acknowledged and is lost"),
            KILLED => {
                let is_old = same(found.as_ref(), stored.get(&name));
                assert!(
                    is_old || is_new,
                    "round {round}, {moment:?}: {name} is neither what it was nor what it became"
                );
                killed += 1;
                stored_all_the_same += u64::from(is_new);
            }
            code => panic!("round {round}, {moment:?}: code {code}: {}", ended.stderr),
        }
        if is_new {
            stored.insert(name, body);
        }
        for (name, body) in stored.iter().filter(|_| round % 16 == 0) {
            assert!(same(get(&bench, name).as_ref(), Some(body)), "round {round}: {name} was acknowledged and is lost");
        }
        round += 1;
    }
    println!("{round} puts, {killed} of them killed, {stored_all_the_same} of those too late to matter");
    let names = String::from_utf8(bench.succeed(["ls"])).expect("names are UTF-8");
    assert!(names.lines().eq(stored.keys()), "{names}");
}

#[test]
fn a_first_run_that_is_killed_leaves_nothing_in_the_way() {
    let mut rng = SEED.split("first runs", 0).rng();
    for round in 0..FIRST_RUNS {
        let bench = Bench::new();
        let body = body(&mut rng);
        let moment = match round % 3 {
            0 => Moment::Started(rng.below(YIELDS_MAX)),
            1 => Moment::Grown("", rng.between(1, 9_000)),
            _ => Moment::Grown("stage", 1),
        };
        let ended = put_and_kill(&bench, "first", &body, moment);
        assert!(ended.code == 0 || ended.code == KILLED, "{}", ended.stderr);
        assert_eq!(bench.run_with_input(["put", "-", "second"], b"second").code, 0, "round {round}, {moment:?}");
        verify(&bench);
        assert!(same(get(&bench, "second").as_ref(), Some(&b"second".to_vec())));
        match get(&bench, "first") {
            Some(found) => assert!(same(Some(&found), Some(&body)), "round {round}: it is another file"),
            None => assert_ne!(ended.code, 0, "round {round}: it was acknowledged"),
        }
    }
}

/// What a first run makes, step by step.
fn first_steps(boot_record: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let half = boot_record[..boot_record.len() / 2].to_vec();
    let folder = Vec::new;
    vec![
        ("", folder()),
        ("LOCK", Vec::new()),
        ("LOCK", b"dps 12345\n".to_vec()),
        ("journal/", folder()),
        ("data/", folder()),
        ("stage/", folder()),
        ("stage/000000.tmp", Vec::new()),
        ("stage/000000.tmp", half),
        ("stage/000000.tmp", boot_record.to_vec()),
    ]
}

/// A directory in which a first run got so many steps far.
fn half_made(steps: &[(&str, Vec<u8>)]) -> Bench {
    let bench = Bench::new();
    for (path, content) in steps {
        let at = bench.store().join(path);
        if path.is_empty() || path.ends_with('/') {
            fs::create_dir(at).expect("tests can write temporary files");
        } else {
            fs::write(at, content).expect("tests can write temporary files");
        }
    }
    bench
}

#[test]
fn a_directory_that_a_first_run_left_half_made_opens_as_empty() {
    let whole = Bench::new();
    assert_eq!(whole.run_with_input(["put", "-", "a"], b"a").code, 0);
    let boot_record = fs::read(whole.store().join("boot.1")).expect("the first boot record is there");
    let steps = first_steps(&boot_record);
    for count in 0..=steps.len() {
        let steps = &steps[..count];
        let looked_at = half_made(steps);
        let ended = looked_at.run(["ls"]);
        // Nothing tells an empty directory from someone else's, and looking makes no store.
        let expected = if count < 2 { NO_STORE } else { 0 };
        assert_eq!((ended.code, ended.stdout.len()), (expected, 0), "after {count} steps: {}", ended.stderr);
        for bench in [looked_at, half_made(steps)] {
            let ended = bench.run_with_input(["put", "-", "a"], b"content");
            assert_eq!(ended.code, 0, "after {count} steps: {}", ended.stderr);
            verify(&bench);
            assert_eq!(get(&bench, "a"), Some(b"content".to_vec()), "after {count} steps");
            assert_eq!(bench.entries("store/stage"), Vec::<String>::new(), "left-overs are removed");
            assert_eq!(bench.succeed(["ls"]), b"a\n");
        }
    }
}
