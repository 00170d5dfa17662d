//! Who waits for space: puts that are admitted, requests that make room, and how much there is.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::event::Effect;
use super::request::{Reply, Request, RequestError};
use super::serve::{Serving, Work, fail};
use crate::disk::DiskRequest;
use crate::disk::reserve::{self, Footprint, Purpose};
use crate::id::RequestId;
use crate::limits::REQUESTS_MAX;
use crate::time::Now;

impl Serving {
    /// A put wants to go on with a block of so many bytes.
    pub(super) fn admit(&mut self, id: RequestId, bytes: u64, coming: u64) {
        self.work.push_back(Work::Reserve(reserve::Event::Admit { id, bytes, coming }));
    }

    /// Keeps a request until there is room for it.
    pub(super) fn hold(&mut self, id: RequestId, request: Request, purpose: Purpose, out: &mut Vec<Effect>) {
        if purpose == Purpose::Question && self.open_requests() >= REQUESTS_MAX {
            return self.tell_usage(id, out);
        }
        let refusal = match purpose {
            Purpose::Question => None,
            Purpose::Change => self.write_error(),
            Purpose::Collection => self.write_error().or(self.collecting.map(|_| RequestError::GcRunning)),
        };
        if let Some(error) = refusal {
            return fail(id, error, out);
        }
        if purpose == Purpose::Collection {
            self.collecting = Some(id);
        }
        self.held.insert(id, request);
        self.work.push_back(Work::Reserve(reserve::Event::Room { id, purpose }));
    }

    /// A request that waits is given up by its client.
    pub(super) fn cancel_held(&mut self, id: RequestId, out: &mut Vec<Effect>) {
        self.held.remove(&id);
        if self.collecting == Some(id) {
            self.end_gc();
        }
        out.push(Effect::Reply { id, reply: Ok(Reply::Cancelled), last: true });
    }

    /// There is as much room as can be made.
    pub(super) fn go_ahead(&mut self, now: Now, id: RequestId, out: &mut Vec<Effect>) {
        // Its client may have given it up.
        let Some(request) = self.held.remove(&id) else { return };
        match request {
            Request::Usage => self.tell_usage(id, out),
            Request::Gc => self.open_gc(now, id, out),
            request => self.change(now, id, request, out),
        }
    }

    fn tell_usage(&self, id: RequestId, out: &mut Vec<Effect>) {
        let reply = Reply::Usage(Box::new(self.usage()));
        out.push(Effect::Reply { id, reply: Ok(reply), last: true });
    }

    /// What a collection's need of space depends on.
    pub(super) fn footprint(&self) -> Footprint {
        let live = |(_, usage): (u64, crate::keystore::index::VolumeUse)| usage.live_bytes();
        let volumes = self.store.index().volumes();
        Footprint {
            fullest_bytes: volumes.map(live).max().unwrap_or(0),
            chunks: self.store.chunk_count(),
            volumes: self.store.index().volumes().count() as u64,
            preamble_bytes: self.replica.preamble_bytes(),
        }
    }

    /// The store and the log write to the disk.
    pub(super) fn grew(&mut self, request: &DiskRequest) {
        if let DiskRequest::Append { parts, .. } = request {
            let bytes = parts.iter().map(|part| part.len() as u64).sum();
            self.work.push_back(Work::Reserve(reserve::Event::Grew { bytes }));
        }
    }
}
