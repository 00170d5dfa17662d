//! What the core observes, as log lines on stderr.

use std::io::{self, IsTerminal as _};

use dps_core::note::Note;
use dps_core::raft;
use dps_core::replica::note as member;
use tracing::{debug, info, trace, warn};
use tracing_subscriber::EnvFilter;

/// Environment variable with a filter in the syntax of `tracing-subscriber`; overrides `-v`.
pub const FILTER_VARIABLE: &str = "DPS_LOG";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Sends log lines to stderr from now on: warnings and errors, with `verbose` 1 what happens too, with 2 every detail,
/// unless `DPS_LOG` says otherwise. A second call in one process does nothing.
pub fn start(verbose: u8, format: Format) {
    let level = match verbose {
        0 => "warn",
        1 => "dps=info,warn",
        2 => "dps=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let builder = builder.with_ansi(colours).with_target(false);
    let _ = match format {
        Format::Human => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
}

/// Logs one observation of the core.
pub(crate) fn note(note: &Note) {
    match note {
        Note::Damaged(_) | Note::ChunkMismatch { .. } | Note::BootRecordDamaged(_) | Note::CatalogDamaged(_) => {
            warn!("{note}")
        }
        Note::Member(member::Note::Met { .. } | member::Note::LedgerFound { .. }) => info!("{note}"),
        Note::Member(member::Note::Rejected { .. }) => debug!("{note}"),
        Note::Member(
            member::Note::RolledBack { .. }
            | member::Note::MemoryDamaged(_)
            | member::Note::NotRemembered(_)
            | member::Note::LedgerLost { .. }
            | member::Note::SnapshotLost { .. },
        ) => warn!("{note}"),
        Note::RemovalFailed { .. } | Note::Stray(_) | Note::SnapshotRejected { .. } => warn!("{note}"),
        Note::SnapshotFetched { .. } | Note::SnapshotFailed { .. } => info!("{note}"),
        Note::Group(raft::Note::Leads { .. } | raft::Note::LostQuorum { .. } | raft::Note::Restored { .. }) => {
            info!("{note}")
        }
        Note::VolumeRemoved { .. } | Note::SegmentRemoved { .. } | Note::Scrubbed { .. } => info!("{note}"),
        Note::ReserveMade { .. } | Note::ReserveReleased { .. } | Note::ReserveFailed(_) => info!("{note}"),
        // A start after a crash is nothing to worry about, and whoever wanted to write hears of it in the answer.
        Note::TailCut { .. } | Note::TailCopied { .. } | Note::RemovedAgain(_) | Note::WritesStopped { .. } => {
            info!("{note}")
        }
        Note::CheckpointUnusable { .. } | Note::CheckpointFailed { .. } => info!("{note}"),
        Note::Serving { .. } | Note::ChunkHealed(_) | Note::PutDropped => info!("{note}"),
        Note::Created(_) | Note::Sealed(_) | Note::Checkpointed { .. } | Note::Settled => debug!("{note}"),
        Note::Group(_) | Note::SnapshotMade { .. } => debug!("{note}"),
        Note::Synced(_) => trace!("{note}"),
    }
}
