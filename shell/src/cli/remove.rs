//! `dps rm`.

use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;

use super::args;
use super::failure::{Exit, Failure};
use super::operand;
use super::render::{Renderer, printable};
use crate::store::Store;

/// A removal whose arguments are all checked before the first name goes.
#[derive(Debug)]
pub(crate) struct Rm {
    names: Vec<Name>,
    purge: bool,
}

impl Rm {
    pub(crate) fn prepare(args: &args::Rm) -> Result<Self, Failure> {
        let names = args.names.iter().map(|name| operand::name(name)).collect::<Result<_, _>>()?;
        Ok(Self { names, purge: args.purge })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let (all, mut failed) = (self.names.len(), Vec::new());
        for name in self.names {
            let removed = match self.purge {
                true => store.purge(name.clone(), Expect::Any).await,
                false => store.delete(name.clone(), Expect::Any).await,
            };
            match removed {
                Ok(()) => renderer.deleted(&name)?,
                Err(error) => failed.push(Failure::store(&printable(name.as_str()), error)),
            }
        }
        let last = failed.pop();
        match last {
            Some(only) if all == 1 => return Err(only),
            Some(last) => failed.push(last),
            None => return Ok(()),
        }
        for failure in &failed {
            renderer.error(failure);
        }
        let what = format!("{} of {all} names were not removed", failed.len());
        let same = failed.iter().all(|failure| failure.exit == failed[0].exit);
        let exit = if failed.len() == all && same { failed[0].exit } else { Exit::Partial };
        Err(Failure::new("E_PARTIAL", exit, what))
    }
}
