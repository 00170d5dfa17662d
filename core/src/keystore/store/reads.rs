//! How chunks are read: for gets, for puts and touches that rely on a chunk of an earlier boot, and for whoever looks after
//! them.

use alloc::vec::Vec;

use super::{Effect, Read, Store, Ticket, Token};
use crate::disk::{DiskReply, DiskRequest, DiskResult, File, Verify};
use crate::id::ChunkId;
use crate::keystore::index::Located;
use crate::keystore::{ChunkFault, Place};
use crate::note::Note;

impl Store {
    pub(super) fn get(&mut self, ticket: Ticket, chunk: ChunkId, out: &mut Vec<Effect>) {
        match self.index.get(&chunk) {
            Some(located) => {
                let read = Read::Get { ticket, chunk, place: located.place };
                self.read(chunk, located, read, out);
            }
            None => {
                let lost_volumes = self.lost_volumes.clone();
                out.push(Effect::Loaded { ticket, result: Err(ChunkFault::Missing { lost_volumes }) });
            }
        }
    }

    pub(super) fn read(&mut self, chunk: ChunkId, located: Located, read: Read, out: &mut Vec<Effect>) {
        let number = self.next_read;
        self.next_read += 1;
        self.reads.insert(number, read);
        let request = DiskRequest::Read {
            file: File::Volume(located.place.volume),
            offset: located.bytes_offset(),
            len: located.bytes,
            verify: Verify::Chunk(chunk),
        };
        out.push(Effect::Disk { token: Token::Read(number), request });
    }

    pub(super) fn read_done(&mut self, number: u64, result: DiskResult, out: &mut Vec<Effect>) {
        let read = self.reads.remove(&number).expect("a completion belongs to a request");
        let (id, place) = read.target();
        let loaded = match result {
            Ok(DiskReply::Verified(chunk)) => {
                assert_eq!(chunk.id(), id, "the driver verified another chunk");
                Ok(chunk)
            }
            Ok(DiskReply::Mismatch) => Err(ChunkFault::Mismatch(place)),
            Ok(_) => panic!("a verified read is answered by a chunk or a mismatch"),
            Err(error) => Err(ChunkFault::Unreadable(place, error)),
        };
        let good = loaded.is_ok();
        self.judge(id, place, good, out);
        match read {
            Read::Get { ticket, .. } => out.push(Effect::Loaded { ticket, result: loaded }),
            // Meanwhile it may have been written anew, or have gone.
            Read::Recheck { ask, .. } => self.place(ask, out),
            Read::Scrub { .. } => self.scrub.read_done(good),
            Read::Move(moving) => self.loaded_for_copy(moving, loaded.ok()),
        }
    }

    /// Remembers what a read has shown, unless the chunk has moved meanwhile.
    fn judge(&mut self, id: ChunkId, place: Place, good: bool, out: &mut Vec<Effect>) {
        if !good {
            out.push(Effect::Note(Note::ChunkMismatch { chunk: id, place }));
        }
        self.index.judge(&id, place, good);
    }
}
