//! What cleans may have made missing. A content that a clean gave up is missing until it is put again; whether a put came
//! before or after a clean is known if one ended before the other began.

use std::collections::BTreeMap;

use dps_core::id::FileId;

use super::Mark;

#[derive(Clone, Copy, Debug)]
struct Clean {
    began: Mark,
    /// `None` while it is under way.
    ended: Option<Mark>,
    /// Whether it certainly took place.
    certain: bool,
}

/// When a content was put.
#[derive(Clone, Copy, Debug, Default)]
struct Puts {
    /// The beginning of the last one that certainly took place.
    certain_began: Mark,
    /// The end of the last one that may have taken place.
    possible_ended: Mark,
    /// How many are under way.
    open: u32,
}

/// Everything that is known of cleans.
#[derive(Clone, Debug, Default)]
pub(super) struct Cleans {
    /// Those that may have taken place.
    cleans: BTreeMap<Mark, Clean>,
    puts: BTreeMap<FileId, Puts>,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It took place.
    Done,
    /// It did not.
    Refused,
    /// Nobody said.
    Unknown,
}

impl Cleans {
    pub(super) fn begin(&mut self, now: Mark) {
        self.cleans.insert(now, Clean { began: now, ended: None, certain: false });
    }

    pub(super) fn end(&mut self, began: Mark, end: End, now: Mark) {
        match end {
            End::Refused => _ = self.cleans.remove(&began),
            End::Done | End::Unknown => {
                let clean = self.cleans.get_mut(&began).expect("what ends has begun");
                (clean.ended, clean.certain) = (Some(now), end == End::Done);
            }
        }
    }

    /// The node has stopped: whatever was under way has ended, nobody said how.
    pub(super) fn stopped(&mut self, now: Mark) {
        self.cleans.values_mut().for_each(|clean| clean.ended = clean.ended.or(Some(now)));
    }

    pub(super) fn put_begins(&mut self, file: FileId) {
        self.puts.entry(file).or_default().open += 1;
    }

    pub(super) fn put_ends(&mut self, file: FileId, began: Mark, end: End, now: Mark) {
        let puts = self.puts.entry(file).or_default();
        puts.open -= 1;
        if end != End::Refused {
            puts.possible_ended = puts.possible_ended.max(now);
        }
        if end == End::Done {
            puts.certain_began = puts.certain_began.max(began);
        }
    }

    fn puts(&self, file: FileId) -> Puts {
        self.puts.get(&file).copied().unwrap_or_default()
    }

    /// Cleans after which the content may not have been put.
    fn suspects(&self, file: FileId) -> impl Iterator<Item = &Clean> {
        let certain = self.puts(file).certain_began;
        self.cleans.values().filter(move |clean| clean.ended.is_none_or(|ended| certain <= ended))
    }

    /// Whether every put of the content was over when the clean began, and the clean is over too.
    fn is_before(&self, file: FileId, clean: &Clean) -> bool {
        let puts = self.puts(file);
        puts.open == 0 && puts.possible_ended < clean.began && clean.ended.is_some()
    }

    /// Whether the content may be missing now.
    pub(super) fn may_be_missing(&self, file: FileId) -> bool {
        self.suspects(file).next().is_some()
    }

    /// Whether the content must be missing now.
    pub(super) fn must_be_missing(&self, file: FileId) -> bool {
        self.cleans.values().any(|clean| clean.certain && self.is_before(file, clean))
    }

    /// Somebody saw whether the content is missing: that tells of a clean of which nobody said how it ended.
    pub(super) fn observe(&mut self, file: FileId, missing: bool) {
        if missing {
            let suspects: Vec<Mark> = self.suspects(file).map(|clean| clean.began).collect();
            if let [only] = suspects[..] {
                let clean = self.cleans.get_mut(&only).expect("just found");
                clean.certain |= clean.ended.is_some();
            }
        } else {
            let refuted: Vec<Mark> =
                self.cleans.values().filter(|clean| self.is_before(file, clean)).map(|clean| clean.began).collect();
            refuted.iter().for_each(|began| _ = self.cleans.remove(began));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u8) -> FileId {
        FileId::from_bytes([number; 32])
    }

    fn missing(cleans: &Cleans, number: u8) -> (bool, bool) {
        (cleans.may_be_missing(file(number)), cleans.must_be_missing(file(number)))
    }

    #[test]
    fn a_clean_makes_missing_what_was_put_before_and_a_put_heals() {
        let mut cleans = Cleans::default();
        cleans.put_begins(file(1));
        cleans.put_ends(file(1), 1, End::Done, 2);
        assert_eq!(missing(&cleans, 1), (false, false));
        cleans.begin(3);
        assert_eq!(missing(&cleans, 1), (true, false));
        cleans.put_begins(file(2));
        cleans.put_ends(file(2), 4, End::Done, 5);
        cleans.end(3, End::Done, 6);
        assert_eq!(missing(&cleans, 1), (true, true));
        assert_eq!(missing(&cleans, 2), (true, false), "nobody knows which came first");
        cleans.put_begins(file(1));
        assert_eq!(missing(&cleans, 1), (true, false));
        cleans.put_ends(file(1), 7, End::Done, 8);
        assert_eq!(missing(&cleans, 1), (false, false));
    }

    #[test]
    fn a_clean_of_which_nobody_said_how_it_ended_is_known_by_what_it_does() {
        let mut cleans = Cleans::default();
        cleans.put_begins(file(1));
        cleans.put_ends(file(1), 1, End::Done, 2);
        cleans.begin(3);
        cleans.stopped(4);
        assert_eq!(missing(&cleans, 1), (true, false));
        let mut happened = cleans.clone();
        happened.observe(file(1), true);
        assert_eq!(missing(&happened, 1), (true, true));
        cleans.observe(file(1), false);
        assert_eq!(missing(&cleans, 1), (false, false));
    }
}
