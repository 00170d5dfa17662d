//! Stores written by released versions open for ever, with everything that is in them.
//!
//! `tests/data/format-N` is a data directory of format N, `tests/data/format-N.txt` says what is in it: size, SHA-256 and
//! name. They were written once by `tests/examples/write_format.rs`, with a tiny configuration, and are never written
//! again: if one of them stops to open, the program is wrong. In each there are files of every kind of manifest, several
//! segments and volumes, names that share a content, that were replaced and removed, and a last start that ended without
//! closing anything. From format 2 on there are also chunks with marks, marks and drops of their own, and volumes that are
//! gone.

use std::fs;
use std::path::{Path, PathBuf};

use dps::put::Source;
use dps::{Options, Store};
use dps_core::crypto::hash::Sha256;
use dps_core::disk::boot::FORMAT;
use dps_core::id::FileId;
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::node::VerifyScope;
use tempfile::TempDir;

/// A file that must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: Name,
    file: FileId,
    size: u64,
}

fn data(format: u32) -> PathBuf {
    dps_tests::tree::root().join("tests").join("data").join(format!("format-{format}"))
}

fn lines(format: u32) -> Vec<Line> {
    let text = fs::read_to_string(data(format).with_extension("txt")).expect("a list comes with every format");
    let line = |line: &str| {
        let mut parts = line.trim_start().splitn(3, ' ');
        let mut next = || parts.next().expect("a line has three parts");
        let (size, file, name) = (next(), next(), next());
        Line {
            name: Name::new(name.as_bytes()).expect("names are valid"),
            file: file.parse().expect("a hash"),
            size: size.parse().expect("a number"),
        }
    };
    text.lines().map(line).collect()
}

/// A copy of a data directory, without folders that hold nothing: version control does not keep them either.
fn copy(format: u32) -> TempDir {
    let copy = tempfile::tempdir().expect("tests can write temporary files");
    copy_folder(&data(format), copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("released data is there") {
        let path = entry.expect("a folder can be read").path();
        let target = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::create_dir_all(to).expect("tests can write temporary files");
            fs::copy(&path, target).expect("tests can write temporary files");
        }
    }
}

fn files_in(directory: &Path, folder: &str) -> usize {
    fs::read_dir(directory.join(folder)).map_or(0, Iterator::count)
}

async fn open(path: &Path) -> Store {
    let options = Options::standard().expect("the standard configuration is valid");
    Store::open(path, options).await.expect("a released format opens")
}

/// The hash and the size of what is read.
async fn read(store: &Store, target: Target) -> (FileId, u64) {
    let mut get = store.get(target, None).await.expect("the file is there");
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(data) = get.next().await.expect("the file is whole") {
        hash.update(&data);
        size += data.len() as u64;
    }
    (FileId::from_bytes(hash.finish()), size)
}

async fn assert_holds(store: &Store, expected: &[Line]) {
    let page = store.list("", None).await.expect("names can be listed");
    assert!(!page.more);
    let listed = page.entries.into_iter().map(|stat| {
        let name = stat.name.expect("a listing names its entries");
        Line { name, file: stat.file, size: stat.size }
    });
    assert_eq!(listed.collect::<Vec<_>>(), expected);
    for Line { name, file, size } in expected {
        assert_eq!(read(store, Target::Name(name.clone())).await, (*file, *size), "{name}");
        assert_eq!(read(store, Target::Content(*file)).await, (*file, *size), "{file}");
    }
    let mut verification = store.verify(VerifyScope::All).await.expect("a store can be verified");
    let finding = verification.next().await.expect("a verification comes to its end");
    assert_eq!(finding, None);
}

#[tokio::test]
async fn every_released_format_opens_with_all_that_is_in_it() {
    for format in 1..=FORMAT {
        let mut expected = lines(format);
        assert!(expected.len() >= 10 && expected.is_sorted(), "format {format} has files to lose");
        let directory = copy(format);
        let (segments, volumes) = (files_in(directory.path(), "journal"), files_in(directory.path(), "data"));
        assert!(segments >= 3 && volumes >= 3, "format {format} has several files of both kinds");

        let store = open(directory.path()).await;
        assert_holds(&store, &expected).await;
        assert_eq!(files_in(directory.path(), "journal"), segments + 1, "the tail of the last start was copied");
        let (name, content) = (Name::new(b"~new").expect("a valid name"), vec![7; 100_000]);
        let put = store.put(Source::bytes(content.into()), name.clone(), Expect::Absent).await;
        let stat = put.expect("an old store takes new files").stat;
        store.close().await.expect("the store closes");

        expected.push(Line { name, file: stat.file, size: stat.size });
        let again = open(directory.path()).await;
        assert_holds(&again, &expected).await;
        again.abandon().await;
        assert_holds(&open(directory.path()).await, &expected).await;
    }
}

/// Files and folders of a data directory.
const FILES: [&str; 10] =
    ["LOCK", "boot.0", "boot.1", "catalog.0", "catalog.1", "segments.0", "segments.1", "data", "journal", "stage"];

#[test]
fn released_data_is_only_what_dps_writes() {
    for format in 1..=FORMAT {
        let entries = fs::read_dir(data(format)).expect("released data is there");
        let names = entries.map(|entry| entry.expect("a folder can be read").file_name().into_string());
        for name in names.map(|name| name.expect("names of dps are UTF-8")) {
            assert!(FILES.contains(&&*name), "format {format}: {name}");
        }
        assert_eq!(files_in(&data(format), "stage"), 0, "format {format}: nothing is in the making");
    }
}
