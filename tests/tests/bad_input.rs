//! The list of bad input, over the real binary: whatever it is, the message names it, says what to do, and has a code and
//! an exit code that never change; what was stored before is untouched, and nothing half-made appears anywhere.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dps::disk::{Create, Directory};
use dps_core::ledger::name::{Name, NameError};
use dps_tests::command::{Bench, Ended, binary, is_root, snapshot, unprivileged, wait};

/// Bytes that don't repeat, three blocks of them.
fn content(seed: u64) -> Vec<u8> {
    let mut rng = dps_core::rng::Seed::new([8; 32]).split("content", seed).rng();
    (0..150_000 / 8).flat_map(|_| rng.bytes::<8>()).collect()
}

/// A working directory with a store that has the files `old` and `other`, and nothing else in it.
struct Kept(Bench);

impl Kept {
    fn new() -> Self {
        let bench = Bench::new();
        for (seed, name) in [(1, "old"), (2, "other")] {
            let file = bench.file("in", &content(seed));
            bench.succeed([OsStr::new("put"), file.as_os_str(), OsStr::new(name)]);
            fs::remove_file(file).expect("it was just written");
        }
        Self(bench)
    }

    /// Runs the binary, which must fail as said, and leave everything as it was.
    fn refuses<S: AsRef<OsStr>>(&self, args: &[S], exit: i32, code: &str, named: &[&str]) {
        let before = self.0.entries(".");
        told(&self.0, args, exit, code, named);
        assert_eq!(self.0.entries("."), before, "nothing new lies about");
        self.is_whole();
    }

    /// Both files are there, whole, and nothing else is.
    fn is_whole(&self) {
        assert_eq!(self.0.succeed(["ls"]), b"old\nother\n");
        assert!(self.0.succeed(["get", "old"]) == content(1), "old has other bytes");
        assert!(self.0.succeed(["get", "other"]) == content(2), "other has other bytes");
        assert!(self.0.entries("store/stage").is_empty(), "nothing half-made is in the store");
    }
}

/// Runs the binary, for people and for programs, and holds what it says to the rules.
fn told<S: AsRef<OsStr>>(bench: &Bench, args: &[S], exit: i32, code: &str, named: &[&str]) -> Ended {
    let ended = bench.run(args);
    ended.assert_failed(exit, code);
    for part in named {
        assert!(ended.stderr.contains(part), "{part:?} is not named: {ended:?}");
    }
    assert!(ended.stderr.contains("\n  hint: "), "nobody is told what to do: {ended:?}");
    let (json_exit, lines) = bench.json(args);
    assert_eq!(json_exit, exit);
    let error = lines.last().expect("an object for the error");
    assert_eq!((&error["type"], &error["code"], &error["exit_code"]), (&"error".into(), &code.into(), &exit.into()));
    assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error}");
    ended
}

#[test]
fn a_source_that_is_missing() {
    let kept = Kept::new();
    kept.refuses(&["put", "no-such-file"], 4, "E_NO_FILE", &["no-such-file"]);
    kept.refuses(&["put", "no-such-folder/file", "old"], 4, "E_NO_FILE", &["no-such-folder/file"]);
    kept.0.file("file", b"x");
    kept.refuses(&["put", "file/below", "old"], 4, "E_NO_FILE", &["file/below"]);
}

#[test]
fn a_source_that_can_not_be_read() {
    let kept = Kept::new();
    // Opens, and fails at the first byte.
    kept.refuses(&["put", "/proc/self/mem", "old"], 1, "E_SOURCE", &["old"]);
    let closed = kept.0.file("closed", b"x");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if !is_root() {
        kept.refuses(&["put", "closed", "old"], 7, "E_DENIED", &["closed"]);
        return;
    }
    // Root may read everything, so someone else has to try, with a copy of the program and a store of their own.
    for path in [kept.0.path().to_owned(), kept.0.store()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = kept.0.path().join("dps");
    fs::copy(binary(), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["put", "closed", "old", "--data", "theirs"]).current_dir(kept.0.path()).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = wait(unprivileged(&mut command).spawn().unwrap());
    ended.assert_failed(7, "E_DENIED");
    assert!(ended.stderr.contains("closed") && ended.stderr.contains("\n  hint: "), "{ended:?}");
    assert!(!kept.0.path().join("theirs").exists());
    kept.is_whole();
}

/// Starts a put of a file so long that nobody reads it to its end, and waits until it has been opened: the lock is taken
/// after that.
fn put_of_an_endless_file(kept: &Kept) -> (std::process::Child, PathBuf) {
    let path = kept.0.path().join("endless");
    let file = File::create(&path).expect("tests can write temporary files");
    file.set_len(1 << 40).expect("a file may have a hole");
    let mut child = kept.0.command(["put", "endless", "old"]).spawn().expect("the binary can be run");
    let lock = kept.0.store().join("LOCK");
    while fs::read_to_string(&lock).ok() != Some(format!("dps {}\n", child.id())) {
        assert!(child.try_wait().expect("a child can be asked").is_none(), "it reads its source");
        std::thread::yield_now();
    }
    (child, path)
}

#[test]
fn a_source_that_shrinks_while_it_is_read() {
    let kept = Kept::new();
    let (child, path) = put_of_an_endless_file(&kept);
    File::options().write(true).open(&path).unwrap().set_len(70_000).unwrap();
    let ended = wait(child);
    ended.assert_failed(1, "E_SOURCE_CHANGED");
    for part in ["old", "1099511627776", "\n  hint: "] {
        assert!(ended.stderr.contains(part), "{part:?} is not told: {ended:?}");
    }
    kept.is_whole();
    // As if it had always been shorter than it says.
    kept.refuses(&["put", "/sys/devices/system/cpu/online", "old"], 1, "E_SOURCE_CHANGED", &["old", "4096"]);
}

#[test]
fn a_source_that_vanishes_while_it_is_read_is_read_to_its_end() {
    let kept = Kept::new();
    let pipe = kept.0.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let child = kept.0.command(["put", "pipe", "new"]).spawn().unwrap();
    // Returns when the child has opened the other end.
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    fs::remove_file(&pipe).unwrap();
    writer.write_all(&content(3)).unwrap();
    drop(writer);
    assert_eq!(wait(child).code, 0);
    assert!(kept.0.succeed(["get", "new"]) == content(3), "new has other bytes");
    // One that goes away with its content is told like one that shrinks.
    let (child, path) = put_of_an_endless_file(&kept);
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    fs::remove_file(path).unwrap();
    wait(child).assert_failed(1, "E_SOURCE_CHANGED");
    assert!(kept.0.succeed(["get", "old"]) == content(1), "old has other bytes");
    assert_eq!(kept.0.succeed(["ls"]), b"new\nold\nother\n");
}

#[test]
fn a_directory_where_a_file_is_meant() {
    let kept = Kept::new();
    fs::create_dir(kept.0.path().join("folder")).unwrap();
    kept.refuses(&["put", "folder", "old"], 2, "E_IS_DIRECTORY", &["folder"]);
    kept.refuses(&["get", "old", "-o", "folder"], 2, "E_IS_DIRECTORY", &["folder"]);
    kept.refuses(&["get", "old", "--force", "-o", "folder"], 2, "E_IS_DIRECTORY", &["folder"]);
    assert!(kept.0.entries("folder").is_empty());
}

#[test]
fn a_name_that_is_none() {
    let kept = Kept::new();
    let file = kept.0.file("file", b"x");
    let long = "n".repeat(1_025);
    for (name, shown) in [(b"".as_slice(), "\"\""), (long.as_bytes(), "1025"), (b"not\xffutf8", "byte 3")] {
        let name = OsString::from_vec(name.to_vec());
        for verb in ["get", "stat", "verify", "rm"] {
            kept.refuses(&[OsStr::new(verb), &name], 2, "E_NAME", &[shown]);
        }
        kept.refuses(&[OsStr::new("put"), file.as_os_str(), &name], 2, "E_NAME", &[shown]);
    }
    kept.0.succeed(["put", "file", &long[..1_024]]);
    kept.0.succeed(["rm", &long[..1_024]]);
    kept.refuses(&["put", "file", "sha256:abc"], 2, "E_NAME", &["sha256:abc"]);
    kept.refuses(&["get", "sha256:abc", "-o", "out"], 2, "E_CONTENT", &["sha256:abc"]);
    kept.refuses(&[OsStr::new("ls"), OsStr::from_bytes(b"\xff")], 2, "E_NAME", &[]);
}

/// No argument of a process can hold a NUL: the system refuses before any program runs. So the name itself is asked.
#[test]
fn a_name_with_a_nul() {
    let kept = Kept::new();
    let spawned = kept.0.command(["stat", "a\0b"]).spawn();
    assert_eq!(spawned.map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(Name::new(b"a\0b"), Err(NameError::Nul { offset: 1 }));
    // From standard input or a file of names it would come here; a content may hold as many as it likes.
    let ended = kept.0.run_with_input(["put", "-", "nul"], b"a\0b");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(kept.0.succeed(["get", "nul"]), b"a\0b");
}

#[test]
fn a_range_past_the_end() {
    let kept = Kept::new();
    for range in ["150000-", "150000-150001", "18446744073709551615-"] {
        let args = ["get", "old", "-o", "out", "--range", range];
        kept.refuses(&args, 2, "E_RANGE", &["old", "150000 bytes"]);
    }
    for range in ["9-5", "x", "-0"] {
        kept.refuses(&["get", "old", "-o", "out", &format!("--range={range}")], 2, "E_RANGE", &[range]);
    }
    kept.0.file("out", b"mine");
    kept.refuses(&["get", "old", "--force", "-o", "out", "--range", "150000-"], 2, "E_RANGE", &["old"]);
    assert_eq!(fs::read(kept.0.path().join("out")).unwrap(), b"mine");
}

/// Flips one bit where `what` stands in a file below the store.
fn flip(kept: &Kept, folder: &str, what: &[u8]) -> String {
    for name in kept.0.entries(&format!("store/{folder}")) {
        let path = kept.0.store().join(folder).join(&name);
        let mut bytes = fs::read(&path).expect("the store can be read");
        if let Some(at) = bytes.windows(what.len()).position(|window| window == what) {
            bytes[at] ^= 1;
            fs::write(path, bytes).expect("the store can be written");
            return format!("{folder}/{name}");
        }
    }
    panic!("{what:?} stands nowhere in {folder}");
}

#[test]
fn a_chunk_that_has_rotted() {
    let kept = Kept::new();
    let volume = flip(&kept, "data", &content(1)[70_000..70_020]);
    let before = kept.0.entries(".");
    for args in [["get", "old", "-o", "out"].as_slice(), &["get", "old", "-o", "out", "--range", "66000-80000"]] {
        told(&kept.0, args, 8, "E_BAD_CHUNK", &["old", &volume]);
    }
    kept.0.file("mine", b"mine");
    told(&kept.0, &["get", "old", "--force", "-o", "mine"], 8, "E_BAD_CHUNK", &["old"]);
    assert_eq!(fs::read(kept.0.path().join("mine")).unwrap(), b"mine");
    fs::remove_file(kept.0.path().join("mine")).unwrap();
    assert_eq!(kept.0.entries("."), before, "nothing half-written");
    assert!(kept.0.succeed(["get", "other"]) == content(2), "other has other bytes");
    assert_eq!(kept.0.succeed(["get", "old", "--range", "0-9"]), content(1)[..10]);
    // Storing it again mends it.
    let file = kept.0.file("in", &content(1));
    kept.0.succeed([OsStr::new("put"), file.as_os_str(), OsStr::new("old")]);
    kept.is_whole();
    kept.0.succeed(["verify", "old"]);
}

#[test]
fn a_journal_that_has_rotted() {
    let kept = Kept::new();
    let segment = flip(&kept, "journal", b"old");
    let file = kept.0.file("in", b"x");
    let before = (kept.0.entries("store/journal"), kept.0.entries("."));
    let put = ["put", file.to_str().unwrap(), "new"];
    for args in [["get", "other", "-o", "out"].as_slice(), &["stat", "old"], &["ls"], &["rm", "other"], &put] {
        told(&kept.0, args, 8, "E_LEDGER_DAMAGED", &[&segment]);
    }
    assert_eq!(before, (kept.0.entries("store/journal"), kept.0.entries(".")), "nothing was written");
    let ended = kept.0.run(["verify"]);
    assert_eq!(ended.code, 8, "{ended:?}");
    assert!(String::from_utf8(ended.stdout).unwrap().contains(&segment));
    // A content that is still known proves itself.
    let hash = dps_core::crypto::hash::sha256(&content(2));
    let target = format!("sha256:{}", dps_core::id::FileId::from_bytes(hash));
    assert!(kept.0.succeed(["get", &target]) == content(2), "other has other bytes");
}

/// What a verification tells that ends with this code.
fn verify(kept: &Kept, code: &str) -> String {
    let ended = kept.0.run(["verify"]);
    assert!(ended.code == 8 && ended.stderr.contains(&format!("error[{code}]")), "{ended:?}");
    String::from_utf8(ended.stdout).expect("findings are text")
}

#[test]
fn a_volume_under_another_name() {
    let kept = Kept::new();
    let data = kept.0.store().join("data");
    let names = kept.0.entries("store/data");
    let volume = names.iter().find(|name| name.ends_with(".kdht")).expect("there are volumes").clone();
    let (from, to) = (data.join(&volume), data.join("000078.kdht"));
    // Copied in: nothing is lost, and nothing of the copy is used.
    fs::copy(&from, &to).unwrap();
    let stray = ["data/000078.kdht".to_owned(), format!("data/{volume}")];
    let found = verify(&kept, "E_STRAY");
    assert!(stray.iter().all(|part| found.contains(part)), "{found}");
    kept.is_whole();
    // Renamed: its files are missed, and nothing removes it.
    fs::remove_file(&from).unwrap();
    let found = verify(&kept, "E_DAMAGED");
    assert!(stray.iter().all(|part| found.contains(part)), "{found}");
    let bytes = fs::read(&to).unwrap();
    kept.0.run(["gc"]);
    kept.0.run(["gc"]);
    assert!(fs::read(&to).unwrap() == bytes, "it is as it was");
    fs::rename(&to, &from).unwrap();
    kept.is_whole();
    kept.0.succeed(["gc"]);
    kept.0.succeed(["verify"]);
    kept.is_whole();
}

#[test]
fn a_journal_segment_under_another_name() {
    let kept = Kept::new();
    let journal = kept.0.store().join("journal");
    for segment in kept.0.entries("store/journal") {
        let (from, to) = (journal.join(&segment), journal.join("000078.log"));
        fs::rename(&from, &to).unwrap();
        let named = format!("journal/{segment}");
        told(&kept.0, &["get", "old", "-o", "out"], 8, "E_LEDGER_DAMAGED", &[&named]);
        let found = verify(&kept, "E_DAMAGED");
        assert_eq!(found.matches(&format!("{named} is missing")).count(), 1, "{found}");
        assert!(found.contains(&format!("journal/000078.log is {named} under another name")), "{found}");
        fs::rename(&to, &from).unwrap();
        kept.is_whole();
    }
    kept.0.succeed(["verify"]);
}

#[test]
fn an_output_on_a_full_disk() {
    let kept = Kept::new();
    kept.refuses(&["get", "old", "-o", "/dev/full"], 14, "E_OUTPUT_FULL", &["/dev/full"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = wait(kept.0.command(["get", "old"]).stdout(full).spawn().unwrap());
    ended.assert_failed(14, "E_OUTPUT_FULL");
    kept.is_whole();
}

#[test]
fn a_data_directory_of_a_newer_format() {
    let kept = Kept::new();
    let slots = ["boot.0", "boot.1"].map(|name| kept.0.store().join(name));
    let old = slots.clone().map(|slot| fs::read(slot).unwrap());
    for (slot, record) in slots.iter().zip(old.clone()) {
        // The version is the fifth byte of a boot record, and the last four are the CRC of those before.
        let (mut record, end) = (record.clone(), record.len() - 4);
        record[4] = 77;
        let crc = crc32fast::hash(&record[..end]);
        record[end..].copy_from_slice(&crc.to_le_bytes());
        fs::write(slot, record).unwrap();
    }
    let file = kept.0.file("in", b"x");
    // Each process writes its number into the lock file.
    let but_the_lock = || {
        let mut files = snapshot(&kept.0.store());
        files.remove("LOCK".as_ref() as &std::path::Path).expect("there is a lock");
        files
    };
    let before = but_the_lock();
    let put = ["put", file.to_str().unwrap(), "old"];
    for args in [["get", "old", "-o", "out"].as_slice(), &["ls"], &["stat", "old"], &["rm", "old"], &["verify"], &put] {
        told(&kept.0, args, 13, "E_NEWER_FORMAT", &["77"]);
    }
    assert_eq!(but_the_lock(), before, "not a byte was changed");
    assert_eq!(kept.0.entries("."), ["in", "store"]);
    for (slot, record) in slots.iter().zip(old) {
        fs::write(slot, record).unwrap();
    }
    kept.is_whole();
}

#[test]
fn a_directory_that_is_not_ours() {
    let bench = Bench::new();
    fs::create_dir(bench.store()).unwrap();
    bench.file("store/diary.txt", b"mine");
    let file = bench.file("in", b"x");
    let before = snapshot(bench.path());
    let put = ["put", file.to_str().unwrap(), "old"];
    for args in [["get", "old", "-o", "out"].as_slice(), &["ls"], &["stat", "old"], &["rm", "old"], &["verify"], &put] {
        told(&bench, args, 10, "E_NOT_A_STORE", &["diary.txt", "store"]);
    }
    assert_eq!(snapshot(bench.path()), before, "not a byte was changed");
    told(&bench, &["ls", "--data", "in"], 10, "E_NOT_A_DIRECTORY", &["in"]);
    told(&bench, &["ls", "--data", "nowhere"], 10, "E_NO_STORE", &["nowhere"]);
    told(&bench, &["put", "in", "--data", "no/where"], 10, "E_NO_PARENT", &["no/where"]);
    assert_eq!(snapshot(bench.path()), before);
}

#[test]
fn a_second_process_on_one_data_directory() {
    let kept = Kept::new();
    let file = kept.0.file("in", b"x");
    let held = Directory::open(&kept.0.store(), Create::Never).unwrap();
    let before = snapshot(&kept.0.store());
    let put = ["put", file.to_str().unwrap(), "old"];
    let first = format!("process {}", std::process::id());
    for args in [["get", "old", "-o", "out"].as_slice(), &["ls"], &["stat", "old"], &["rm", "old"], &["verify"], &put] {
        told(&kept.0, args, 11, "E_LOCKED", &[&first, "store"]);
    }
    assert_eq!(snapshot(&kept.0.store()), before, "not a byte was changed");
    drop(held);
    kept.is_whole();
}
