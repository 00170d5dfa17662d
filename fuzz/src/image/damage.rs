//! What may happen to written files. Bytes are flipped, moved and overwritten by noise, but never chosen: whoever could
//! choose them could forge a checksum, and nothing would follow from that.

use dps_core::disk::File;

use super::Image;
use crate::input::{Input, noise};

/// Bytes of a file that grows by damage.
const FILE_BYTES_MAX: usize = 256 << 10;

/// The unit in which disks fail to read, in bytes.
const SECTOR_LEN: u64 = 512;

const HARMS_MAX: usize = 12;

impl Image {
    /// Harms the files for as long as `input` says how.
    pub(crate) fn harm(&mut self, input: &mut Input<'_>) {
        for _ in 0..HARMS_MAX {
            if input.is_empty() {
                return;
            }
            let files: Vec<File> = self.memory.files.keys().copied().collect();
            let Some(file) = files.get(input.below(files.len())).copied() else { return };
            self.harmed = true;
            self.harm_file(file, input);
        }
    }

    fn harm_file(&mut self, file: File, input: &mut Input<'_>) {
        let how = input.below(10);
        if how == 9 {
            self.memory.files.remove(&file);
            return;
        }
        let bytes = self.memory.files.get_mut(&file).expect("it was listed");
        let len = bytes.len();
        let at = input.place(len);
        if len == 0 {
            return;
        }
        match how {
            0 | 1 => bytes[at] ^= 1 << input.below(8),
            2 => {
                let end = len.min(at + 1 + input.below(600));
                bytes[at..end].fill(0);
            }
            3 => bytes.truncate(at),
            4 => {
                let end = len.min(at + 1 + input.below(600));
                bytes[at..end].copy_from_slice(&noise(input.u64() | 1, end - at));
            }
            5 => {
                let count = 1 + input.below(300);
                bytes.drain(at..len.min(at + count));
            }
            6 => bytes.extend_from_slice(&noise(u64::from(input.u8()), 1 + input.below(700))),
            7 => {
                let sector = at as u64 / SECTOR_LEN * SECTOR_LEN;
                let end = sector + SECTOR_LEN * (1 + input.below(2) as u64);
                self.memory.unreadable.entry(file).or_default().push(sector..end);
            }
            _ => self.splice(file, at, input),
        }
    }

    /// Bytes of some file land in another place: over what is there, or in between.
    fn splice(&mut self, file: File, at: usize, input: &mut Input<'_>) {
        let files: Vec<File> = self.memory.files.keys().copied().collect();
        let source = &self.memory.files[&files[input.below(files.len())]];
        // The same place of another file is where a misdirected write would do most harm.
        let start = if input.flag() { at.min(source.len()) } else { input.place(source.len()) };
        let moved = source[start..source.len().min(start + 1 + input.below(600))].to_vec();
        let bytes = self.memory.files.get_mut(&file).expect("it was listed");
        let over = if input.flag() { moved.len().min(bytes.len() - at) } else { 0 };
        bytes.splice(at..at + over, moved);
        bytes.truncate(FILE_BYTES_MAX);
    }
}
