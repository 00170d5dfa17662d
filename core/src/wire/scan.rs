//! Looking through protobuf before it is decoded, so that what is decoded is known to be small: an empty item of a list
//! takes two bytes on the wire and many times that in memory.

use bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::error::WireError;

/// One field of a message: its number, and its bytes if it has a length.
pub(super) type Field<'a> = (u32, Option<&'a [u8]>);

/// The fields of a message in their order, up to the first that protobuf does not allow.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let (number, kind) = decode_key(&mut self.rest).map_err(|_| WireError::Malformed)?;
        match kind {
            WireType::LengthDelimited => {
                let len = decode_varint(&mut self.rest).map_err(|_| WireError::Malformed)?;
                let len = usize::try_from(len).map_err(|_| WireError::Malformed)?;
                let bytes = self.rest.get(..len).ok_or(WireError::Malformed)?;
                self.rest.advance(len);
                Ok((number, Some(bytes)))
            }
            WireType::Varint | WireType::SixtyFourBit | WireType::ThirtyTwoBit => {
                let skipped = skip_field(kind, number, &mut self.rest, DecodeContext::default());
                skipped.map(|()| (number, None)).map_err(|_| WireError::Malformed)
            }
            // The schema's language has had none since its third version, and they nest without saying how long they
            // are.
            WireType::StartGroup | WireType::EndGroup => Err(WireError::Malformed),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// How many fields with a length there are at the end of `path`, a list of field numbers from the outside in. As deep
/// as the path, whatever the bytes are.
///
/// # Errors
/// Protobuf does not allow what is on the way.
pub(super) fn count(message: &[u8], path: &[u32]) -> Result<usize, WireError> {
    let Some((first, inner)) = path.split_first() else { return Ok(1) };
    let mut sum = 0;
    for field in Fields::new(message) {
        if let (number, Some(bytes)) = field?
            && number == *first
        {
            sum += count(bytes, inner)?;
        }
    }
    Ok(sum)
}
