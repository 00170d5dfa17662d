//! `dps verify`.

use dps_core::node::{Finding, VerifyScope};

use super::args;
use super::failure::{Exit, Failure};
use super::operand;
use super::render::Renderer;
use crate::store::Store;

/// A verification whose argument is checked.
#[derive(Debug)]
pub(crate) struct Verify {
    scope: VerifyScope,
    subject: String,
}

impl Verify {
    pub(crate) fn prepare(args: args::Verify) -> Result<Self, Failure> {
        let Some(text) = args.target else {
            return Ok(Self { scope: VerifyScope::All, subject: String::from("the store") });
        };
        let target = operand::target(&text)?;
        let subject = operand::shown(&target);
        Ok(Self { scope: VerifyScope::One(target), subject })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let Self { scope, subject } = self;
        let failure = |error| Failure::store(&subject, error);
        let mut verification = store.verify(scope).await.map_err(failure)?;
        let mut strays = 0;
        while let Some(finding) = verification.next().await.map_err(failure)? {
            strays += u64::from(matches!(finding, Finding::Stray(_)));
            renderer.finding(&finding)?;
        }
        let summary = verification.summary().unwrap_or_default();
        renderer.verified(&summary)?;
        if summary.findings == 0 {
            return Ok(());
        }
        if summary.findings == strays {
            let files = if strays == 1 { String::from("a file") } else { format!("{strays} files") };
            let what = format!("{subject} is whole, but {files} in its directory can't be under that name");
            return Err(Failure::new("E_STRAY", Exit::Damaged, what)
                .hint("nothing reads or removes what is named above: take it out, or put it where it belongs"));
        }
        let what = format!("{subject} is damaged: {} findings", summary.findings);
        let hint = match strays {
            0 => "files that are not named above are whole; storing a damaged file again heals it",
            _ => "first put what is astray back where it belongs, and verify again",
        };
        Err(Failure::new("E_DAMAGED", Exit::Damaged, what).hint(hint))
    }
}
