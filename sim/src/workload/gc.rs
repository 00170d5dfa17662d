//! A client that wants space back.

use dps_core::node::{Reply, Request, RequestError};

use super::desk::{Conversation, Desk, Outcome};
use crate::disk::FileClass;
use crate::draws::below_power;

/// Asks for a collection. What must not go is what all other clients look for.
#[derive(Debug)]
pub(crate) struct Gc {
    cancel: bool,
}

impl Gc {
    pub(crate) const fn new(cancel: bool) -> Self {
        Self { cancel }
    }
}

impl Conversation for Gc {
    fn open(&mut self, desk: &mut Desk<'_>) {
        desk.oracle.collections += 1;
        desk.send(Request::Gc);
        if self.cancel {
            // In each of its stages, some of which wait for puts.
            let hesitation_ns = below_power(desk.rng, 12, 27);
            desk.send_later(Request::Cancel, hesitation_ns);
        }
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Collected(_) if last => {}
            Reply::Cancelled if last && self.cancel => {}
            other => desk.unexpected(&other),
        }
        if last {
            desk.oracle.collections -= 1;
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        desk.oracle.collections -= 1;
        match error {
            // Somebody else was first.
            RequestError::GcRunning => Some(Outcome::Again),
            // What a manifest says is lost.
            RequestError::SweepStopped { .. } if desk.view.disk.is_class_harmed(FileClass::Volume, 0) => {
                Some(Outcome::Refused(error.code()))
            }
            _ => None,
        }
    }
}
