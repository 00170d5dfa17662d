//! `dps ls` and `dps stat`.

use dps_core::ledger::file::Target;

use super::args;
use super::failure::Failure;
use super::operand;
use super::render::Renderer;
use crate::store::Store;

/// A listing whose arguments are checked.
#[derive(Debug)]
pub(crate) struct Ls {
    prefix: String,
    long: bool,
    deleted: bool,
}

impl Ls {
    pub(crate) fn prepare(args: args::Ls) -> Result<Self, Failure> {
        Ok(Self { prefix: operand::prefix(args.prefix)?, long: args.long, deleted: args.deleted })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        if self.deleted {
            return self.run_deleted(store, renderer).await;
        }
        let (mut after, mut items) = (None, 0);
        loop {
            let page = store.list(&self.prefix, after).await;
            let page = page.map_err(|error| Failure::store("the list of names", error))?;
            for stat in &page.entries {
                renderer.listed(stat, self.long)?;
                items += 1;
            }
            after = page.entries.last().and_then(|stat| stat.name.clone());
            if !page.more || after.is_none() {
                return renderer.listed_all(items);
            }
        }
    }

    async fn run_deleted(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let (mut after, mut items) = (None, 0);
        loop {
            let page = store.tombstones(&self.prefix, after).await;
            let (entries, more) = page.map_err(|error| Failure::store("the list of names", error))?;
            for stat in &entries {
                renderer.listed_deleted(stat)?;
                items += 1;
            }
            after = entries.last().map(|stat| (stat.name.clone(), stat.version));
            if !more || after.is_none() {
                return renderer.listed_all(items);
            }
        }
    }
}

/// A question for a file whose argument is checked.
#[derive(Debug)]
pub(crate) struct Stat {
    target: Target,
}

impl Stat {
    pub(crate) fn prepare(args: &args::Stat) -> Result<Self, Failure> {
        Ok(Self { target: operand::target(&args.target)? })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let subject = operand::shown(&self.target);
        let stat = store.stat(self.target).await;
        renderer.stat(&stat.map_err(|error| Failure::store(&subject, error))?)
    }
}
