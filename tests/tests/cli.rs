//! Bad input on the command line: each a specific error with its exit code, and nothing written anywhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use dps::disk::{Create, Directory};
use dps_tests::command::{Bench, binary, unprivileged, wait};

/// Every verb that only looks, with what it needs.
const LOOKS: [&[&str]; 5] = [&["get", "a", "-o", "-"], &["ls"], &["stat", "a"], &["rm", "a"], &["verify"]];

#[test]
fn help_and_version_are_results_and_bad_usage_is_an_error() {
    let bench = Bench::new();
    for (args, expected) in [(["--help"], "Exit codes:"), (["--version"], "dps ")] {
        let text = String::from_utf8(bench.succeed(args)).unwrap();
        assert!(text.contains(expected), "{text}");
    }
    for args in [vec![], vec!["frob"], vec!["put"], vec!["get", "a", "--no-such-option"]] {
        let ended = bench.run(&args);
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.stdout.is_empty());
        assert!(ended.stderr.contains("Usage:"), "{ended:?}");
    }
    bench.run(["get", "a", "--no-such-option"]).assert_failed(2, "E_USAGE");
}

#[test]
fn a_source_that_can_not_be_read_makes_no_store() {
    let bench = Bench::new();
    fs::create_dir(bench.path().join("folder")).unwrap();
    bench.file("file", b"x");
    bench.run(["put", "missing"]).assert_failed(4, "E_NO_FILE");
    bench.run(["put", "folder"]).assert_failed(2, "E_IS_DIRECTORY");
    bench.run(["put", "folder/"]).assert_failed(2, "E_IS_DIRECTORY");
    bench.run(["put", "file/below", "name"]).assert_failed(4, "E_NO_FILE");
    bench.run(["put", "/"]).assert_failed(2, "E_NAME");
    bench.run(["put", "-"]).assert_failed(2, "E_NAME");
    assert_eq!(bench.entries("."), ["file", "folder"]);
}

#[test]
fn permissions_are_respected_and_told() {
    let bench = Bench::new();
    let reachable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.path(), reachable.clone()).unwrap();
    // The build directory may not be open to others.
    let copy = bench.path().join("dps");
    fs::copy(binary(), &copy).unwrap();
    fs::set_permissions(&copy, reachable).unwrap();
    let secret = bench.file("secret", b"x");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let closed = bench.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(&copy);
        command.args(args).env_clear().current_dir(bench.path()).stdin(Stdio::null());
        wait(unprivileged(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    run(&["put", "secret", "--data", "store"]).assert_failed(7, "E_DENIED");
    run(&["ls", "--data", "closed"]).assert_failed(7, "E_DENIED");
    run(&["ls", "--data", "closed/store"]).assert_failed(7, "E_DENIED");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!bench.store().exists() && bench.entries("closed").is_empty());
}

#[test]
fn a_text_that_is_no_name_is_refused_before_anything_happens() {
    let bench = Bench::new();
    let file = bench.file("file", b"x");
    let long = "n".repeat(1_025);
    let bad: [&[u8]; 4] = [b"", long.as_bytes(), b"not\xffutf8", b"sha256:not-a-hash"];
    for name in bad {
        let name = OsStr::from_bytes(name);
        bench.run([OsStr::new("put"), file.as_os_str(), name]).assert_failed(2, "E_NAME");
        for verb in ["get", "stat", "verify"] {
            let code = if name.as_bytes().starts_with(b"sha256:") { "E_CONTENT" } else { "E_NAME" };
            bench.run([OsStr::new(verb), name]).assert_failed(2, code);
        }
        bench.run([OsStr::new("rm"), OsStr::new("good"), name]).assert_failed(2, "E_NAME");
    }
    bench.run([OsStr::new("ls"), OsStr::from_bytes(b"\xff")]).assert_failed(2, "E_NAME");
    let odd = bench.path().join(OsStr::from_bytes(b"odd\xff"));
    fs::write(&odd, b"x").unwrap();
    bench.run([OsStr::new("put"), odd.as_os_str()]).assert_failed(2, "E_NAME");
    assert!(!bench.store().exists());
}

#[test]
fn a_range_that_is_none_is_refused() {
    let bench = Bench::new();
    for range in ["", "5", "9-5", "-0", "a-b", "1-2-3"] {
        bench.run(["get", "a", "-o", "out", &format!("--range={range}")]).assert_failed(2, "E_RANGE");
    }
    assert!(bench.entries(".").is_empty());
}

#[test]
fn only_put_makes_a_store() {
    let bench = Bench::new();
    for args in LOOKS {
        bench.run(args).assert_failed(10, "E_NO_STORE");
    }
    assert!(!bench.store().exists());
    fs::create_dir(bench.store()).unwrap();
    for args in LOOKS {
        bench.run(args).assert_failed(10, "E_NO_STORE");
    }
    assert!(bench.entries("store").is_empty());
}

#[test]
fn a_directory_of_something_else_is_never_written_to() {
    let bench = Bench::new();
    fs::create_dir(bench.store()).unwrap();
    bench.file("store/diary.txt", b"mine");
    let file = bench.file("file", b"x");
    let put: &[&str] = &["put", file.to_str().unwrap()];
    for args in LOOKS.into_iter().chain([put]) {
        bench.run(args).assert_failed(10, "E_NOT_A_STORE");
    }
    assert_eq!(bench.entries("store"), ["diary.txt"]);
    let with = |data: &str| bench.run(["--data", data, "put", file.to_str().unwrap()]);
    with("file").assert_failed(10, "E_NOT_A_DIRECTORY");
    with("file/store").assert_failed(10, "E_NOT_A_DIRECTORY");
    with("no/such/place").assert_failed(10, "E_NO_PARENT");
    with("").assert_failed(2, "E_USAGE");
    assert_eq!(bench.entries("."), ["file", "store"]);
}

#[test]
fn the_data_directory_has_a_standard_place() {
    let bench = Bench::new();
    let home = bench.path().join("home");
    let look = |variables: &[(&str, &Path)]| {
        let mut command = bench.command(["ls"]);
        command.env_remove("DPS_DATA").envs(variables.iter().copied());
        wait(command.spawn().unwrap())
    };
    let ended = look(&[("HOME", &home)]);
    ended.assert_failed(10, "E_NO_STORE");
    assert!(ended.stderr.contains("home/.local/share/dps"), "{ended:?}");
    let ended = look(&[("HOME", &home), ("XDG_DATA_HOME", &bench.path().join("xdg"))]);
    assert!(ended.stderr.contains("xdg/dps"), "{ended:?}");
    look(&[("HOME", Path::new("relative"))]).assert_failed(2, "E_USAGE");
    look(&[]).assert_failed(2, "E_USAGE");
    assert!(bench.entries(".").is_empty());
}

#[test]
fn a_second_process_is_told_who_is_first() {
    let bench = Bench::new();
    let file = bench.file("file", b"x");
    let _held = Directory::open(&bench.store(), Create::Directory).unwrap();
    let put: &[&str] = &["put", file.to_str().unwrap()];
    for args in LOOKS.into_iter().chain([put]) {
        let ended = bench.run(args);
        ended.assert_failed(11, "E_LOCKED");
        assert!(ended.stderr.contains(&format!("process {}", std::process::id())), "{ended:?}");
    }
}

#[test]
fn an_output_that_can_not_be_is_refused_before_the_store_is_asked() {
    let bench = Bench::new();
    fs::create_dir(bench.path().join("folder")).unwrap();
    bench.file("taken", b"old");
    bench.run(["get", "a", "-o", "folder"]).assert_failed(2, "E_IS_DIRECTORY");
    bench.run(["get", "a", "-f", "-o", "folder"]).assert_failed(2, "E_IS_DIRECTORY");
    bench.run(["get", "a", "-o", "taken"]).assert_failed(5, "E_EXISTS");
    assert_eq!(fs::read(bench.path().join("taken")).unwrap(), b"old");
}

#[test]
fn errors_are_objects_for_programs() {
    let bench = Bench::new();
    let (code, lines) = bench.json(["ls"]);
    assert_eq!((code, lines.len()), (10, 1));
    let error = &lines[0];
    assert_eq!(error["type"], "error");
    assert_eq!(error["schema_version"], 1);
    assert_eq!(error["code"], "E_NO_STORE");
    assert_eq!(error["exit_code"], 10);
    assert!(error["hint"].as_str().unwrap().contains("dps put"));
    // Where standard output is for the bytes of a file, the object goes to standard error.
    let ended = bench.run(["get", "a", "-o", "-", "--json"]);
    assert!(ended.stdout.is_empty());
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["code"], "E_NO_STORE");
}
