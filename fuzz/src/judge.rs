//! The rules of recovery, over any image (protocols J4 to J6): nothing is invented, nothing that was durable goes
//! silently, nothing that is whole is called damaged, and it ends.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::disk::damage::Damage;
use dps_core::disk::record::{Head, Kind, Predecessor};
use dps_core::disk::recover::{Ending, Recovery, Standing, Step};
use dps_core::note::Note;

use crate::image::{Honest, Image, KEY};

/// What recovery made of an image.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Number and position of every record handed out, in order.
    pub(crate) found: Vec<(u64, u64)>,
    /// Those of them that were not known durable and are copied.
    pub(crate) tail: BTreeSet<(u64, u64)>,
    ending: Ending,
    cuts: usize,
}

/// Positions that journal entries name, by volume.
pub(crate) type Floors = BTreeMap<u64, u64>;

/// Runs recovery of the records alone and judges what it finds.
pub(crate) fn judge(image: &Image, floors: &Floors) -> Verdict {
    let verdict = recover(image, floors);
    let present: BTreeSet<(u64, u64)> = verdict.found.iter().copied().collect();
    if !image.harmed {
        let missing = floors.keys().any(|number| !image.written.contains_key(number));
        assert!(missing || verdict.ending.damages.is_empty(), "nothing is damaged: {:?}", verdict.ending.damages);
        assert_eq!(verdict.cuts, 0, "nothing is cut");
        assert_eq!(verdict.found, everything(image, floors), "every record comes back once, in order");
    }
    let heads = heads(image);
    for (number, written) in &image.written {
        let end = end_of(image, &heads, *number);
        let durable = durable_through(image, floors, *number, end);
        let first_harmed = written.records.iter().find(|record| !image.is_intact(*number, record));
        let harmed_from = first_harmed.map_or(u64::MAX, |record| record.header.position);
        let is_there = image.memory.files.contains_key(&image.kind.file(*number));
        for record in written.records.iter().filter(|record| record.matters()) {
            let position = record.header.position;
            let counts = end.is_none_or(|end| position <= end.position);
            let back = present.contains(&(*number, position));
            let doubted = record.header.kind == Kind::Drop && position > doubtful_from(image, floors, *number, durable);
            let known = position <= durable || (position < harmed_from && !doubted);
            if is_there && counts && known && image.is_intact(*number, record) {
                assert!(back, "record {position} of file {number} is whole, counts and is not handed out");
            }
            if counts && position <= durable && !back && verdict.ending.damages_omitted == 0 {
                let told = covering(image, &verdict.ending.damages, *number, position);
                assert!(told, "record {position} of file {number} was durable and is lost without a word");
            }
        }
    }
    no_false_alarm(image, floors, &verdict);
    verdict
}

/// Recovery, with every record handed out compared to what was written.
fn recover(image: &Image, floors: &Floors) -> Verdict {
    let mut memory = image.memory.clone();
    let listed = image.listed();
    let bytes: u64 = listed.iter().map(|(_, len)| *len).sum();
    let steps_max = 64 + 64 * listed.len() as u64 + bytes / 16 + floors.len() as u64;
    let mut recovery = Recovery::new(KEY, image.kind, listed, floors.clone());
    let (mut found, mut tail_of, mut steps, mut cuts) = (Vec::new(), BTreeSet::new(), 0, 0);
    loop {
        steps += 1;
        assert!(steps <= steps_max, "{steps} steps for {bytes} bytes");
        match recovery.advance() {
            Step::Disk(request) => recovery.done(&memory.perform(request)),
            Step::Record { number, record, standing } => {
                let position = record.header.position;
                let written = image.written.get(&number).expect("only files that were written are read");
                let index = usize::try_from(position).expect("positions are small") - 1;
                let honest = written.records.get(index).expect("a position that was never written");
                assert_eq!(record.header, honest.header, "a header that was never written");
                assert_eq!(record.offset, honest.offset, "a record in another place");
                assert_eq!(record.covered, honest.covered, "a body that was never written");
                let tail = standing == Standing::Tail;
                assert!(tail || tail_of.is_empty(), "the tail comes last");
                if tail {
                    tail_of.insert((number, position));
                }
                found.push((number, position));
            }
            Step::Note(Note::TailCut { .. }) => cuts += 1,
            Step::Note(_) => {}
            Step::End => break,
        }
    }
    assert_eq!(memory.writes, 0, "recovery of records only reads");
    assert!(found.is_sorted_by(|a, b| a < b), "records come once and in order: {found:?}");
    Verdict { found, tail: tail_of, ending: recovery.into_ending(), cuts }
}

/// What an unharmed image hands out.
fn everything(image: &Image, floors: &Floors) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    for (number, written) in &image.written {
        let doubtful = doubtful_from(image, floors, *number, durable_through(image, floors, *number, None));
        let counts = |record: &&Honest| {
            let position = record.header.position;
            let doubted = record.header.kind == Kind::Drop && position > doubtful;
            written.end.is_none_or(|end| position <= end) && !doubted
        };
        let records = written.records.iter().filter(|record| record.matters()).filter(counts);
        all.extend(records.map(|record| (*number, record.header.position)));
    }
    all
}

/// The last position of a file at which the word that a chunk is gone counts: behind what is durable it does not, if there
/// is or was a newer file, which decided what of this one's tail counts.
fn doubtful_from(image: &Image, floors: &Floors, number: u64, durable: u64) -> u64 {
    let newest = image.listed().last().map(|(last, _)| *last).max(floors.keys().last().copied());
    if newest == Some(number) { u64::MAX } else { durable }
}

/// What the whole heads of files that are there say about their predecessors, by the number of the file they are in.
fn heads(image: &Image) -> BTreeMap<u64, Predecessor> {
    let mut heads = BTreeMap::new();
    for (number, written) in &image.written {
        let first = &written.records[0];
        assert_eq!(first.header.kind, Kind::Head, "every file begins with a head");
        if image.is_intact(*number, first) {
            let head = Head::decode(&first.covered).expect("a head that was written");
            heads.insert(*number, head.predecessor);
        }
    }
    heads
}

/// Where the next file that is there says that this one ends.
fn end_of(image: &Image, heads: &BTreeMap<u64, Predecessor>, number: u64) -> Option<Predecessor> {
    let is_there = image.memory.files.contains_key(&image.kind.file(number));
    // A file that is gone is known by whichever head names it.
    let listed = image.listed();
    let successor = listed.iter().map(|(other, _)| *other).find(|other| *other > number);
    let named = heads.iter().find(|(_, head)| head.number == number);
    let (by, head) = named?;
    (!is_there || successor == Some(*by)).then_some(*head)
}

/// The largest position of a file that is proven durable by what can still be read.
fn durable_through(image: &Image, floors: &Floors, number: u64, end: Option<Predecessor>) -> u64 {
    let floor = floors.get(&number).copied().unwrap_or(0);
    let mut durable = floor.max(end.map_or(0, |end| end.position));
    for record in image.written[&number].records.iter().filter(|record| image.is_intact(number, record)) {
        durable = durable.max(record.header.durable_through);
        if record.header.kind == Kind::Footer {
            durable = durable.max(record.header.position);
        }
    }
    durable
}

fn covering(image: &Image, damages: &[Damage], number: u64, position: u64) -> bool {
    let file = image.kind.file(number);
    damages.iter().any(|damage| damage.file == file && (damage.first..=damage.last).contains(&position))
}

/// Damage is only told of records that were durable and are not whole.
fn no_false_alarm(image: &Image, floors: &Floors, verdict: &Verdict) {
    for damage in &verdict.ending.damages {
        assert!(damage.first <= damage.last, "an empty damage: {damage:?}");
        for (number, written) in &image.written {
            if image.kind.file(*number) != damage.file {
                continue;
            }
            let floor = floors.get(number).copied().unwrap_or(0);
            let known = written.records.iter().map(|record| match record.header.kind {
                Kind::Footer => record.header.position,
                Kind::Head | Kind::Empty | Kind::Chunk | Kind::Entry | Kind::MarkedChunk | Kind::Mark | Kind::Drop => {
                    record.header.durable_through
                }
                Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => {
                    record.header.durable_through
                }
            });
            let durable = known.chain([floor, written.end.unwrap_or(0)]).max().unwrap_or(0);
            assert!(damage.last <= durable, "{damage:?} goes beyond what was durable, {durable}");
            for record in &written.records {
                let within = (damage.first..=damage.last).contains(&record.header.position);
                assert!(!within || !image.is_intact(*number, record), "{damage:?}, but {record:?} is whole");
            }
        }
    }
}
