//! The `dps` command over real files: what goes in comes out, and what is damaged is named and never handed out.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dps_core::crypto::hash::sha256;
use dps_core::id::FileId;
use dps_tests::command::{Bench, Ended, binary, wait};

/// Bytes that don't repeat.
fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = dps_core::rng::Seed::new([7; 32]).split("content", seed).rng();
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    FileId::from_bytes(sha256(bytes)).to_string()
}

#[test]
fn what_goes_in_comes_out() {
    let bench = Bench::new();
    for len in [0, 1, 512, 513, 65_535, 65_536, 65_537, 300_000, 5_000_000] {
        let bytes = content(len, len as u64);
        let file = bench.file("in", &bytes);
        let name = format!("sizes/{len}");
        bench.succeed(["put", file.to_str().unwrap(), &name]);
        assert_eq!(bench.succeed(["get", &name]), bytes, "{len}");
        assert_eq!(bench.succeed(["get", &format!("sha256:{}", hex(&bytes))]), bytes, "{len}");
        let (code, lines) = bench.json(["stat", &name]);
        assert_eq!(code, 0);
        assert_eq!(lines[0]["sha256"], hex(&bytes));
        assert_eq!(lines[0]["size"], len);
        // A pipe gives the same content, so nothing is new.
        let ended = bench.run_with_input(["put", "-", "piped", "--json"], &bytes);
        let stored: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&stored["sha256"], &stored["new_bytes"]), (&lines[0]["sha256"], &0.into()), "{len}");
        assert_eq!(stored["names"], 2, "{len}");
    }
    bench.succeed(["verify"]);
}

#[test]
fn parts_of_a_file_can_be_fetched() {
    let bench = Bench::new();
    let bytes = content(200_000, 1);
    bench.succeed(["put", bench.file("in", &bytes).to_str().unwrap(), "a"]);
    for (range, expected) in [
        ("0-0", &bytes[..1]),
        ("65535-65536", &bytes[65_535..65_537]),
        ("150000-", &bytes[150_000..]),
        ("-5", &bytes[199_995..]),
        ("-9999999", &bytes[..]),
        ("199999-9999999", &bytes[199_999..]),
    ] {
        assert_eq!(bench.succeed(["get", "a", "--range", range]), expected, "{range}");
    }
    bench.run(["get", "a", "-o", "out", "--range", "200000-"]).assert_failed(2, "E_RANGE");
    assert!(!bench.path().join("out").exists());
    assert_eq!(bench.entries("."), ["in", "store"]);
}

#[test]
fn names_are_listed_and_removed_one_by_one() {
    let bench = Bench::new();
    let file = bench.file("one", b"same content");
    let file = file.to_str().unwrap();
    bench.succeed(["put", file]);
    bench.succeed(["put", file, "b/two"]);
    bench.succeed(["put", file, "b/three"]);
    assert_eq!(bench.succeed(["ls"]), b"b/three\nb/two\none\n");
    assert_eq!(bench.succeed(["ls", "b/t"]), b"b/three\nb/two\n");
    let (_, lines) = bench.json(["ls", "b/"]);
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["item", "item", "summary"]);
    assert_eq!(lines[2]["items"], 2);
    bench.succeed(["rm", "one"]);
    assert_eq!(bench.succeed(["get", "b/two"]), b"same content");
    bench.run(["get", "one"]).assert_failed(4, "E_NOT_FOUND");
    bench.run(["rm", "one"]).assert_failed(4, "E_NOT_FOUND");
    bench.run(["stat", "one"]).assert_failed(4, "E_NOT_FOUND");
    bench.run(["verify", "one"]).assert_failed(4, "E_NOT_FOUND");
    let partial = bench.run(["rm", "one", "b/two"]);
    assert_eq!(partial.code, 3, "{partial:?}");
    assert!(partial.stderr.contains("error[E_NOT_FOUND]: one "), "{partial:?}");
    assert_eq!(bench.succeed(["ls"]), b"b/three\n");
}

#[test]
fn a_put_can_be_conditional() {
    let bench = Bench::new();
    let (old, new) = (bench.file("old", b"old"), bench.file("new", b"new"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    bench.succeed(["put", old, "a", "--if-absent"]);
    bench.run(["put", new, "a", "--if-absent"]).assert_failed(5, "E_CONFLICT");
    bench.run(["put", new, "a", "--if-version", "999999"]).assert_failed(5, "E_CONFLICT");
    assert_eq!(bench.succeed(["get", "a"]), b"old");
    let (_, lines) = bench.json(["stat", "a"]);
    let version = lines[0]["version"].as_u64().unwrap();
    bench.succeed(["put", new, "a", "--if-version", &version.to_string()]);
    assert_eq!(bench.succeed(["get", "a"]), b"new");
}

#[test]
fn an_output_file_appears_as_a_whole_and_replaces_only_by_force() {
    let bench = Bench::new();
    let bytes = content(100_000, 2);
    bench.succeed(["put", bench.file("in", &bytes).to_str().unwrap(), "a"]);
    bench.file("out", b"old");
    bench.run(["get", "a", "-o", "out"]).assert_failed(5, "E_EXISTS");
    assert_eq!(fs::read(bench.path().join("out")).unwrap(), b"old");
    bench.succeed(["get", "a", "-o", "out", "--force"]);
    assert_eq!(fs::read(bench.path().join("out")).unwrap(), bytes);
    bench.run(["get", "a", "-o", "no/out"]).assert_failed(4, "E_NO_FILE");
    bench.succeed(["get", "a", "-o", "/dev/null"]);
    assert_eq!(bench.entries("."), ["in", "out", "store"]);
}

#[test]
fn sources_that_the_kernel_makes_up_or_that_fail_are_told_apart() {
    let bench = Bench::new();
    // A length of 0, and yet content.
    bench.succeed(["put", "/proc/version"]);
    assert_eq!(bench.succeed(["get", "version"]), fs::read("/proc/version").unwrap());
    // Opens, and fails at the first byte.
    bench.run(["put", "/proc/self/mem"]).assert_failed(1, "E_SOURCE");
    assert_eq!(bench.succeed(["ls"]), b"version\n");
    bench.succeed(["verify"]);
}

#[test]
fn a_reader_that_has_gone_is_no_panic() {
    let bench = Bench::new();
    let bytes = content(3_000_000, 3);
    bench.succeed(["put", bench.file("in", &bytes).to_str().unwrap(), "a"]);
    let mut child = bench.command(["get", "a"]).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(first, bytes[..10]);
    let ended = wait(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (141, ""));
}

#[test]
fn an_interrupted_put_leaves_a_clean_store_and_no_name() {
    let bench = Bench::new();
    bench.succeed(["put", bench.file("in", b"before").to_str().unwrap(), "before"]);
    for signal in ["INT", "TERM"] {
        let mut command = bench.command(["put", "-", "never"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // Once the lock file holds the child's number, the child listens for signals and waits for its input.
        let lock = bench.store().join("LOCK");
        while fs::read_to_string(&lock).ok() != Some(format!("dps {}\n", child.id())) {
            assert!(child.try_wait().unwrap().is_none(), "it waits for its input");
            std::thread::yield_now();
        }
        let stdin = child.stdin.take();
        bench.run(["ls"]).assert_failed(11, "E_LOCKED");
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        wait(child).assert_failed(130, "E_INTERRUPTED");
        drop(stdin);
        assert_eq!(bench.succeed(["ls"]), b"before\n");
    }
    bench.succeed(["verify"]);
}

/// The volumes of a store in which `rotten`, `healthy` and `third` were stored, one per run and so one per volume.
fn three_volumes(bench: &Bench) -> Vec<PathBuf> {
    for (seed, name) in [(1, "rotten"), (2, "healthy"), (3, "third")] {
        let file = bench.file("in", &content(200_000, seed));
        bench.succeed([OsStr::new("put"), file.as_os_str(), OsStr::new(name)]);
    }
    fs::remove_file(bench.path().join("in")).expect("it was just written");
    let volumes: Vec<_> =
        bench.entries("store/data").into_iter().map(|name| bench.store().join("data").join(name)).collect();
    assert!(volumes.len() >= 3, "{volumes:?}");
    volumes
}

fn assert_rotten(bench: &Bench, volume: &Path, faults: &[&str]) {
    let path = format!("data/{}", volume.file_name().and_then(OsStr::to_str).expect("volumes have plain names"));
    bench.run(["get", "rotten", "-o", "out"]).assert_failed(8, "E_BAD_CHUNK");
    assert_eq!(bench.entries("."), ["store"], "nothing half-written is left");
    let (code, lines) = bench.json(["verify"]);
    assert_eq!(code, 8);
    let named = |line: &&serde_json::Value| line["kind"] == "chunk" && line["name"] == "rotten";
    let chunk = lines.iter().find(named).unwrap_or_else(|| panic!("no finding names the file: {lines:?}"));
    assert!(chunk["index"].is_u64() && faults.iter().any(|fault| chunk["fault"] == *fault), "{chunk}");
    let text = String::from_utf8(bench.run(["verify"]).stdout).expect("output is UTF-8");
    assert!(text.contains("rotten") && text.contains(&path), "{text}");
    assert!(!lines.iter().any(|line| line["name"] == "healthy" || line["name"] == "third"), "{lines:?}");
    assert_eq!(bench.succeed(["get", "healthy"]), content(200_000, 2));
    assert_eq!(bench.succeed(["get", "third"]), content(200_000, 3));
    assert_eq!(bench.run(["verify", "rotten"]).code, 8);
    bench.succeed(["verify", "healthy"]);
}

#[test]
fn one_flipped_byte_is_named_and_the_rest_comes_back() {
    let bench = Bench::new();
    let volume = &three_volumes(&bench)[0];
    let mut bytes = fs::read(volume).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(volume, bytes).unwrap();
    assert_rotten(&bench, volume, &["mismatch"]);
}

#[test]
fn a_truncated_volume_is_named_and_the_rest_comes_back() {
    let bench = Bench::new();
    let volume = &three_volumes(&bench)[0];
    let file = fs::File::options().write(true).open(volume).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    assert_rotten(&bench, volume, &["missing", "mismatch"]);
}

#[test]
fn a_missing_volume_is_named_and_the_rest_comes_back() {
    let bench = Bench::new();
    let volume = &three_volumes(&bench)[0];
    fs::remove_file(volume).unwrap();
    assert_rotten(&bench, volume, &["missing"]);
}

#[test]
fn a_store_of_a_newer_format_or_without_boot_records_is_left_alone() {
    let bench = Bench::new();
    bench.succeed(["put", bench.file("in", b"x").to_str().unwrap()]);
    let slots: Vec<_> = ["boot.0", "boot.1"].map(|name| bench.store().join(name)).into_iter().collect();
    for slot in slots.iter().filter(|slot| slot.exists()) {
        // The version is the fifth byte of a boot record, and the last four are the CRC of those before.
        let mut record = fs::read(slot).unwrap();
        record[4] = 99;
        let end = record.len() - 4;
        let crc = crc32fast::hash(&record[..end]);
        record[end..].copy_from_slice(&crc.to_le_bytes());
        fs::write(slot, record).unwrap();
    }
    let ended = bench.run(["ls"]);
    ended.assert_failed(13, "E_NEWER_FORMAT");
    assert!(ended.stderr.contains("99"), "{ended:?}");
    for slot in slots.iter().filter(|slot| slot.exists()) {
        fs::write(slot, "not a boot record").unwrap();
    }
    let before = bench.entries("store/journal");
    for args in [["ls", "-q"], ["put", "in"], ["verify", "-q"]] {
        bench.run(args).assert_failed(8, "E_BOOT_RECORD_LOST");
    }
    assert_eq!(bench.entries("store/journal"), before);
}

/// Runs `script` with `sh` in a directory `full` that is a file system of its own, of so many MiB. `None` where mounting
/// is not allowed.
fn on_a_small_disk(bench: &Bench, mib: u32, script: &str) -> Option<Ended> {
    fs::create_dir(bench.path().join("full")).expect("tests can write temporary files");
    let mount = format!("mount -t tmpfs -o size={mib}m,mode=755 tmpfs full || exit 77");
    for unshare in [["--mount", "--propagation=private"].as_slice(), &["--mount", "--map-root-user"]] {
        let mut command = Command::new("unshare");
        command.args(unshare).args(["sh", "-c", &format!("{mount}\n{script}")]).current_dir(bench.path());
        command.env("dps", binary()).env("DPS_DATA", "full/store").stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(child) = command.spawn() else { continue };
        let ended = wait(child);
        // 1 is unshare's own refusal, before the script could print anything.
        if ended.code != 77 && !(ended.code == 1 && ended.stderr.starts_with("unshare:")) {
            return Some(ended);
        }
    }
    None
}

#[test]
fn a_full_disk_keeps_what_it_has_and_says_so() {
    let bench = Bench::new();
    bench.file("small", &content(1_000_000, 1));
    bench.file("large", &content(8_000_000, 2));
    let script = r#"
        "$dps" put -q small || exit 90
        "$dps" put large
        [ $? = 14 ] || exit 91
        "$dps" get small -o back || exit 92
        cmp small back || exit 93
        [ "$("$dps" ls)" = small ] || exit 94
        "$dps" verify -q || exit 95
        dd if=/dev/zero of=full/ballast bs=4k 2>/dev/null
        "$dps" get small -f -o back || exit 96
        cmp small back || exit 97
        "$dps" put -q large
        [ $? = 14 ] || exit 98
        rm full/ballast
        mount -o remount,size=48m full || exit 77
        "$dps" put -q large || exit 99
        "$dps" verify -q || exit 100
    "#;
    let Some(ended) = on_a_small_disk(&bench, 12, script) else {
        println!("skipped: this machine allows no mount");
        return;
    };
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stderr.matches("error[E_DISK_FULL]: no space is left for large").count(), 2, "{ended:?}");
    assert_eq!(ended.stderr.matches("\n  hint: ").count(), 2, "{ended:?}");
}

#[test]
fn a_disk_that_others_fill_to_the_last_byte_is_emptied_again() {
    let bench = Bench::new();
    for (name, bytes, seed) in [("kept", 3_000_000, 3), ("gone", 6_000_000, 4), ("late", 500_000, 5)] {
        bench.file(name, &content(bytes, seed));
    }
    let script = r#"
        "$dps" put -q kept && "$dps" put -q gone || exit 90
        [ -s full/store/reserve ] || exit 91
        dd if=/dev/zero of=full/ballast bs=1M 2>/dev/null
        dd if=/dev/zero of=full/ballast bs=1 oflag=append conv=notrunc count=8192 2>/dev/null
        "$dps" get -q gone -o back && cmp gone back || exit 92
        dd if=/dev/zero of=full/more bs=4k 2>/dev/null
        "$dps" verify -q || exit 93
        "$dps" put -q late
        [ $? = 14 ] || exit 94
        "$dps" rm -q --purge gone || exit 95
        "$dps" gc -q || exit 96
        "$dps" verify -q || exit 97
        "$dps" get -q kept -f -o back && cmp kept back || exit 98
        "$dps" put -q late || exit 99
        "$dps" get -q late -f -o back && cmp late back || exit 100
        "$dps" verify -q || exit 101
        [ -s full/store/reserve ] || exit 102
        "$dps" stats --json
    "#;
    let Some(ended) = on_a_small_disk(&bench, 64, script) else {
        println!("skipped: this machine allows no mount");
        return;
    };
    assert_eq!(ended.code, 0, "{ended:?}");
    let stats: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("one line of JSON");
    assert!(stats["reserve_bytes"].as_u64().unwrap() > 0 && stats["available_bytes"].is_u64(), "{stats}");
}
