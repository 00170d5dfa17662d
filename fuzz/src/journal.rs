//! Recovery of the journal: records by the rules of [`crate::judge`], and the ledger that comes of them.

use dps_core::config::{Config, RawConfig};
use dps_core::disk::record::FileKind;
use dps_core::disk::{DiskError, File};
use dps_core::ledger::recover::{Recovered, Recovery, Step};
use dps_core::ledger::state::State;

use crate::image::{Image, boot_record};
use crate::input::Input;
use crate::judge::{Floors, judge};
use crate::memory::Memory;

/// Writes journal segments, harms them, and recovers them twice.
///
/// # Panics
/// When a record is invented, lost without a word or called damaged although it is whole; when the ledger is anything
/// but a beginning of its history although no damage is told; when a second recovery makes another ledger.
pub fn journal(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    let mut image = Image::write(FileKind::Journal, &mut input);
    image.harm(&mut input);
    judge(&image, &Floors::new());
    let read_only = (mode & 7 == 7).then_some(DiskError::ReadOnly);
    let mut memory = image.memory.clone();
    if mode & 7 == 6 {
        memory.writes_left = Some(u32::from(mode >> 3));
    }
    let first = recover(&mut memory, image.boot + 1, read_only);
    if read_only.is_some() {
        assert_eq!(memory.writes, 0, "a store that only reads writes nothing");
        assert!(first.log.failed().is_some(), "and says so");
    }
    expect_history(&image, &first);
    memory.writes_left = None;
    memory.remove_stages();
    let second = recover(&mut memory, image.boot + 2, None);
    assert_eq!(second.ledger.root(), first.ledger.root(), "what was recovered once is recovered again");
    assert_eq!(second.entries, first.entries, "with as many entries");
    assert_eq!(second.volumes, first.volumes, "which rely on the same chunks");
    assert_eq!(second.damages.is_empty(), first.damages.is_empty(), "damage stays known");
}

/// A start, as far as the journal goes.
fn recover(memory: &mut Memory, boot: u64, read_only: Option<DiskError>) -> Recovered {
    let config = Config::new(RawConfig::STANDARD).expect("the standard configuration is valid");
    let segments = memory.numbered(|file| match file {
        File::Journal(number) => Some(number),
        File::Volume(_) | File::Slot(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => {
            None
        }
    });
    let mut recovery = Recovery::new(&config, boot_record(boot), segments, read_only);
    loop {
        match recovery.advance() {
            Step::Disk(request) => recovery.done(&memory.perform(request)),
            Step::Note(_) => {}
            Step::Ready => break,
        }
    }
    let recovered = recovery.into_recovered();
    recovered.ledger.check();
    recovered
}

/// A ledger without damage is the history up to some command; of an unharmed journal, up to the last one.
fn expect_history(image: &Image, recovered: &Recovered) {
    if image.strange {
        return;
    }
    assert!(image.harmed || recovered.damages.is_empty(), "nothing is damaged: {:?}", recovered.damages);
    if !recovered.damages.is_empty() {
        return;
    }
    let entries = usize::try_from(recovered.entries).expect("there are few");
    assert!(image.harmed || entries == image.commands.len(), "every entry counts once");
    let mut model = State::new();
    for (index, command) in (1..).zip(&image.commands[..entries]) {
        model.apply(index, command);
    }
    assert_eq!(recovered.ledger.root(), model.root(), "the ledger is its history up to command {entries}");
}
