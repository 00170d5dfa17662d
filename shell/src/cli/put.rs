//! `dps put`.

use std::ffi::OsStr;
use std::path::Path;

use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;

use super::args;
use super::failure::{Exit, Failure};
use super::operand;
use super::render::{Renderer, printable};
use crate::put::Source;
use crate::store::Store;

/// A put whose arguments are checked and whose source is open: only then is a store made.
#[derive(Debug)]
pub(crate) struct Put {
    source: Source,
    name: Name,
    expect: Expect,
}

impl Put {
    pub(crate) async fn prepare(args: args::Put) -> Result<Self, Failure> {
        let args::Put { file, name, if_absent, if_version } = args;
        let name = match name {
            Some(name) => operand::name(&name)?,
            None => default_name(&file)?,
        };
        let expect = match if_version {
            Some(version) => Expect::Version(version),
            None if if_absent => Expect::Absent,
            None => Expect::Any,
        };
        let source = if file.as_os_str() == "-" {
            Source::reader(std::io::stdin(), None)
        } else {
            // Opening a pipe waits for its writer.
            let path = file.clone();
            let opened = tokio::task::spawn_blocking(move || Source::file(&path)).await;
            let opened = opened.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            opened.map_err(|error| Failure::file("the source", &file, &error))?
        };
        Ok(Self { source, name, expect })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let Self { source, name, expect } = self;
        let subject = printable(name.as_str());
        let stored = store.put(source, name, expect).await;
        renderer.stored(&stored.map_err(|error| Failure::store(&subject, error))?)
    }
}

fn default_name(file: &Path) -> Result<Name, Failure> {
    let last = file.file_name().filter(|last| *last != OsStr::new("-"));
    let Some(last) = last else {
        let what = format!("no name can be made of {}", file.display());
        return Err(Failure::new("E_NAME", Exit::Usage, what).hint("give one: dps put FILE NAME"));
    };
    operand::name(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_last_component_where_there_is_one() {
        for (file, expected) in [("a.txt", "a.txt"), ("/x/b/", "b"), ("../c", "c")] {
            assert_eq!(default_name(Path::new(file)).unwrap().as_str(), expected);
        }
        for file in ["-", "/", "..", "a/.."] {
            assert_eq!(default_name(Path::new(file)).unwrap_err().code, "E_NAME", "{file}");
        }
    }
}
