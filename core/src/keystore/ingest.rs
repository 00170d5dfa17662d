//! The one path by which bytes become chunks, whether they come from memory, a file or a pipe.
//!
//! Edge code: the shell runs it on worker threads, the simulator inline. Memory is bounded by one largest block and the
//! bytes of one push.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::config::Geometry;
use crate::crypto::hash::Sha256;
use crate::id::FileId;
use crate::keystore::block::{Layout, block_bytes, piped_block_bytes};
use crate::limits::CHUNKS_MAX;

/// What the chunks of a put make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileDigest {
    /// SHA-256 of the whole file.
    pub file: FileId,
    /// Bytes of the whole file.
    pub size: u64,
}

/// Why bytes can't become a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The source changed while it was read: it has not as many bytes as it said. Read it again.
    #[error("the source said it has {declared} bytes, but {found} were read: it changed meanwhile")]
    SizeChanged {
        /// Bytes it said it has.
        declared: u64,
        /// Bytes read so far.
        found: u64,
    },
    /// The file has more chunks than can be counted.
    #[error("the file is too large")]
    TooLarge,
}

/// How long the blocks are, as far as that is known.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The size is known, and with it every block.
    Known(Layout),
    /// A known size that has too many blocks.
    TooLarge,
    /// A pipe that may yet turn out to be no longer than one largest block.
    Undecided,
    /// A pipe that is longer than one largest block.
    Endless,
}

/// Cuts a file into blocks and hashes it as a whole.
///
/// The same bytes give the same blocks, however they are split into pushes; and whether the size was known or not, up
/// to `large_file_blocks` of the largest block (512 MiB).
#[derive(Debug)]
pub struct Ingest {
    geometry: Geometry,
    declared: Option<u64>,
    cut: Cut,
    /// The beginning of the next block, or all of an undecided pipe. Invariant: at most `block_bytes_max` bytes.
    held: BytesMut,
    hash: Sha256,
    /// Bytes pushed.
    received: u64,
    /// Blocks given out.
    blocks: u32,
}

impl Ingest {
    /// A file of which nothing was read yet; `size` is what its source says, `None` for a pipe.
    #[must_use]
    pub fn new(geometry: &Geometry, size: Option<u64>) -> Self {
        let cut = match size {
            None => Cut::Undecided,
            Some(size) => Layout::new(size, block_bytes(geometry, size)).map_or(Cut::TooLarge, Cut::Known),
        };
        Self {
            geometry: *geometry,
            declared: size,
            cut,
            held: BytesMut::new(),
            hash: Sha256::new(),
            received: 0,
            blocks: 0,
        }
    }

    /// How many bytes complete the next block, at least 1. A push of just so many is not copied, and reading 1 byte
    /// beyond a known end is how a file is noticed that has grown.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let wanted = match self.cut {
            Cut::Undecided => self.geometry.block_bytes_max as usize + 1,
            Cut::Known(_) | Cut::Endless | Cut::TooLarge => self.next_block(),
        };
        wanted.saturating_sub(self.held.len()).max(1)
    }

    /// Takes the next bytes of the file and appends the blocks they complete to `out`.
    ///
    /// # Errors
    /// When the file is longer than its source said, or too large. The ingest can't go on then.
    pub fn push(&mut self, mut bytes: Bytes, out: &mut Vec<Bytes>) -> Result<(), IngestError> {
        let found = self.received.checked_add(bytes.len() as u64).ok_or(IngestError::TooLarge)?;
        if let Some(declared) = self.declared.filter(|declared| found > *declared) {
            return Err(IngestError::SizeChanged { declared, found });
        }
        if matches!(self.cut, Cut::TooLarge) {
            return Err(IngestError::TooLarge);
        }
        self.hash.update(&bytes);
        self.received = found;
        if matches!(self.cut, Cut::Undecided) {
            if found <= u64::from(self.geometry.block_bytes_max) {
                self.held.extend_from_slice(&bytes);
                return Ok(());
            }
            self.cut = Cut::Endless;
        }
        while !bytes.is_empty() {
            self.fill(&mut bytes, out)?;
        }
        assert!(self.held.len() <= self.geometry.block_bytes_max as usize, "never more than a block is held");
        Ok(())
    }

    /// Ends the file: appends what is left to `out` and says what all blocks make.
    ///
    /// # Errors
    /// When the file is shorter than its source said.
    pub fn finish(mut self, out: &mut Vec<Bytes>) -> Result<FileDigest, IngestError> {
        if let Some(declared) = self.declared.filter(|declared| self.received != *declared) {
            return Err(IngestError::SizeChanged { declared, found: self.received });
        }
        if matches!(self.cut, Cut::Undecided) {
            let block = piped_block_bytes(&self.geometry, self.received);
            let layout = Layout::new(self.received, block).map_err(|_| IngestError::TooLarge)?;
            self.cut = Cut::Known(layout);
            let mut all = self.held.split().freeze();
            while !all.is_empty() {
                self.fill(&mut all, out)?;
            }
        }
        if !self.held.is_empty() {
            assert!(matches!(self.cut, Cut::Endless), "only a pipe's last block ends before it is full");
            let last = self.held.split().freeze();
            self.emit(last, out)?;
        }
        Ok(FileDigest { file: FileId::from_bytes(self.hash.finish()), size: self.received })
    }

    /// Bytes of the next block to give out; 0 after the last one of a known size.
    fn next_block(&self) -> usize {
        match self.cut {
            Cut::Known(layout) if self.blocks < layout.count() => layout.bytes_of(self.blocks) as usize,
            Cut::Known(_) | Cut::TooLarge => 0,
            Cut::Undecided | Cut::Endless => self.geometry.block_bytes_max as usize,
        }
    }

    /// Moves bytes into the next block, and the block to `out` if that completes it. A block that lies in `bytes` as a
    /// whole is sliced off, not copied; less than a block is copied, so that it does not keep a larger buffer alive.
    fn fill(&mut self, bytes: &mut Bytes, out: &mut Vec<Bytes>) -> Result<(), IngestError> {
        let wanted = self.next_block();
        assert!(wanted > self.held.len() || !self.held.is_empty(), "the declared size bounds what is taken");
        if self.held.is_empty() && bytes.len() >= wanted {
            let block = bytes.split_to(wanted);
            return self.emit(block, out);
        }
        if self.held.is_empty() {
            self.held.reserve(wanted);
        }
        let taken = bytes.split_to(bytes.len().min(wanted - self.held.len()));
        self.held.extend_from_slice(&taken);
        if self.held.len() == wanted {
            let block = self.held.split().freeze();
            self.emit(block, out)?;
        }
        Ok(())
    }

    fn emit(&mut self, block: Bytes, out: &mut Vec<Bytes>) -> Result<(), IngestError> {
        assert!(!block.is_empty() && block.len() <= self.geometry.block_bytes_max as usize, "a block has its bounds");
        if self.blocks == CHUNKS_MAX {
            return Err(IngestError::TooLarge);
        }
        self.blocks += 1;
        out.push(block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RawConfig};
    use crate::id::ChunkId;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn geometry(raw: RawConfig) -> Geometry {
        *Config::new(raw).unwrap().geometry()
    }

    fn tiny() -> Geometry {
        geometry(RawConfig {
            block_bytes_min: 8,
            block_bytes_max: 32,
            blocks_target: 10,
            large_file_blocks: 4,
            inline_bytes_max: 4,
            ..RawConfig::STANDARD
        })
    }

    fn ingest(
        geometry: &Geometry,
        size: Option<u64>,
        pushes: &[&[u8]],
    ) -> Result<(Vec<Bytes>, FileDigest), IngestError> {
        let mut ingest = Ingest::new(geometry, size);
        let mut blocks = Vec::new();
        for push in pushes {
            ingest.push(Bytes::copy_from_slice(push), &mut blocks)?;
        }
        let digest = ingest.finish(&mut blocks)?;
        Ok((blocks, digest))
    }

    fn counted(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
    }

    #[test]
    fn the_originals_whole_file_vector_holds() {
        let mut file: Vec<u8> = (0..512).flat_map(|_| 0..=255_u8).collect();
        file.push(b'x');
        let (blocks, digest) = ingest(&geometry(RawConfig::STANDARD), Some(131_073), &[&file]).unwrap();
        assert_eq!(digest.size, 131_073);
        let id = "bd2b43fa35c550ee343e12442fd5e86f8191b4910459626476547e3adebad7a6";
        assert_eq!(digest.file.to_string(), id);
        let ids: Vec<_> = blocks.iter().map(|block| (block.len(), ChunkId::of(block).to_string())).collect();
        let full = "7daca2095d0438260fa849183dfc67faa459fdf4936e1bc91eec6b281b27e4c2".to_string();
        let last = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881".to_string();
        assert_eq!(ids, [(65_536, full.clone()), (65_536, full), (1, last)]);
    }

    #[test]
    fn an_empty_file_has_no_block() {
        for size in [Some(0), None] {
            let (blocks, digest) = ingest(&tiny(), size, &[b""]).unwrap();
            assert!(blocks.is_empty());
            assert_eq!(digest, FileDigest { file: FileId::from_bytes(*ChunkId::of(b"").as_bytes()), size: 0 });
        }
    }

    #[test]
    fn a_size_that_turns_out_wrong_is_told_as_soon_as_it_is_known() {
        let mut blocks = Vec::new();
        let mut longer = Ingest::new(&tiny(), Some(3));
        longer.push(Bytes::from_static(b"abc"), &mut blocks).unwrap();
        let error = longer.push(Bytes::from_static(b"d"), &mut blocks);
        assert_eq!(error, Err(IngestError::SizeChanged { declared: 3, found: 4 }));
        let shorter = ingest(&tiny(), Some(3), &[b"ab"]);
        assert_eq!(shorter, Err(IngestError::SizeChanged { declared: 3, found: 2 }));
        assert_eq!(ingest(&tiny(), Some(u64::MAX), &[b"ab"]), Err(IngestError::TooLarge));
    }

    #[test]
    fn a_whole_block_is_sliced_and_a_part_is_copied() {
        let buffer = Bytes::from(counted(40));
        let mut ingest = Ingest::new(&tiny(), Some(64));
        let mut blocks = Vec::new();
        assert_eq!(ingest.wanted(), 32);
        ingest.push(buffer.clone(), &mut blocks).unwrap();
        assert_eq!(blocks[0].as_ptr(), buffer.as_ptr(), "no copy");
        drop(blocks);
        assert!(buffer.is_unique(), "what is held does not keep the buffer");
        assert_eq!(ingest.wanted(), 24);
    }

    #[test]
    fn a_pipe_is_held_back_until_its_blocks_are_known() {
        let bytes = counted(33);
        let mut pipe = Ingest::new(&tiny(), None);
        let mut blocks = Vec::new();
        assert_eq!(pipe.wanted(), 33);
        pipe.push(Bytes::copy_from_slice(&bytes[..32]), &mut blocks).unwrap();
        assert!(blocks.is_empty());
        assert_eq!(pipe.wanted(), 1);
        pipe.push(Bytes::copy_from_slice(&bytes[32..]), &mut blocks).unwrap();
        assert_eq!(blocks, [Bytes::copy_from_slice(&bytes[..32])]);
        pipe.finish(&mut blocks).unwrap();
        assert_eq!(blocks[1], bytes[32..]);
    }

    #[test]
    fn wanted_leads_through_a_file_without_a_copy() {
        let (bytes, mut blocks) = (counted(100), Vec::new());
        let mut ingest = Ingest::new(&tiny(), Some(100));
        let mut rest = Bytes::from(bytes);
        while !rest.is_empty() {
            let piece = rest.split_to(ingest.wanted());
            let start = piece.as_ptr();
            ingest.push(piece, &mut blocks).unwrap();
            assert_eq!(blocks.last().unwrap().as_ptr(), start);
        }
        assert_eq!(ingest.wanted(), 1, "one more byte would show that the file has grown");
        ingest.finish(&mut blocks).unwrap();
        assert_eq!(blocks.iter().map(Bytes::len).collect::<Vec<_>>(), vec![32, 32, 32, 4]);
    }

    proptest! {
        #[test]
        fn splits_and_sources_give_the_same_blocks(
            len in 0_usize..400,
            cuts in prop::collection::vec(0_usize..400, 0..12),
            target in 1_u32..20,
            large in 1_u32..6,
        ) {
            let geometry = Geometry { blocks_target: target, large_file_blocks: large, ..tiny() };
            let bytes = counted(len);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(len)).chain([0, len]).collect();
            cuts.sort_unstable();
            let pushes: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();

            let block_of = |block: u32| bytes.chunks(block.max(1) as usize).map(Bytes::copy_from_slice).collect::<Vec<_>>();
            let size = len as u64;
            let digest = FileDigest { file: FileId::from_bytes(*ChunkId::of(&bytes).as_bytes()), size };
            let file = (block_of(block_bytes(&geometry, size)), digest);
            let pipe = (block_of(piped_block_bytes(&geometry, size)), digest);
            prop_assert_eq!(ingest(&geometry, Some(size), &pushes).unwrap(), file.clone());
            prop_assert_eq!(ingest(&geometry, Some(size), &[&bytes]).unwrap(), file.clone());
            prop_assert_eq!(ingest(&geometry, None, &pushes).unwrap(), pipe.clone());
            if size <= 32 * u64::from(large) {
                prop_assert_eq!(file, pipe);
            }
        }
    }
}
