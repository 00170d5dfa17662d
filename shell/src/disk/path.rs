//! Where a logical file is in the data directory, and back.

use dps_core::disk::{File, Slot};

/// A directory of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// The data directory itself: the lock, the slots and the reserve.
    Root,
    /// Journal segments.
    Journal,
    /// Volumes of chunks, and checkpoints of their index.
    Data,
    /// Files in the making.
    Stage,
}

impl Folder {
    /// The folders below the data directory, in the order in which they are made.
    pub const SUBFOLDERS: [Self; 3] = [Self::Journal, Self::Data, Self::Stage];

    /// The name below the data directory; `.` for the data directory itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => ".",
            Self::Journal => "journal",
            Self::Data => "data",
            Self::Stage => "stage",
        }
    }
}

/// Name of the file that keeps a second process out.
pub const LOCK_NAME: &str = "LOCK";

/// Name of the file that says of which member of which group the directory is; a store of its own has none.
pub const MARK_NAME: &str = "member";

/// Names of the boot records, by which a data directory is known to be ours.
pub const BOOT_NAMES: [&str; 2] = ["boot.0", "boot.1"];

/// Names of the catalogs of volumes.
const CATALOG_NAMES: [&str; 2] = ["catalog.0", "catalog.1"];

/// The catalogs of journal segments.
const SEGMENTS_NAMES: [&str; 2] = ["segments.0", "segments.1"];

/// What a member of a group remembers of the others.
const WITNESS_NAMES: [&str; 2] = ["witness.0", "witness.1"];

/// Name of the position of the scrub.
const SCRUB_NAME: &str = "scrub";

/// Name of the space that is set aside.
const RESERVE_NAME: &str = "reserve";

/// The folder that holds `file`.
#[must_use]
pub const fn folder(file: File) -> Folder {
    match file {
        File::Slot(_) | File::Reserve => Folder::Root,
        File::Journal(_) | File::Snapshot(_) => Folder::Journal,
        File::Volume(_) | File::Checkpoint(_) => Folder::Data,
        File::Stage(_) => Folder::Stage,
    }
}

/// The name of `file` within its [`folder`].
#[must_use]
pub fn name(file: File) -> String {
    match file {
        File::Slot(Slot::BootEven) => String::from(BOOT_NAMES[0]),
        File::Slot(Slot::BootOdd) => String::from(BOOT_NAMES[1]),
        File::Slot(Slot::CatalogEven) => String::from(CATALOG_NAMES[0]),
        File::Slot(Slot::CatalogOdd) => String::from(CATALOG_NAMES[1]),
        File::Slot(Slot::JournalEven) => String::from(SEGMENTS_NAMES[0]),
        File::Slot(Slot::JournalOdd) => String::from(SEGMENTS_NAMES[1]),
        File::Slot(Slot::Scrub) => String::from(SCRUB_NAME),
        File::Slot(Slot::WitnessEven) => String::from(WITNESS_NAMES[0]),
        File::Slot(Slot::WitnessOdd) => String::from(WITNESS_NAMES[1]),
        File::Reserve => String::from(RESERVE_NAME),
        File::Journal(number) => format!("{number:06}.log"),
        File::Snapshot(index) => format!("{index:06}.snap"),
        File::Volume(number) => format!("{number:06}.kdht"),
        File::Checkpoint(number) => format!("{number:06}.idx"),
        File::Stage(number) => format!("{number:06}.tmp"),
    }
}

/// The path of `file` from the data directory, for people.
#[must_use]
pub fn relative(file: File) -> String {
    match folder(file) {
        Folder::Root => name(file),
        folder @ (Folder::Journal | Folder::Data | Folder::Stage) => format!("{}/{}", folder.name(), name(file)),
    }
}

/// The file that has `name` in `folder`; `None` for whatever is not ours. Only the exact name that [`name`] gives counts.
#[must_use]
pub fn recognise(folder: Folder, name: &[u8]) -> Option<File> {
    let text = core::str::from_utf8(name).ok()?;
    let numbered = |suffix: &str| text.strip_suffix(suffix).and_then(|digits| digits.parse::<u64>().ok());
    let file = match folder {
        Folder::Root if text == BOOT_NAMES[0] => File::Slot(Slot::BootEven),
        Folder::Root if text == BOOT_NAMES[1] => File::Slot(Slot::BootOdd),
        Folder::Root if text == CATALOG_NAMES[0] => File::Slot(Slot::CatalogEven),
        Folder::Root if text == CATALOG_NAMES[1] => File::Slot(Slot::CatalogOdd),
        Folder::Root if text == SEGMENTS_NAMES[0] => File::Slot(Slot::JournalEven),
        Folder::Root if text == SEGMENTS_NAMES[1] => File::Slot(Slot::JournalOdd),
        Folder::Root if text == SCRUB_NAME => File::Slot(Slot::Scrub),
        Folder::Root if text == WITNESS_NAMES[0] => File::Slot(Slot::WitnessEven),
        Folder::Root if text == WITNESS_NAMES[1] => File::Slot(Slot::WitnessOdd),
        Folder::Root if text == RESERVE_NAME => File::Reserve,
        Folder::Root => return None,
        Folder::Journal => match numbered(".log") {
            Some(number) => File::Journal(number),
            None => File::Snapshot(numbered(".snap")?),
        },
        Folder::Data => match numbered(".kdht") {
            Some(number) => File::Volume(number),
            None => File::Checkpoint(numbered(".idx")?),
        },
        Folder::Stage => File::Stage(numbered(".tmp")?),
    };
    (self::name(file) == text).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(File, &str); 18] = [
        (File::Slot(Slot::BootEven), "boot.0"),
        (File::Slot(Slot::BootOdd), "boot.1"),
        (File::Slot(Slot::CatalogEven), "catalog.0"),
        (File::Slot(Slot::CatalogOdd), "catalog.1"),
        (File::Slot(Slot::JournalEven), "segments.0"),
        (File::Slot(Slot::JournalOdd), "segments.1"),
        (File::Slot(Slot::Scrub), "scrub"),
        (File::Slot(Slot::WitnessEven), "witness.0"),
        (File::Slot(Slot::WitnessOdd), "witness.1"),
        (File::Reserve, "reserve"),
        (File::Journal(1), "journal/000001.log"),
        (File::Journal(999_999), "journal/999999.log"),
        (File::Snapshot(42), "journal/000042.snap"),
        (File::Volume(1), "data/000001.kdht"),
        (File::Volume(1_000_000), "data/1000000.kdht"),
        (File::Checkpoint(7), "data/000007.idx"),
        (File::Stage(42), "stage/000042.tmp"),
        (File::Stage(u64::MAX), "stage/18446744073709551615.tmp"),
    ];

    #[test]
    fn every_file_has_its_path_and_is_found_by_it() {
        for (file, path) in FILES {
            assert_eq!(relative(file), path);
            assert_eq!(recognise(folder(file), name(file).as_bytes()), Some(file), "{path}");
        }
    }

    #[test]
    fn what_is_not_ours_is_not_recognised() {
        for (folder, name) in [
            (Folder::Root, "LOCK"),
            (Folder::Root, "boot.2"),
            (Folder::Root, "000001.log"),
            (Folder::Journal, "1.log"),
            (Folder::Journal, "0000001.log"),
            (Folder::Journal, "+00001.log"),
            (Folder::Journal, "000001.kdht"),
            (Folder::Journal, "000001.log~"),
            (Folder::Data, ".kdht"),
            (Folder::Data, "-00001.kdht"),
            (Folder::Data, "00000x.kdht"),
            (Folder::Stage, "99999999999999999999.tmp"),
        ] {
            assert_eq!(recognise(folder, name.as_bytes()), None, "{name}");
        }
        assert_eq!(recognise(Folder::Data, b"\xff00001.kdht"), None);
    }
}
