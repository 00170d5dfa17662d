//! S2: a read returns an error or the right bytes, never wrong bytes, whatever was damaged.

use super::Findings;
use crate::content::Content;

/// Bytes that came as those of `content` from `first` on.
pub(crate) fn check(content: &Content, first: u64, bytes: &[u8], at: u64, findings: &mut Findings) {
    let start = usize::try_from(first).unwrap_or(usize::MAX);
    let expected = content.bytes.get(start..start.saturating_add(bytes.len()));
    if expected != Some(bytes) {
        let text = format!("{} bytes from byte {first} of file {} are wrong", bytes.len(), content.file);
        findings.correctness("S2", at, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Library;
    use dps_core::config::{Config, RawConfig};
    use dps_core::rng::Seed;

    #[test]
    fn wrong_bytes_and_bytes_past_the_end_are_found() {
        let geometry = *Config::new(RawConfig::STANDARD).unwrap().geometry();
        let mut library = Library::new(geometry, 2, 64, Seed::new([1; 32]));
        let mut rng = Seed::new([2; 32]).rng();
        let content =
            std::iter::repeat_with(|| library.draw(&mut rng)).find(|content| content.bytes.len() > 9).unwrap();
        let found = |first: u64, bytes: &[u8]| {
            let mut findings = Findings::default();
            check(&content, first, bytes, 0, &mut findings);
            !findings.is_empty()
        };
        assert!(!found(2, &content.bytes[2..7]));
        assert!(found(2, &[!content.bytes[2]]));
        assert!(found(content.bytes.len() as u64, b"x"));
    }
}
