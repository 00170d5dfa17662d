//! The store as a program uses it.

use std::fs;

use bytes::Bytes;
use dps::disk::Create;
use dps::put::Source;
use dps::{Options, Store, StoreError};
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::node::VerifyScope;
use tempfile::TempDir;

/// More than a client is sent ahead, in several chunks.
const BYTES: usize = 33 << 20;

async fn store(temp: &TempDir) -> Store {
    let options = Options { create: Create::Directory, ..Options::standard().expect("it is valid") };
    Store::open(&temp.path().join("store"), options).await.expect("a directory of our own can be used")
}

fn name() -> Name {
    Name::new(b"file").expect("it is short")
}

/// Whoever forgets a file that is half read, or a verification, must not keep the store from closing.
#[tokio::test]
async fn a_store_closes_although_somebody_still_reads() {
    let temp = TempDir::new().expect("there is a place for it");
    for abandon in [false, true] {
        let store = store(&temp).await;
        let source = Source::bytes(Bytes::from(vec![7; BYTES]));
        store.put(source, name(), Expect::Any).await.expect("there is space");
        let mut get = store.get(Target::Name(name()), None).await.expect("it was stored");
        let first = get.next().await.expect("it is whole").expect("it is not empty");
        assert!(first.len() < BYTES, "there is more to come");
        let mut verification = store.verify(VerifyScope::All).await.expect("it can be read");
        while verification.next().await.expect("it can be read").is_some() {}
        if abandon {
            store.abandon().await;
        } else {
            store.close().await.expect("nothing fails");
        }
        let rest = loop {
            match get.next().await {
                Ok(Some(_)) => {}
                rest => break rest,
            }
        };
        assert!(
            matches!(rest, Err(StoreError::Closed | StoreError::Request(_))),
            "a get that ends early says so: {rest:?}"
        );
    }
}

/// What is found damaged is counted until it is stored anew.
#[tokio::test]
async fn damage_that_was_found_is_counted_until_it_is_mended() {
    let temp = TempDir::new().expect("there is a place for it");
    let store = store(&temp).await;
    let content = Bytes::from((0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let put = async || store.put(Source::bytes(content.clone()), name(), Expect::Any).await.expect("there is space");
    put().await;
    let volume = temp.path().join("store/data/000001.kdht");
    let mut bytes = fs::read(&volume).expect("it was just written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&volume, bytes).expect("it is ours");
    let damaged = async || store.usage().await.expect("it is open").damaged_chunks;
    assert_eq!(damaged().await, 0, "nobody has read it yet");
    let mut verification = store.verify(VerifyScope::All).await.expect("it can be read");
    let mut findings = 0;
    while verification.next().await.expect("it can be read").is_some() {
        findings += 1;
    }
    assert_eq!((findings, damaged().await), (1, 1));
    put().await;
    assert_eq!(damaged().await, 0, "it was stored anew");
    drop(verification);
    store.close().await.expect("nothing fails");
}
