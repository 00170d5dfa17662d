//! Names, contents and ranges as they are written on a command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use dps_core::ledger::file::Target;
use dps_core::ledger::name::{CONTENT_PREFIX, Name};
use dps_core::node::ByteRange;

use super::failure::{Exit, Failure};

/// The name that is written as `text`.
pub(crate) fn name(text: &OsStr) -> Result<Name, Failure> {
    Name::new(text.as_bytes()).map_err(|error| Failure::name(text.as_bytes(), error))
}

/// The file that is written as a name or as `sha256:HEX`.
pub(crate) fn target(text: &OsStr) -> Result<Target, Failure> {
    let Some(hex) = text.as_bytes().strip_prefix(CONTENT_PREFIX.as_bytes()) else {
        return name(text).map(Target::Name);
    };
    let hex = String::from_utf8_lossy(hex).to_ascii_lowercase();
    hex.parse().map(Target::Content).map_err(|error| {
        let what = format!("{:?} is not the hash of a content", text.to_string_lossy());
        Failure::new("E_CONTENT", Exit::Usage, what).cause(error).hint("\"dps stat NAME\" shows the hash of a file")
    })
}

/// How a target is called in messages.
pub(crate) fn shown(target: &Target) -> String {
    match target {
        Target::Name(name) => super::render::printable(name.as_str()),
        Target::Content(file) => format!("{CONTENT_PREFIX}{file}"),
    }
}

/// The beginning of names that is written as `text`; nothing for all names.
pub(crate) fn prefix(text: Option<OsString>) -> Result<String, Failure> {
    let Some(text) = text else { return Ok(String::new()) };
    text.into_string().map_err(|text| {
        Failure::new("E_NAME", Exit::Usage, format!("{:?} can't be the beginning of a name", text.to_string_lossy()))
            .cause("names are UTF-8")
            .hint("\"dps ls\" without it lists all names")
    })
}

/// The range that is written as `A-B`, `A-` or `-N`.
pub(crate) fn range(text: &str) -> Result<ByteRange, Failure> {
    let failure = |cause: &str| {
        Failure::new("E_RANGE", Exit::Usage, format!("{text:?} is not a range of bytes"))
            .cause(cause)
            .hint("write A-B (both included, from 0), A- (to the end) or -N (the last N bytes)")
    };
    let number = |digits: &str| {
        let strict = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if strict { digits.parse::<u64>().ok() } else { None }
    };
    let (first, last) = text.split_once('-').ok_or_else(|| failure("there is no hyphen in it"))?;
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Err(failure("it ends before it begins")),
        (Some(first), Some(last)) => Ok(ByteRange::FromTo { first, last }),
        (Some(first), None) if last.is_empty() => Ok(ByteRange::From { first }),
        (None, Some(0)) if first.is_empty() => Err(failure("the last 0 bytes are none")),
        (None, Some(bytes)) if first.is_empty() => Ok(ByteRange::Last { bytes }),
        (Some(_) | None, Some(_) | None) => Err(failure("a position is a number below 2^64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_strict() {
        for (text, expected) in [
            ("0-0", ByteRange::FromTo { first: 0, last: 0 }),
            ("5-9", ByteRange::FromTo { first: 5, last: 9 }),
            ("5-", ByteRange::From { first: 5 }),
            ("-5", ByteRange::Last { bytes: 5 }),
            ("18446744073709551615-", ByteRange::From { first: u64::MAX }),
        ] {
            assert_eq!(range(text).unwrap(), expected, "{text}");
        }
        for text in ["", "-", "5", "9-5", "-0", "a-", "+1-2", "1-2-3", " 1-2", "18446744073709551616-", "--5", "1-x"] {
            let failure = range(text).unwrap_err();
            assert_eq!((failure.code, failure.exit), ("E_RANGE", Exit::Usage), "{text}");
        }
    }

    #[test]
    fn a_content_is_told_from_a_name() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for written in [hex.to_owned(), hex.to_uppercase()] {
            let target = target(OsStr::new(&format!("sha256:{written}"))).unwrap();
            assert_eq!(shown(&target), format!("sha256:{hex}"));
        }
        assert!(matches!(target(OsStr::new("sha256")).unwrap(), Target::Name(_)));
        for text in ["sha256:", "sha256:00", "sha256:zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
        {
            assert_eq!(target(OsStr::new(text)).unwrap_err().code, "E_CONTENT");
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in [b"".as_slice(), &[b'a'; 1_025], b"a\xffb", b"a\0b"] {
            let failure = name(OsStr::from_bytes(text)).unwrap_err();
            assert_eq!((failure.code, failure.exit), ("E_NAME", Exit::Usage));
        }
        assert_eq!(prefix(Some(OsStr::from_bytes(b"\xff").to_owned())).unwrap_err().code, "E_NAME");
        assert_eq!(prefix(None).unwrap(), "");
    }
}
