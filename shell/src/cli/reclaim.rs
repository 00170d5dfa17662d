//! `dps gc`, `dps undelete`, `dps clean`, `dps deep-clean` and `dps stats`: what comes back, and what is given up.

use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;

use super::args;
use super::failure::Failure;
use super::operand;
use super::render::{Renderer, printable};
use crate::store::Store;

/// A collection. It has no arguments.
#[derive(Debug)]
pub(crate) struct Gc;

impl Gc {
    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let summary = store.gc().await.map_err(|error| Failure::store("the store", error))?;
        renderer.collected(&summary)
    }
}

/// A name that is to come back.
#[derive(Debug)]
pub(crate) struct Undelete {
    name: Name,
    version: Option<u64>,
}

impl Undelete {
    pub(crate) fn prepare(args: &args::Undelete) -> Result<Self, Failure> {
        Ok(Self { name: operand::name(&args.name)?, version: args.version })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        // Without a version it is a mistake to be undone: what the name means now is not replaced by it.
        let (version, expect) = self.version.map_or((0, Expect::Absent), |version| (version, Expect::Any));
        let subject = printable(self.name.as_str());
        let restored = store.undelete(self.name, version, expect).await;
        renderer.restored(&restored.map_err(|error| Failure::store(&subject, error))?)
    }
}

/// Everything is given up.
#[derive(Debug)]
pub(crate) struct Clean {
    pub(crate) deep: bool,
}

impl Clean {
    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let failure = |error| Failure::store("the store", error);
        store.clean(self.deep).await.map_err(failure)?;
        renderer.cleaned(self.deep)?;
        renderer.collected(&store.gc().await.map_err(failure)?)
    }
}

/// How much is stored.
#[derive(Debug)]
pub(crate) struct Stats;

impl Stats {
    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let usage = store.usage().await.map_err(|error| Failure::store("the store", error))?;
        renderer.stats(&usage)
    }
}
