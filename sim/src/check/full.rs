//! S8: a disk that is full, or that failed while it was written, leaves old data readable: nothing that only reads is refused
//! for that. That writes succeed once there is space again is for L1 to see.

use dps_core::node::RequestError;

use super::Findings;

/// Judges an error that a request got which writes nothing.
pub(crate) fn check(id: u64, error: &RequestError, at: u64, findings: &mut Findings) {
    let of_writing = match error {
        RequestError::DiskFull | RequestError::WriteFailed { .. } | RequestError::OutcomeUnknown(_) => true,
        RequestError::NotFound
        | RequestError::Conflict { .. }
        | RequestError::Missing
        | RequestError::GcRunning
        | RequestError::GcSuperseded
        | RequestError::SweepStopped { .. }
        | RequestError::Swept
        | RequestError::RangeOutside { .. }
        | RequestError::BadChunk { .. }
        | RequestError::LedgerDamaged(_)
        | RequestError::Busy
        | RequestError::Starting
        | RequestError::Closing
        | RequestError::TooLarge
        | RequestError::Misuse(_) => false,
    };
    if of_writing {
        findings.correctness("S8", at, format!("conversation {id} only reads, but was refused with {error:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_reason_to_refuse_a_read() {
        let found = |error| {
            let mut findings = Findings::default();
            check(1, &error, 0, &mut findings);
            !findings.is_empty()
        };
        assert!(found(RequestError::DiskFull));
        assert!(!found(RequestError::Busy));
    }
}
