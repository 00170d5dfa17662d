//! Recovery of the journal: records by the rules of [`crate::judge`], and the ledger that comes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dps_core::config::{Config, RawConfig};
use dps_core::disk::damage::Damage;
use dps_core::disk::record::FileKind;
use dps_core::disk::{DiskError, File};
use dps_core::id::NodeId;
use dps_core::ledger::state::State;
use dps_core::machine::Machine as _;
use dps_core::raft::membership::Membership;
use dps_core::replica::recover::{Recovery, Step};
use dps_core::replica::{Effect, Event, Founding, Settings};
use dps_core::rng::Seed;
use dps_core::time::{Instant, Now, WallTime};

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
        assert!(first.only_reads, "and says so");
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

/// What a start finds.
struct Found {
    ledger: State,
    entries: u64,
    volumes: BTreeMap<u64, u64>,
    damages: Vec<Damage>,
    /// Whether nothing can be written.
    only_reads: bool,
}

/// A start of a store of its own, as far as the journal goes.
fn recover(memory: &mut Memory, boot: u64, read_only: Option<DiskError>) -> Found {
    let config = Config::new(RawConfig::STANDARD).expect("the standard configuration is valid");
    let segments = memory.numbered(|file| match file {
        File::Journal(number) => Some(number),
        File::Volume(_) | File::Slot(_) | File::Snapshot(_) | File::Checkpoint(_) | File::Reserve | File::Stage(_) => {
            None
        }
    });
    let id = NodeId::from_bytes([1; 20]);
    let members = Arc::new(Membership::new([id]).expect("one voter is a group"));
    let founding = Founding { id, members, settings: Settings::STANDARD };
    let mut recovery = Recovery::new(&config, founding, boot_record(boot), segments, Vec::new(), read_only).of_one();
    loop {
        match recovery.advance() {
            Step::Disk(request) => recovery.done(&memory.perform(request)),
            Step::Note(_) => {}
            Step::Halt(reason) => panic!("there is no snapshot to be lost: {reason}"),
            Step::Ready => break,
        }
    }
    let now = Now { mono: Instant::ZERO, wall: WallTime::default() };
    let recovered = recovery.into_recovered(Seed::new([1; 32]), now);
    let (mut replica, mut out) = (recovered.replica, Vec::new());
    let only_reads = replica.failed().is_some();
    if recovered.readable.is_none() {
        while !replica.is_caught_up() {
            assert!(replica.deadline().is_some(), "a ledger that lacks something goes on");
            replica.step(now, Event::Wake, &mut out);
            replica.flush(now, &mut out);
            if out.iter().any(|effect| matches!(effect, Effect::Halt(_))) {
                break;
            }
        }
    }
    let ledger = recovered.readable.map_or_else(|| replica.ledger().clone(), |readable| *readable);
    ledger.check();
    Found { ledger, entries: recovered.entries, volumes: recovered.volumes, damages: recovered.damages, only_reads }
}

/// A ledger without damage is the history up to some command; of an unharmed journal, up to the last one.
fn expect_history(image: &Image, recovered: &Found) {
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
