//! Frames on a stream of bytes: the length of a message as four bytes, little-endian, then the message.
//!
//! The length is judged before anything is allocated, and memory grows with the bytes that came, not with those that
//! were announced. After a length that can't be nobody knows where the next frame begins, so the stream is of no use
//! any more.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use crate::limits::FRAME_BYTES_MAX;

/// Bytes before each message.
pub const HEADER_LEN: usize = 4;

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// A frame without a message.
    #[error("a frame has no message")]
    Empty,
    /// More than [`FRAME_BYTES_MAX`].
    #[error("a frame has {bytes} bytes, above {FRAME_BYTES_MAX}")]
    TooLong {
        /// How many it has.
        bytes: u64,
    },
}

/// The frames of one stream, as its bytes come in. Holds at most one message.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; HEADER_LEN],
    header_filled: usize,
    /// Bytes of the message that is coming, once its header is there and was judged.
    len: Option<usize>,
    /// What came of it.
    message: Vec<u8>,
    failed: Option<FrameError>,
}

impl Frames {
    /// The beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as far as the end of a frame, and says how many it took. What is left is to be fed again after
    /// [`Self::next`]. Takes nothing while a whole frame waits for that, nor of a stream that has failed.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.failed.is_some() {
            return 0;
        }
        let taken = self.feed_header(bytes);
        let Some(len) = self.len else { return taken };
        let rest = &bytes[taken..];
        let body = rest.len().min(len - self.message.len());
        self.reserve(body, len);
        self.message.extend_from_slice(&rest[..body]);
        taken + body
    }

    /// The message of the frame that is whole, if one is.
    ///
    /// # Errors
    /// The stream is of no use any more; so it stays.
    #[expect(clippy::should_implement_trait, reason = "it ends only for now")]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.len != Some(self.message.len()) {
            return Ok(None);
        }
        (self.len, self.header_filled) = (None, 0);
        Ok(Some(mem::take(&mut self.message).into()))
    }

    /// Whether the stream may end here: no frame has begun, and no message waits.
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        self.failed.is_none() && self.header_filled == 0
    }

    /// Bytes of memory that it holds besides itself.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.message.capacity()
    }

    /// Takes what is missing of the header, and judges it once it is whole.
    fn feed_header(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(HEADER_LEN - self.header_filled);
        self.header[self.header_filled..self.header_filled + taken].copy_from_slice(&bytes[..taken]);
        self.header_filled += taken;
        if self.header_filled == HEADER_LEN && self.len.is_none() {
            let len = u32::from_le_bytes(self.header);
            match judge(u64::from(len)) {
                Ok(()) => self.len = Some(usize::try_from(len).expect("a frame fits memory")),
                Err(error) => self.failed = Some(error),
            }
        }
        taken
    }

    /// Makes room for `more` bytes: at least twice what there was, so that few copies are made, and never more than
    /// `len`.
    fn reserve(&mut self, more: usize, len: usize) {
        let needed = self.message.len() + more;
        if needed > self.message.capacity() {
            let target = needed.max(2 * self.message.capacity()).min(len);
            self.message.reserve_exact(target - self.message.len());
        }
    }
}

/// Appends the frame of a message.
///
/// # Errors
/// No frame has such a message. Nothing is appended.
pub fn encode(message: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    judge(message.len() as u64)?;
    let len = u32::try_from(message.len()).expect("it was judged");
    out.reserve(HEADER_LEN + message.len());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(message);
    Ok(())
}

/// Whether a message may have so many bytes.
const fn judge(bytes: u64) -> Result<(), FrameError> {
    match bytes {
        0 => Err(FrameError::Empty),
        _ if bytes > FRAME_BYTES_MAX as u64 => Err(FrameError::TooLong { bytes }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
