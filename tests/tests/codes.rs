//! What programs rely on: the codes of errors never change.

use dps_core::disk::damage::{Damage, DamageKind};
use dps_core::disk::{DiskError, File};
use dps_core::id::{ChunkId, FileId};
use dps_core::keystore::ChunkFault;
use dps_core::node::RequestError;

#[test]
fn the_codes_of_request_errors_never_change() {
    let damage = Damage { file: File::Journal(3), offset: 4_096, first: 7, last: 9, kind: DamageKind::Broken };
    let fault = Box::new(ChunkFault::Missing { lost_volumes: vec![2] });
    let errors = [
        RequestError::NotFound,
        RequestError::Conflict { current: Some(4) },
        RequestError::RangeOutside { size: 10 },
        RequestError::BadChunk { index: Some(5), chunk: Box::new(ChunkId::of(b"")), fault: fault.clone() },
        RequestError::LedgerDamaged(Box::new(damage)),
        RequestError::DiskFull,
        RequestError::WriteFailed { file: File::Volume(1), error: DiskError::ReadOnly },
        RequestError::OutcomeUnknown(DiskError::Io(5)),
        RequestError::Missing,
        RequestError::GcRunning,
        RequestError::GcSuperseded,
        RequestError::SweepStopped { file: Box::new(FileId::from_bytes([1; 32])), chunk: None, fault: fault.clone() },
        RequestError::Swept,
        RequestError::Busy,
        RequestError::Starting,
        RequestError::Closing,
        RequestError::TooLarge,
        RequestError::Misuse("a chunk after the commit"),
    ];
    let codes: Vec<&str> = errors.iter().map(RequestError::code).collect();
    insta::assert_snapshot!(codes.join("\n"), @r"
    E_NOT_FOUND
    E_CONFLICT
    E_RANGE
    E_BAD_CHUNK
    E_LEDGER_DAMAGED
    E_DISK_FULL
    E_WRITE_FAILED
    E_OUTCOME_UNKNOWN
    E_MISSING
    E_GC_RUNNING
    E_GC_SUPERSEDED
    E_SWEEP_STOPPED
    E_SWEPT
    E_BUSY
    E_STARTING
    E_CLOSING
    E_TOO_LARGE
    E_MISUSE
    ");
}
