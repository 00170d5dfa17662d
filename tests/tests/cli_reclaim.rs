//! The `dps` command over real files: what was removed comes back, and what is gone for good gives its space back.

use std::fs;

use dps_tests::command::Bench;

fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = dps_core::rng::Seed::new([8; 32]).split("content", seed).rng();
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn put(bench: &Bench, name: &str, bytes: &[u8]) {
    let file = bench.file("in", bytes);
    let path = file.to_str().expect("temporary paths are UTF-8");
    bench.succeed(["put", path, name]);
}

fn data_bytes(bench: &Bench) -> u64 {
    let folder = bench.store().join("data");
    let files = fs::read_dir(folder).expect("a store has volumes").flatten();
    files.map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
}

fn stats(bench: &Bench) -> serde_json::Value {
    let (code, lines) = bench.json(["stats"]);
    assert_eq!((code, &lines[0]["type"]), (0, &"stats".into()));
    lines[0].clone()
}

#[test]
fn a_removed_name_and_a_replaced_version_come_back() {
    let bench = Bench::new();
    let (first, second) = (content(300_000, 1), content(200_000, 2));
    put(&bench, "a", &first);
    put(&bench, "a", &second);
    bench.succeed(["rm", "a"]);
    bench.run(["get", "a"]).assert_failed(4, "E_NOT_FOUND");
    let (_, lines) = bench.json(["ls", "--deleted"]);
    let listed: Vec<_> = lines.iter().filter(|line| line["type"] == "tombstone").collect();
    assert_eq!(listed.len(), 2, "{lines:?}");
    assert_eq!((&listed[0]["reason"], &listed[1]["reason"]), (&"overwritten".into(), &"deleted".into()));
    // Nothing of it is garbage yet.
    bench.succeed(["gc"]);
    bench.succeed(["undelete", "a"]);
    assert_eq!(bench.succeed(["get", "a"]), second);
    bench.run(["undelete", "a"]).assert_failed(5, "E_CONFLICT");
    let version = listed[0]["version"].to_string();
    bench.succeed(["undelete", "a", "--version", &version]);
    assert_eq!(bench.succeed(["get", "a"]), first);
    bench.run(["undelete", "b"]).assert_failed(4, "E_NOT_FOUND");
    bench.run(["undelete", "a", "--version", "99"]).assert_failed(4, "E_NOT_FOUND");
    bench.succeed(["verify"]);
}

#[test]
fn what_is_purged_gives_its_space_back() {
    let bench = Bench::new();
    let (kept, gone) = (content(1_000_000, 3), content(5_000_000, 4));
    put(&bench, "kept", &kept);
    put(&bench, "gone", &gone);
    let before = data_bytes(&bench);
    bench.succeed(["rm", "--purge", "gone"]);
    bench.run(["undelete", "gone"]).assert_failed(4, "E_NOT_FOUND");
    bench.run(["rm", "--purge", "gone"]).assert_failed(4, "E_NOT_FOUND");
    let (code, lines) = bench.json(["gc"]);
    assert_eq!((code, &lines[0]["type"]), (0, &"collected".into()));
    assert!(lines[0]["chunks"].as_u64().unwrap() > 0 && lines[0]["volumes"].as_u64().unwrap() > 0, "{lines:?}");
    assert!(data_bytes(&bench) < before - 4_900_000, "{} of {before} bytes are left", data_bytes(&bench));
    let stats = stats(&bench);
    assert_eq!(
        (&stats["names"], &stats["contents"], &stats["content_bytes"]),
        (&1.into(), &1.into(), &1_000_000.into())
    );
    assert_eq!(bench.succeed(["get", "kept"]), kept);
    bench.succeed(["verify"]);
    // A second collection finds nothing, and what is stored again is there again.
    let (_, lines) = bench.json(["gc"]);
    assert_eq!((&lines[0]["chunks"], &lines[0]["volumes"]), (&0.into(), &0.into()), "{lines:?}");
    put(&bench, "gone", &gone);
    assert_eq!(bench.succeed(["get", "gone"]), gone);
    bench.succeed(["verify"]);
}

#[test]
fn a_clean_says_what_is_missing_and_a_put_heals_it() {
    let bench = Bench::new();
    let bytes = content(400_000, 5);
    put(&bench, "a", &bytes);
    let before = bench.store();
    bench.run(["clean"]).assert_failed(2, "E_USAGE");
    assert_eq!(bench.succeed(["get", "a"]), bytes, "nothing happens without --yes");
    bench.succeed(["clean", "--yes"]);
    bench.run(["get", "a"]).assert_failed(4, "E_MISSING");
    let (_, lines) = bench.json(["ls"]);
    assert_eq!((&lines[0]["name"], &lines[0]["missing"]), (&"a".into(), &true.into()));
    assert!(data_bytes(&bench) < 10_000, "{} bytes are left in {}", data_bytes(&bench), before.display());
    put(&bench, "a", &bytes);
    assert_eq!(bench.succeed(["get", "a"]), bytes);
    bench.succeed(["deep-clean", "--yes"]);
    bench.run(["get", "a"]).assert_failed(4, "E_NOT_FOUND");
    assert_eq!(bench.succeed(["ls"]), b"");
    bench.succeed(["verify"]);
    put(&bench, "a", &bytes);
    assert_eq!(bench.succeed(["get", "a"]), bytes);
}

#[test]
fn a_store_that_is_not_there_has_nothing_to_give_back() {
    let bench = Bench::new();
    for verb in [&["gc"][..], &["stats"], &["undelete", "a"], &["clean", "--yes"], &["deep-clean", "--yes"]] {
        bench.run(verb).assert_failed(10, "E_NO_STORE");
    }
    assert!(!bench.store().exists());
}
