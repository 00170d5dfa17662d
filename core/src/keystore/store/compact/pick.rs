//! Which volume is worth it.

use alloc::vec::Vec;

use super::{Effect, Store};
use crate::keystore::index::VolumeUse;
use crate::keystore::{Compacted, StoreError};

/// Volumes that hold so little are merged once there are so many of them.
const SMALL_VOLUMES_MAX: usize = 8;

/// A volume is small below this part of what one may have.
const SMALL_DIVISOR: u64 = 8;

/// Bytes of every volume that no chunk needs: its head and footer, and empty records.
const FRAME_BYTES: u64 = 512;

/// A compaction that somebody asked for: each volume that exists when it begins is looked at once.
#[derive(Debug)]
pub(super) struct Person {
    /// The volume that was looked at last.
    at: u64,
    /// The last one to be looked at.
    through: u64,
    compacted: Compacted,
}

impl Person {
    pub(super) const fn removed(&mut self, bytes: u64) {
        self.compacted.volumes += 1;
        self.compacted.bytes += bytes;
    }
}

/// Whether at least one part of `divisor` of a volume is dead.
const fn is_dead(usage: &VolumeUse, divisor: u64) -> bool {
    usage.dead_bytes() > FRAME_BYTES && (usage.dead_bytes() - FRAME_BYTES) * divisor >= usage.file_bytes
}

impl Store {
    /// Somebody wants space back: everything of which a tenth is dead is compacted, even the volume being written.
    pub(in crate::keystore::store) fn compact(&mut self, out: &mut Vec<Effect>) {
        let error = self.store_error().or(self.compaction.stopped);
        let refusal = match (self.closing, error, &self.compaction.person) {
            (true, ..) => Some(StoreError::Closing),
            (false, Some(error), _) => Some(error),
            (false, None, Some(_)) => Some(StoreError::Busy),
            (false, None, None) => None,
        };
        if let Some(error) = refusal {
            return out.push(Effect::Compacted(Err(error)));
        }
        let through = self.index.volumes().last().map_or(0, |(volume, _)| volume);
        self.compaction.person = Some(Person { at: 0, through, compacted: Compacted::default() });
        if let Some(writer) = &mut self.writer
            && self.index.volume(writer.number()).is_some_and(|usage| is_dead(&usage, 10))
        {
            writer.seal();
        }
    }

    /// Starts on the next volume that is worth it; returns whether there was one.
    pub(super) fn pick_volume(&mut self, out: &mut Vec<Effect>) -> bool {
        let looks = self.compaction.look && !self.compaction.tight;
        if self.compaction.stopped.is_some() || (self.compaction.person.is_none() && !looks) {
            return false;
        }
        if let Some(person) = &self.compaction.person {
            let (at, through) = (person.at, person.through);
            // A volume that is being sealed is waited for.
            let sealing = self.writer.as_ref().filter(|writer| !writer.is_open() && !writer.is_sealed());
            if sealing.is_some_and(|writer| writer.number() <= through) {
                return false;
            }
            let next = self.index.volumes().find(|(volume, usage)| {
                let stays = self.compaction.stuck.contains(volume) && usage.live_bytes() > 0;
                (at + 1..=through).contains(volume) && is_dead(usage, 10) && self.may_go(*volume) && !stays
            });
            let Some((volume, _)) = next else {
                let compacted = self.compaction.person.as_ref().expect("just looked at").compacted;
                self.answer_person(Ok(compacted), out);
                return true;
            };
            self.compaction.person.as_mut().expect("just looked at").at = volume;
            self.start_copying(volume, out);
            return true;
        }
        self.compaction.look = false;
        let Some(volume) = self.worth_it() else { return false };
        self.start_copying(volume, out);
        true
    }

    /// Half of it is dead, or it is one of many small ones.
    fn worth_it(&self) -> Option<u64> {
        let small = self.volume_bytes / SMALL_DIVISOR;
        let (mut small_ones, mut first_small) = (0, None);
        let may_go = |volume: u64| self.may_go(volume) && !self.compaction.stuck.contains(&volume);
        for (volume, usage) in self.index.volumes().filter(|(volume, _)| may_go(*volume)) {
            if is_dead(&usage, 2) {
                return Some(volume);
            }
            if usage.file_bytes < small {
                small_ones += 1;
                first_small = first_small.or(Some(volume));
            }
        }
        first_small.filter(|_| small_ones >= SMALL_VOLUMES_MAX)
    }

    /// Whether a volume may go: nothing is written to it, and all that was in it can be read.
    fn may_go(&self, volume: u64) -> bool {
        let written = self.writer.as_ref().is_some_and(|writer| writer.number() == volume && !writer.is_sealed());
        !written && !self.lost_volumes.contains(&volume)
    }

    pub(super) fn answer_person(&mut self, result: Result<Compacted, StoreError>, out: &mut Vec<Effect>) {
        if self.compaction.person.take().is_some() {
            out.push(Effect::Compacted(result));
        }
    }
}
