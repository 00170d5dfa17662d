//! The command line: arguments are checked first, then the store is opened, then one verb runs, then it is closed.

mod args;
mod datetime;
mod failure;
mod get;
mod json;
mod list;
mod operand;
mod output;
mod put;
mod reclaim;
mod remove;
mod render;
mod server;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use dps_core::config::{Config, RawConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use args::{CommandLine, Verb};
use failure::{Exit, Failure};
use render::Renderer;

use crate::disk::Create;
use crate::store::{Options, Store};
use crate::telemetry;

/// Threads for what blocks: one may wait for a pipe, the others hash, and read or write the store. Each further one
/// keeps several of the largest blocks of memory to itself, and two cores have no more to do at a time.
const BLOCKING_THREADS_MAX: usize = 3;

/// Bytes of a put on their way to a volume: one largest block being written, the next one ready.
const INGEST_BYTES_MAX: u64 = 8 << 20;

/// The one client of this process may be a slow pipe, and keeps nobody else waiting.
const CREDIT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Runs the command of this process and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let CommandLine { global, verb } = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            Renderer::usage(&error);
            let exit = if error.use_stderr() { Exit::Usage as u8 } else { 0 };
            return ExitCode::from(exit);
        }
    };
    let format = if global.json { telemetry::Format::Json } else { telemetry::Format::Human };
    telemetry::start(global.verbose, format);
    let mut renderer = Renderer::new(global.json, global.quiet);
    let ended = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
    {
        Ok(runtime) => {
            let ended = runtime.block_on(run(global.data, verb, &mut renderer));
            // A read of standard input may never return, and must not keep the process.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::new("E_RUNTIME", Exit::Failed, "the process can't start its threads").cause(error)),
    };
    let flushed = renderer.flush();
    match ended.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            renderer.error(&failure);
            // What can't be printed is told by the exit code.
            let _ = renderer.flush();
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// A verb whose arguments are checked.
enum Prepared {
    Put(put::Put),
    Get(get::Get),
    Ls(list::Ls),
    Stat(list::Stat),
    Rm(remove::Rm),
    Undelete(reclaim::Undelete),
    Gc(reclaim::Gc),
    Clean(reclaim::Clean),
    Stats(reclaim::Stats),
    Verify(verify::Verify),
    Server(server::Server),
}

impl Prepared {
    async fn new(verb: Verb, renderer: &mut Renderer) -> Result<Self, Failure> {
        Ok(match verb {
            Verb::Put(args) => Self::Put(put::Put::prepare(args).await?),
            Verb::Get(args) => Self::Get(get::Get::prepare(args, renderer)?),
            Verb::Ls(args) => Self::Ls(list::Ls::prepare(args)?),
            Verb::Stat(args) => Self::Stat(list::Stat::prepare(&args)?),
            Verb::Rm(args) => Self::Rm(remove::Rm::prepare(&args)?),
            Verb::Undelete(args) => Self::Undelete(reclaim::Undelete::prepare(&args)?),
            Verb::Gc => Self::Gc(reclaim::Gc),
            Verb::Clean(_) => Self::Clean(reclaim::Clean { deep: false }),
            Verb::DeepClean(_) => Self::Clean(reclaim::Clean { deep: true }),
            Verb::Stats => Self::Stats(reclaim::Stats),
            Verb::Verify(args) => Self::Verify(verify::Verify::prepare(args)?),
            Verb::Server(args) => Self::Server(server::Server::prepare(&args)?),
        })
    }

    async fn run(self, store: &Store, renderer: &mut Renderer) -> Result<(), Failure> {
        match self {
            Self::Put(put) => put.run(store, renderer).await,
            Self::Get(get) => get.run(store, renderer).await,
            Self::Ls(ls) => ls.run(store, renderer).await,
            Self::Stat(stat) => stat.run(store, renderer).await,
            Self::Rm(rm) => rm.run(store, renderer).await,
            Self::Undelete(undelete) => undelete.run(store, renderer).await,
            Self::Gc(gc) => gc.run(store, renderer).await,
            Self::Clean(clean) => clean.run(store, renderer).await,
            Self::Stats(stats) => stats.run(store, renderer).await,
            Self::Verify(verify) => verify.run(store, renderer).await,
            Self::Server(_) => unreachable!("a member has no store of its own"),
        }
    }
}

async fn run(data: Option<PathBuf>, verb: Verb, renderer: &mut Renderer) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let prepared = interrupts.guard(Prepared::new(verb, renderer)).await??;
    let (path, parents) = data_directory(data)?;
    let create = match &prepared {
        Prepared::Put(_) => parents,
        Prepared::Get(_)
        | Prepared::Ls(_)
        | Prepared::Stat(_)
        | Prepared::Rm(_)
        | Prepared::Undelete(_)
        | Prepared::Gc(_)
        | Prepared::Clean(_)
        | Prepared::Stats(_)
        | Prepared::Verify(_) => Create::Never,
        Prepared::Server(_) => parents,
    };
    let prepared = match prepared {
        Prepared::Server(server) => return server.run(&path, create, &mut interrupts, renderer).await,
        prepared => prepared,
    };
    let opening = Store::open(&path, options(create)?);
    let store = interrupts.guard(opening).await?.map_err(|error| Failure::store("the store", error))?;
    let ended = interrupts.guard(prepared.run(&store, renderer)).await;
    // An interrupted verb was cancelled when its future was dropped; the store is closed in good order all the same,
    // unless a second signal comes.
    if let Err(error) = interrupts.guard(store.close()).await? {
        warn!("the store was not closed in good order, everything acknowledged is safe: {error}");
    }
    ended?
}

fn options(create: Create) -> Result<Options, Failure> {
    let raw = RawConfig { credit_timeout: CREDIT_TIMEOUT, ingest_bytes_max: INGEST_BYTES_MAX, ..RawConfig::STANDARD };
    let config = Config::new(raw);
    let config = config.map_err(|error| Failure::new("E_CONFIG", Exit::Failed, "bad configuration").cause(error))?;
    Ok(Options { config, create, recorder: None })
}

/// The data directory, and what of it may be made: a place that was named must be in a directory that exists, while
/// the standard place is made with everything above it.
fn data_directory(given: Option<PathBuf>) -> Result<(PathBuf, Create), Failure> {
    if let Some(path) = given {
        if path.as_os_str().is_empty() {
            return Err(Failure::new("E_USAGE", Exit::Usage, "the data directory has an empty name")
                .hint("look at --data and DPS_DATA"));
        }
        return Ok((path, Create::Directory));
    }
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    base.map(|base| (base.join("dps"), Create::Parents)).ok_or_else(|| {
        Failure::new("E_USAGE", Exit::Usage, "there is no standard place for the data directory")
            .cause("neither XDG_DATA_HOME nor HOME is an absolute path")
            .hint("name one with --data DIR or DPS_DATA")
    })
}

/// Signals that end the process in good order.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new("E_SIGNALS", Exit::Failed, "can't listen for signals").cause(error))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// What `future` gives, unless a signal comes first; then it is dropped.
    async fn guard<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Err(Failure::interrupted()),
            _ = self.terminate.recv() => Err(Failure::interrupted()),
            value = future => Ok(value),
        }
    }
}
