//! Opening what a crash has left, and comparing it with what was promised.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use dps::disk::path::{Folder, LOCK_NAME, relative};
use dps::put::Source;
use dps::{Store, StoreError};
use dps_core::id::FileId;
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::node::VerifyScope;

use crate::busy_run::options;
use crate::content::Contents;
use crate::history::{Expectation, Listing, Meaning};
use crate::medium::Image;

/// A name that no client of the busy run uses.
const NEWCOMER: &str = "newcomer";

/// Makes a data directory of an image.
pub(crate) fn materialise(image: &Image, path: &Path) {
    for folder in Folder::SUBFOLDERS {
        fs::create_dir(path.join(folder.name())).expect("tests can write temporary files");
    }
    // Nobody syncs what the lock file says.
    fs::write(path.join(LOCK_NAME), "").expect("tests can write temporary files");
    for (file, bytes) in &image.files {
        fs::write(path.join(relative(*file)), bytes).expect("tests can write temporary files");
    }
}

/// Every name with its meaning.
pub(crate) async fn list(store: &Store) -> Result<Listing, StoreError> {
    let (mut names, mut after) = (Listing::new(), None);
    loop {
        let page = store.list("", after).await?;
        for stat in &page.entries {
            let name = stat.name.clone().expect("a listing names its entries");
            names.insert(name.into(), Meaning { file: stat.file, version: stat.version });
        }
        after = page.entries.last().and_then(|stat| stat.name.clone());
        if !page.more {
            return Ok(names);
        }
    }
}

/// Opens the data directory at `path` and says what is wrong with it. With `go_on`, something is stored in it, space is
/// given back, and it is opened again.
pub(crate) async fn check(
    path: &Path,
    expectation: &Expectation,
    contents: &Contents,
    go_on: bool,
) -> Result<(), String> {
    let store = Store::open(path, options(None)).await.map_err(|error| format!("it does not open: {error}"))?;
    let mut names = read_all(&store, contents).await?;
    let complaints = expectation.judge(&names);
    if !complaints.is_empty() {
        return Err(complaints.join("; "));
    }
    if !go_on {
        store.abandon().await;
        return Ok(());
    }
    names.insert(NEWCOMER.to_owned(), newcomer(&store).await.map_err(|error| format!("nothing can be put: {error}"))?);
    store.gc().await.map_err(|error| format!("no space can be given back: {error}"))?;
    store.abandon().await;
    let again = Store::open(path, options(None)).await.map_err(|error| format!("it does not open again: {error}"))?;
    let found = read_all(&again, contents).await?;
    again.abandon().await;
    if found == names { Ok(()) } else { Err(format!("{names:?} is {found:?} after the next start")) }
}

/// Verifies the store and reads every file; returns what names mean.
async fn read_all(store: &Store, contents: &Contents) -> Result<Listing, String> {
    let findings = findings(store).await.map_err(|error| format!("it can't be verified: {error}"))?;
    if !findings.is_empty() {
        return Err(findings.join("; "));
    }
    let names = list(store).await.map_err(|error| format!("it can't be listed: {error}"))?;
    for (name, meaning) in &names {
        let bytes = read(store, name).await.map_err(|error| format!("{name} can't be read: {error}"))?;
        let is_right = match contents.get(meaning.file) {
            Some(content) => *content == bytes,
            None => name == NEWCOMER && bytes == NEWCOMER.repeat(100).as_bytes(),
        };
        if !is_right {
            return Err(format!("{name} has other bytes than were stored as {:?}", meaning.file));
        }
    }
    Ok(names)
}

async fn findings(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut verification = store.verify(VerifyScope::All).await?;
    let mut findings = Vec::new();
    while let Some(finding) = verification.next().await? {
        findings.push(format!("{finding:?}"));
    }
    Ok(findings)
}

async fn read(store: &Store, name: &str) -> Result<Vec<u8>, StoreError> {
    let name = Name::new(name.as_bytes()).expect("it was listed");
    let mut get = store.get(Target::Name(name), None).await?;
    let mut bytes = Vec::new();
    while let Some(data) = get.next().await? {
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn newcomer(store: &Store) -> Result<Meaning, StoreError> {
    let name = Name::new(NEWCOMER.as_bytes()).expect("a valid name");
    let bytes = Bytes::from(NEWCOMER.repeat(100));
    let stat = store.put(Source::bytes(bytes), name, Expect::Absent).await?.stat;
    let file: FileId = stat.file;
    Ok(Meaning { file, version: stat.version })
}
