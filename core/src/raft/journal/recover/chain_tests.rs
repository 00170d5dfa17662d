//! Chains of lives and crashes, and rot, against a model.

use alloc::sync::Arc;
use alloc::vec;

use proptest::prelude::*;

use super::tests::{LONG, was_cut};
use super::*;
use crate::disk::testing::{TestDisk, boot, fixed_cases, rng};
use crate::raft::entry::Payload;
use crate::raft::journal::Event;
use crate::raft::journal::tests::{Desk, config, entry, group, node, start};
use crate::raft::{Cut, Write};
use crate::rng::Rng;

/// A log and a vote as Raft has them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    vote: Vote,
    accepted: u64,
    base: Base,
    entries: Vec<Entry>,
}

impl Model {
    fn new(voters: u8) -> Self {
        let base = Base { position: Position::ZERO, membership: group(voters) };
        Self { vote: Vote::default(), accepted: 0, base, entries: Vec::new() }
    }

    fn last(&self) -> Position {
        self.entries.last().map_or(self.base.position, |entry| entry.position)
    }

    fn at(&self, index: u64) -> Option<Position> {
        self.entries.iter().map(|entry| entry.position).find(|position| position.index == index)
    }

    fn cut(&mut self, index: u64) {
        self.entries.retain(|entry| entry.position.index <= index);
    }

    /// What a write makes of it, record by record.
    fn apply(&mut self, write: &Write, seen: &mut Vec<Self>) {
        if let Some(vote) = write.vote {
            self.vote = vote;
            seen.push(self.clone());
        }
        if let Some(base) = &write.base {
            if self.at(base.position.index) == Some(base.position) {
                self.entries.retain(|entry| entry.position.index > base.position.index);
            } else {
                self.entries.clear();
            }
            self.base = base.clone();
            seen.push(self.clone());
        }
        if let Some(cut) = write.cut {
            self.cut(cut.after);
            self.accepted = cut.term;
            seen.push(self.clone());
        }
        for entry in write.entries.iter() {
            self.entries.push(entry.clone());
            self.accepted = self.accepted.max(entry.position.term);
            seen.push(self.clone());
        }
    }

    /// A write that Raft might issue now.
    fn draw(&self, number: u64, rng: &mut Rng) -> Write {
        let mut next = Write { number, vote: None, base: None, cut: None, entries: Arc::from([]) };
        let mut term = self.vote.term.max(1);
        if rng.chance(1, 3) || self.vote.term == 0 {
            term = self.vote.term + 1;
            let candidate = rng.chance(1, 2).then(|| node(u8::try_from(rng.between(1, 7)).unwrap()));
            next.vote = Some(Vote { term, candidate });
        }
        let (base, mut last) = (self.base.position.index, self.last().index);
        match rng.below(8) {
            0 | 1 if last > base => {
                let position = self.at(rng.between(base + 1, last)).expect("the log is dense");
                next.base = Some(Base { position, membership: group(1 + u8::try_from(rng.below(2)).unwrap()) });
            }
            2 => {
                // A snapshot of another node: nothing of the log stays.
                let index = rng.between(base + 1, last + 4);
                let known = self.at(index).is_some_and(|position| position.term == term);
                let position = Position { term, index: if known { last + 1 } else { index } };
                next.base = Some(Base { position, membership: Arc::clone(&self.base.membership) });
                last = position.index;
                next.cut = Some(Cut { after: last, term });
            }
            3 | 4 => {
                last = rng.between(base, last);
                next.cut = Some(Cut { after: last, term });
            }
            _ => {}
        }
        let says = next.vote.is_some() || next.base.is_some() || next.cut.is_some();
        let end = last + rng.below(5) + u64::from(!says);
        let drawn = |index| {
            let mut entry = entry(term, index);
            if rng.chance(1, 16) {
                entry.payload = Payload::Membership(group(2));
            }
            entry
        };
        next.entries = (last + 1..=end).map(drawn).collect();
        next
    }
}

fn model_of(recovered: &Recovered) -> Model {
    let Recovered { vote, accepted, base, entries, .. } = recovered;
    Model { vote: *vote, accepted: *accepted, base: base.clone(), entries: entries.clone() }
}

/// Some turns of one boot. Returns every state that a crash may leave, the first of them acknowledged.
fn live(desk: &mut Desk, model: &mut Model, rng: &mut Rng) -> Vec<Model> {
    let mut seen = vec![model.clone()];
    let mut ends = vec![0];
    for _ in 0..rng.below(14) {
        for _ in 0..rng.below(3) {
            let next = model.draw(ends.len() as u64, rng);
            if next.entries.len() % 2 == 1 {
                desk.step(Event::Rely(vec![(next.number % 3 + 1, next.number)]));
            }
            model.apply(&next, &mut seen);
            ends.push(seen.len() - 1);
            desk.persist(next);
        }
        desk.flush();
        for _ in 0..rng.below(6) {
            desk.complete();
            if rng.chance(1, 2) {
                desk.flush();
            }
        }
        match rng.below(12) {
            0 => desk.settle(),
            1 => desk.idle(),
            _ => {}
        }
    }
    if rng.chance(1, 8) {
        desk.step(Event::Close);
        desk.idle();
        assert_eq!(desk.closed, 1);
    }
    seen.split_off(ends[usize::try_from(desk.persisted).unwrap()])
}

/// The process dies, perhaps in the middle of a request, and then the power is gone as well, perhaps.
fn die(desk: Desk, rng: &mut Rng) -> TestDisk {
    let Desk { mut disk, queue, .. } = desk;
    for (_, request) in queue {
        if rng.chance(1, 4) {
            disk.interrupt(&request, rng);
            break;
        }
        // A sync that was never acknowledged is as good as not done.
        if !matches!(request, DiskRequest::Sync { .. }) {
            disk.perform(&request).unwrap();
        }
    }
    if rng.chance(2, 3) { disk.crash(rng) } else { disk }
}

/// A start that dies on its way.
fn begin(mut disk: TestDisk, number: u64, segment_bytes: u64, voters: u8, rng: &mut Rng) -> TestDisk {
    disk.remove_stages();
    let files = disk.files(FileKind::Journal);
    let mut recovery = Recovery::new(&config(segment_bytes), boot(number), files, group(voters), None);
    for _ in 0..rng.below(30) {
        match recovery.advance() {
            Step::Disk(request) => {
                if rng.chance(1, 8) {
                    disk.interrupt(&request, rng);
                    break;
                }
                recovery.done(&disk.perform(&request));
            }
            Step::Note(_) => {}
            Step::Ready => break,
        }
    }
    disk.crash(rng)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..fixed_cases() })]

    /// Any chain of lives and crashes: what was acknowledged is there, what is there was written, in its order.
    #[test]
    fn a_start_finds_what_was_acknowledged_and_nothing_else(seed in any::<u64>(), voters in 1..=2_u8) {
        let mut rng = rng(seed);
        let segment_bytes = [256, 700, 3_000, LONG][usize::try_from(rng.below(4)).unwrap()];
        let mut disk = TestDisk::default();
        let mut possible = vec![Model::new(voters)];
        let (mut boots, mut in_doubt, mut resolved) = (0, false, true);
        for _ in 0..rng.between(2, 7) {
            while rng.chance(1, 4) {
                boots += 1;
                disk = begin(disk, boots, segment_bytes, voters, &mut rng);
                // Whatever that start saw is not known any more.
                in_doubt = true;
            }
            boots += 1;
            let started = start(disk, boots, segment_bytes, &group(voters));
            prop_assert_eq!(&started.recovered.damages, &Vec::new());
            prop_assert_eq!(&started.recovered.beyond, &Vec::new());
            prop_assert!(started.recovered.vote_certain);
            let found = model_of(&started.recovered);
            prop_assert!(possible.contains(&found), "{:?}\nis none of\n{:?}", found, possible);
            let cut = was_cut(&started.notes);
            let doubtful = started.recovered.doubtful;
            if cut && started.recovered.replicated {
                prop_assert_eq!(doubtful.map(|doubt| doubt.last), Some(found.last()));
                prop_assert!(doubtful.is_some_and(|doubt| doubt.term >= found.vote.term.max(found.accepted)));
            } else {
                prop_assert!(doubtful.is_none() || in_doubt);
                prop_assert!(doubtful.is_some() || resolved || in_doubt);
            }
            (in_doubt, resolved) = (doubtful.is_some(), doubtful.is_none());
            let mut desk = started.sit();
            let mut model = found;
            if doubtful.is_some() && rng.chance(1, 2) {
                desk.step(Event::Resolved);
                desk.idle();
                resolved = true;
            }
            possible = live(&mut desk, &mut model, &mut rng);
            disk = die(desk, &mut rng);
        }
    }

    /// A flipped bit in what was synced and settled: nothing is different, or it is told, and what counts was written
    /// so.
    #[test]
    fn rot_is_told_or_changes_nothing(seed in any::<u64>(), segment_bytes in 256..2_000_u64, flips in 1..3_u8) {
        let mut rng = rng(seed);
        let mut desk = Desk::empty(segment_bytes, 1);
        let mut model = Model::new(1);
        let mut seen = vec![model.clone()];
        for number in 1..=rng.between(1, 12) {
            let next = model.draw(number, &mut rng);
            model.apply(&next, &mut seen);
            desk.write(next);
            if rng.chance(1, 4) {
                desk.settle();
            }
        }
        desk.settle();
        let files = desk.disk.files(FileKind::Journal);
        for _ in 0..flips {
            let (file, len) = files[usize::try_from(rng.below(files.len() as u64)).unwrap()];
            let at = usize::try_from(rng.below(len)).unwrap();
            desk.disk.bytes_mut(File::Journal(file))[at] ^= 1 << rng.below(8);
        }
        let mut disk = desk.disk;
        let mut cut = false;
        for number in 2..5 {
            let started = start(disk, number, segment_bytes, &group(1));
            cut |= was_cut(&started.notes);
            let found = model_of(&started.recovered);
            if started.recovered.damages.is_empty() {
                // Two flips may take a record and the one that knows it durable: then it looks like a tear.
                let torn = flips > 1 && cut && seen.contains(&found);
                prop_assert!(found == model || torn, "{:?} is told, and it is {:?}, not {:?}", cut, found, model);
                prop_assert_eq!(&started.recovered.beyond, &Vec::new());
            } else {
                let is_part = |state: &Model| {
                    state.base.position == found.base.position
                        && state.entries.get(..found.entries.len()) == Some(&found.entries)
                };
                prop_assert!(seen.iter().any(is_part), "{:?}\nwas never the log of\n{:?}", found, seen);
                let was_written = |entry: &Entry| seen.iter().any(|state| state.entries.contains(entry));
                prop_assert!(started.recovered.beyond.iter().all(was_written));
                prop_assert!(!started.recovered.vote_certain || found.vote == model.vote);
            }
            disk = started.disk;
        }
    }
}
