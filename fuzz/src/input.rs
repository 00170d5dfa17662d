//! Bytes of a fuzzer as decisions. When they are used up every further decision is the smallest one.

use bytes::Bytes;

/// What is left to decide with.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left, so that a loop over decisions ends.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes, or as many as there are.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn digest(&mut self) -> [u8; 32] {
        self.array()
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// True in about one of `of` inputs, and not once they are used up.
    pub(crate) fn rarely(&mut self, of: u8) -> bool {
        self.u8() % of == of - 1
    }

    /// A number below `bound`, 0 if there is none: of one byte for small bounds, else of two.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            1..=256 => usize::from(self.u8()) % bound,
            _ => usize::from(self.u16()) % bound,
        }
    }

    /// A number that is small in most cases and may be anything in some.
    pub(crate) fn number(&mut self) -> u64 {
        match self.u8() {
            255 => self.u64(),
            254 => u64::MAX,
            253 => u64::from(self.u32()),
            small => u64::from(small),
        }
    }

    /// Up to 255 bytes, as many as the next byte says.
    pub(crate) fn short(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.bytes(usize::from(len))
    }

    /// Up to 255 bytes, `repeat` times over.
    pub(crate) fn repeated(&mut self, repeat: usize) -> Bytes {
        Bytes::from(self.short().repeat(repeat))
    }

    /// A place in something of `len` bytes, however long that is.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        let parts = u64::from(self.u16()) * len as u64 / (1 << 16);
        usize::try_from(parts).expect("less than a length")
    }
}

/// Bytes that a fuzzer can repeat but not choose, so that it can't forge a checksum (splitmix64).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
