//! Recovery against every disk that a crash may leave: what was acknowledged comes back once and in order, nothing is
//! called damage, and nothing appears that was not written.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::life::{Life, Op, any_op};
use super::*;
use crate::disk::File;
use crate::disk::testing::{Pen, TestDisk, fixed_cases, recover, rng};
use crate::rng::Rng;

fn live(kind: FileKind, ops: &[Op], end: u64) {
    let mut life = Life::new(kind);
    for op in ops {
        life.perform(op);
    }
    // Each history is worth a few images of its end.
    for seed in 0..4 {
        let mut draws = rng(end.wrapping_add(seed));
        let mut twin =
            Life { disk: life.disk.clone(), base: life.base.clone(), added: life.added.clone(), ..Life::new(kind) };
        (twin.boots, twin.durable) = (life.boots, life.durable);
        if let Some(pen) = &life.pen {
            Pen { writer: Pen::create(kind, 1, Predecessor::default()).writer, queue: pen.queue.clone() }
                .die(&mut twin.disk, &mut draws);
        }
        twin.disk = twin.disk.crash(&mut draws);
        twin.start(&mut draws);
        twin.disk = twin.disk.crash(&mut draws);
        twin.start(&mut draws);
    }
}

proptest! {
    #![proptest_config(fixed_cases())]

    #[test]
    fn journals_survive_any_chain_of_crashes(
        ops in proptest::collection::vec(any_op(prop_oneof![0..60u32, 0..1_500u32]), 0..150),
        end: u64,
    ) {
        live(FileKind::Journal, &ops, end);
    }

    #[test]
    fn volumes_survive_any_chain_of_crashes(
        ops in proptest::collection::vec(any_op(prop_oneof![4 => 0..60u32, 4 => 0..3_000u32, 1 => 30_000..36_000u32]), 0..100),
        end: u64,
    ) {
        live(FileKind::Volume, &ops, end);
    }
}

fn crash_all(life: &mut Life, draws: &mut Rng) {
    life.disk = life.disk.crash(draws);
}

/// A process that is killed leaves a footer that nobody synced. The next one may not build on it.
#[test]
fn a_footer_that_was_never_synced_may_vanish_under_a_successor() {
    for seed in 0..40 {
        let mut life = Life::new(FileKind::Journal);
        for op in [Op::Add(10), Op::Flush, Op::Complete, Op::Complete, Op::Seal, Op::Flush] {
            life.perform(&op);
        }
        // The footer is appended, its sync never happens.
        life.perform(&Op::Complete);
        life.pen = None;
        life.start(&mut rng(seed));
        for op in [Op::Add(20), Op::Flush, Op::Complete, Op::Complete] {
            life.perform(&op);
        }
        crash_all(&mut life, &mut rng(seed));
        life.start(&mut rng(seed));
        assert_eq!(life.base, [(1, 10), (2, 20)]);
    }
}

/// A process that is killed leaves a file whose name nobody synced. That it vanishes later is no damage.
#[test]
fn a_file_without_anything_durable_may_vanish_under_its_successor() {
    let vanished = |seed| {
        let mut life = Life::new(FileKind::Volume);
        for op in [Op::Add(10), Op::Flush, Op::Complete] {
            life.perform(&op);
        }
        life.pen = None;
        life.start(&mut rng(seed));
        // Power is lost: the fresh volume is durable with its name, the old one's name was not.
        life.disk.lose(File::Volume(1));
        life.start(&mut rng(seed));
        life.base
    };
    assert_eq!(vanished(1), [(1, 10)]);
}

#[test]
fn records_copied_by_several_starts_come_back_once() {
    let mut life = Life::new(FileKind::Journal);
    for len in 1..6 {
        for op in [Op::Add(len), Op::Flush, Op::Complete] {
            life.perform(&op);
        }
        life.pen = None;
        life.start(&mut rng(0));
    }
    assert_eq!(life.base, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(life.disk.files(FileKind::Journal).len(), 6, "each start has a file of its own");
}

#[test]
fn a_tail_is_copied_and_what_follows_its_first_gap_is_cut() {
    let mut disk = TestDisk::default();
    let mut pen = Pen::create(FileKind::Journal, 1, Predecessor::default());
    pen.settle(&mut disk);
    let written: Vec<u64> = (0..3).map(|_| pen.writer.record(Kind::Entry, &[9; 600]).offset).collect();
    pen.flush();
    pen.complete(&mut disk);
    disk.bytes_mut(File::Journal(1))[usize::try_from(written[1]).unwrap() + 100] ^= 1;
    let found = recover(&mut disk, FileKind::Journal, &[]);
    assert_eq!((found.positions(Standing::Durable), found.positions(Standing::Tail)), (vec![], vec![(1, 2)]));
    assert_eq!(found.ending.last, Predecessor { number: 1, position: 1, offset: written[0] });
    let len = disk.bytes(File::Journal(1)).unwrap().len() as u64;
    let cut = Note::TailCut { file: File::Journal(1), offset: written[1], bytes: len - written[1] };
    assert_eq!(found.notes, [cut]);
}
