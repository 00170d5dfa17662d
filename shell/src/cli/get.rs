//! `dps get`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use dps_core::ledger::file::Target;
use dps_core::node::ByteRange;

use super::args;
use super::failure::{Exit, Failure};
use super::operand;
use super::output::{Output, Place};
use super::render::Renderer;
use crate::store::Store;

/// A get whose arguments are checked.
#[derive(Debug)]
pub(crate) struct Get {
    target: Target,
    range: Option<ByteRange>,
    place: Place,
}

impl Get {
    pub(crate) fn prepare(args: args::Get, renderer: &mut Renderer) -> Result<Self, Failure> {
        let target = operand::target(&args.target)?;
        let range = args.range.as_deref().map(operand::range).transpose()?;
        let place = place(&target, args.output, args.force, std::io::stdout().is_terminal())?;
        if place == Place::Stdout {
            renderer.leave_stdout();
        }
        place.check()?;
        Ok(Self { target, range, place })
    }

    pub(crate) async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        let Self { target, range, place } = self;
        let subject = operand::shown(&target);
        let failure = |error| Failure::store(&subject, error);
        let mut get = store.get(target, range).await.map_err(failure)?;
        let mut output = blocking(move || place.open()).await?;
        while let Some(bytes) = get.next().await.map_err(failure)? {
            output = blocking(move || output.write(&bytes).map(|()| output)).await?;
        }
        if let Some(path) = blocking(move || Output::finish(output)).await? {
            renderer.fetched(get.stat(), &path, get.first(), get.bytes())?;
        }
        Ok(())
    }
}

/// Runs what waits for a file or a reader on another thread, while the next bytes are fetched.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::new("E_BUG", Exit::Failed, "writing the output failed").cause(error)))
}

fn place(target: &Target, output: Option<PathBuf>, force: bool, terminal: bool) -> Result<Place, Failure> {
    match output {
        Some(path) if path.as_os_str() == "-" => Ok(Place::Stdout),
        Some(path) => Ok(Place::Path { path, force }),
        None if !terminal => Ok(Place::Stdout),
        None => Ok(Place::Path { path: default_path(target)?, force }),
    }
}

/// The last component of the name. A name is any text, so what a path can't be is refused instead of guessed at.
fn default_path(target: &Target) -> Result<PathBuf, Failure> {
    let name = match target {
        Target::Content(file) => return Ok(PathBuf::from(file.to_string())),
        Target::Name(name) => name,
    };
    let last = name.as_str().rsplit('/').next().filter(|last| !matches!(*last, "" | "." | ".."));
    last.map(|last| Path::new(last).to_owned()).ok_or_else(|| {
        let what = format!("no file name can be made of {}", operand::shown(target));
        Failure::new("E_OUTPUT_NAME", Exit::Usage, what).hint("say where to write it with -o FILE, or -o - to see it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn named(name: &str) -> Target {
        operand::target(OsStr::new(name)).unwrap()
    }

    #[test]
    fn bytes_go_where_they_were_sent() {
        let path = |path: &str| Place::Path { path: PathBuf::from(path), force: false };
        for (output, terminal, expected) in [
            (Some("-"), true, Place::Stdout),
            (Some("x"), false, path("x")),
            (None, false, Place::Stdout),
            (None, true, path("c.txt")),
        ] {
            let output = output.map(PathBuf::from);
            assert_eq!(place(&named("a/b/c.txt"), output, false, terminal).unwrap(), expected);
        }
    }

    #[test]
    fn a_name_from_elsewhere_can_not_lead_out_of_the_directory() {
        for name in ["/etc/passwd", "../../passwd"] {
            assert_eq!(default_path(&named(name)).unwrap(), PathBuf::from("passwd"));
        }
        for name in ["a/", "a/..", ".", "/"] {
            assert_eq!(default_path(&named(name)).unwrap_err().code, "E_OUTPUT_NAME", "{name}");
        }
    }
}
