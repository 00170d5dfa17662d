//! Names of files.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::limits::NAME_BYTES_MAX;

/// How a content is addressed instead of a name; no name may begin like this.
pub const CONTENT_PREFIX: &str = "sha256:";

/// The name of a file: 1 to 1,024 bytes of UTF-8 without NUL, not beginning with `sha256:`. Compared byte by byte.
///
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text can't be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No text at all.
    #[error("a name can't be empty")]
    Empty,
    /// Longer than 1,024 bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("a name must be UTF-8; byte {offset} is not")]
    NotUtf8 {
        /// The first byte that is not part of a character.
        offset: usize,
    },
    /// A NUL character.
    #[error("a name can't contain NUL; byte {offset} is one")]
    Nul {
        /// Where it is.
        offset: usize,
    },
    /// Looks like the address of a content.
    #[error("a name can't begin with \"{CONTENT_PREFIX}\": that addresses a content by its hash")]
    Reserved,
}

impl Name {
    /// Checks `bytes`.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        Self::check(bytes).map(|text| Self(Arc::from(text)))
    }

    /// The text of the name that `bytes` are.
    pub(crate) fn check(bytes: &[u8]) -> Result<&str, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: bytes.len() });
        }
        let text = core::str::from_utf8(bytes).map_err(|error| NameError::NotUtf8 { offset: error.valid_up_to() })?;
        if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
            return Err(NameError::Nul { offset });
        }
        if text.starts_with(CONTENT_PREFIX) {
            return Err(NameError::Reserved);
        }
        Ok(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as bytes, in the order of which listings come.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        Self::from(&*name.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_of_names_is_told_apart() {
        assert_eq!(Name::new(b""), Err(NameError::Empty));
        assert!(Name::new(&[b'a'; NAME_BYTES_MAX]).is_ok());
        assert_eq!(Name::new(&[b'a'; NAME_BYTES_MAX + 1]), Err(NameError::TooLong { bytes: NAME_BYTES_MAX + 1 }));
        assert_eq!(Name::new(b"ab\xff"), Err(NameError::NotUtf8 { offset: 2 }));
        assert_eq!(Name::new(b"a\0b"), Err(NameError::Nul { offset: 1 }));
        assert_eq!(Name::new(b"sha256:00"), Err(NameError::Reserved));
        assert_eq!(Name::new("na\u{ef}ve/\u{1f980}".as_bytes()).unwrap().as_str(), "na\u{ef}ve/\u{1f980}");
    }
}
