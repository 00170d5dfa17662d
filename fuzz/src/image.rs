//! Files of records as several boots of an honest node would have left them, and what may happen to them afterwards.

mod damage;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dps_core::crypto::hash::sha256;
use dps_core::disk::boot::BootRecord;
use dps_core::disk::fresh::Fresh;
use dps_core::disk::record::volume::{DropRecord, MarkRecord};
use dps_core::disk::record::{FileKey, FileKind, HEADER_LEN, Head, Header, Kind, Parsed, Predecessor, Stamp, parse};
use dps_core::disk::stray::Strays;
use dps_core::disk::writer::{Writer, WriterOp};
use dps_core::disk::{DiskReply, DiskRequest};
use dps_core::id::{ChunkId, FileId, VerifiedChunk};
use dps_core::keystore::manifest::Manifest;
use dps_core::ledger::command::Command;
use dps_core::ledger::entry::Entry;
use dps_core::ledger::file::Expect;
use dps_core::ledger::name::Name;
use dps_core::time::WallTime;

use crate::input::{Input, noise};
use crate::memory::Memory;

/// The secret of the store that wrote every image.
pub(crate) const KEY: FileKey = FileKey([7; 16]);

/// Large chunks of one image, so that a run stays fast.
const LARGE_CHUNKS_MAX: usize = 2;

/// A start of the store that wrote every image.
pub(crate) const fn boot_record(boot: u64) -> BootRecord {
    BootRecord { store: [1; 16], key: KEY, boot, random: [boot as u8; 16] }
}

/// A record that was written.
#[derive(Clone, Debug)]
pub(crate) struct Honest {
    pub(crate) header: Header,
    pub(crate) offset: u64,
    pub(crate) covered: Vec<u8>,
}

impl Honest {
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.header.record_len()
    }

    /// Whether recovery hands it out.
    pub(crate) const fn matters(&self) -> bool {
        match self.header.kind {
            Kind::Entry | Kind::Chunk | Kind::MarkedChunk | Kind::Mark | Kind::Drop => true,
            Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State => true,
            Kind::Head | Kind::Footer | Kind::Empty => false,
        }
    }
}

/// A file as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Honest>,
    /// The last position that counts here, because a later boot copied what follows.
    pub(crate) end: Option<u64>,
}

/// All files of one kind.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) kind: FileKind,
    pub(crate) written: BTreeMap<u64, Written>,
    /// The files as they are now.
    pub(crate) memory: Memory,
    /// Whether anything happened to them.
    pub(crate) harmed: bool,
    /// Whether there are whole records that are no entries of an honest ledger.
    pub(crate) strange: bool,
    /// Commands in the order of the journal.
    pub(crate) commands: Vec<Command>,
    /// Chunks with how often each was written by a put, copies by a later boot not counted.
    pub(crate) chunks: BTreeMap<ChunkId, u32>,
    /// The last boot that wrote.
    pub(crate) boot: u64,
}

impl Image {
    /// The files that `input` writes, unharmed.
    pub(crate) fn write(kind: FileKind, input: &mut Input<'_>) -> Self {
        let image = Self {
            kind,
            written: BTreeMap::new(),
            memory: Memory::default(),
            harmed: false,
            strange: false,
            commands: Vec::new(),
            chunks: BTreeMap::new(),
            boot: 0,
        };
        let mut author = Author { image, sequence: 1, large: 0 };
        let files = 1 + input.below(4);
        let mut last = Last::Nothing;
        for _ in 0..files {
            author.image.boot += 1;
            let mut open = author.start(last);
            last = author.fill(&mut open, input);
        }
        let mut image = author.image;
        for (number, written) in &image.written {
            image.memory.files.insert(kind.file(*number), written.bytes.clone());
        }
        image
    }

    /// The files that there are, with their lengths.
    pub(crate) fn listed(&self) -> Vec<(u64, u64)> {
        let len = |number: &u64| Some((*number, self.memory.files.get(&self.kind.file(*number))?.len() as u64));
        self.written.keys().filter_map(len).collect()
    }

    /// Whether every byte of a record can be read and is what was written.
    pub(crate) fn is_intact(&self, number: u64, record: &Honest) -> bool {
        let file = self.kind.file(number);
        let bounds = |at: u64| usize::try_from(at).expect("files are small");
        let range = bounds(record.offset)..bounds(record.end());
        let refused = self.memory.unreadable.get(&file).is_some_and(|ranges| {
            ranges.iter().any(|refused| refused.start < record.end() && record.offset < refused.end)
        });
        let now = self.memory.files.get(&file).and_then(|bytes| bytes.get(range.clone()));
        !refused && now == Some(&self.written[&number].bytes[range])
    }
}

/// How the newest file was left.
enum Last {
    Nothing,
    /// With a footer: the next file follows.
    Closed(Predecessor),
    /// Open: what is not known durable is copied.
    Open(u64),
}

/// The file that is being written.
struct Open {
    writer: Writer,
    bytes: Vec<u8>,
    waiting: VecDeque<WriterOp>,
}

impl Open {
    fn flush(&mut self) {
        let mut requests = Vec::new();
        self.writer.flush(&mut requests);
        // What would wait for a sync goes into the file as well: files of any writer are to be read.
        self.writer.append(&mut requests);
        for (op, request) in requests {
            append(&mut self.bytes, request);
            self.waiting.push_back(op);
        }
    }

    fn acknowledge(&mut self, requests: usize) {
        for op in self.waiting.drain(..requests.min(self.waiting.len())) {
            self.writer.done(op, &Ok(DiskReply::Done));
        }
    }
}

fn append(bytes: &mut Vec<u8>, request: DiskRequest) {
    match request {
        DiskRequest::Append { offset, parts, .. } => {
            assert_eq!(offset, bytes.len() as u64, "appends are at the end");
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        }
        DiskRequest::Sync { .. } | DiskRequest::Publish { .. } => {}
        DiskRequest::List
        | DiskRequest::Read { .. }
        | DiskRequest::Remove { .. }
        | DiskRequest::Allocate { .. }
        | DiskRequest::Space => panic!("a writer only writes"),
    }
}

struct Author {
    image: Image,
    sequence: u64,
    large: usize,
}

impl Author {
    fn start(&mut self, last: Last) -> Open {
        let boot = boot_record(self.image.boot);
        let predecessor = match last {
            Last::Nothing => Predecessor::default(),
            Last::Closed(predecessor) => predecessor,
            Last::Open(number) => return self.copy(&boot, number),
        };
        let head = Head { predecessor, store: boot.store, boot_random: boot.random };
        let stamp = Stamp::new(&KEY, self.image.kind, predecessor.number + 1);
        Open { writer: Writer::create(stamp, boot.boot, &head), bytes: Vec::new(), waiting: VecDeque::new() }
    }

    /// What a boot does with a file that an older one left open.
    fn copy(&mut self, boot: &BootRecord, number: u64) -> Open {
        let old = self.image.written.get_mut(&number).expect("it was written");
        let durable = old.records.iter().map(|record| record.header.durable_through).max().unwrap_or(0);
        let offset = old.records.iter().rfind(|record| record.header.position <= durable).map_or(0, Honest::end);
        old.end = Some(durable);
        let old = &self.image.written[&number];
        let end = Predecessor { number, position: durable, offset };
        let mut fresh = Fresh::new(boot, self.image.kind, end, &Strays::default());
        for record in old.records.iter().filter(|record| record.header.position > durable) {
            match record.header.kind {
                Kind::Entry => _ = fresh.entry(&record.covered),
                kind @ (Kind::Vote | Kind::Cut | Kind::Log | Kind::Base | Kind::Rely | Kind::State) => {
                    fresh.record(kind, &record.covered);
                }
                Kind::Chunk | Kind::MarkedChunk => {
                    let start = usize::try_from(record.offset).expect("files are small") + record.header.covered_len();
                    let end = usize::try_from(record.end()).expect("files are small");
                    let chunk = VerifiedChunk::new(Bytes::copy_from_slice(&old.bytes[start..end]));
                    let mark = MarkRecord::decode(&record.covered).map_or(0, |marked| marked.mark);
                    fresh.chunk(record.header.sequence, mark, &chunk);
                }
                Kind::Mark => {
                    let mark = MarkRecord::decode(&record.covered).expect("a mark that was written");
                    fresh.mark(record.header.sequence, &mark);
                }
                Kind::Drop => {
                    let dropped = DropRecord::decode(&record.covered).expect("a drop that was written");
                    fresh.dropped(record.header.sequence, &dropped);
                }
                Kind::Head | Kind::Footer | Kind::Empty => {}
            }
        }
        fresh.publish();
        let mut bytes = Vec::new();
        while let Some(request) = fresh.request() {
            append(&mut bytes, request);
            fresh.done(&Ok(DiskReply::Done)).expect("nothing fails");
        }
        let writer = fresh.into_writer().expect("it was published");
        Open { writer, bytes, waiting: VecDeque::new() }
    }

    /// Writes records into a file and leaves it.
    fn fill(&mut self, open: &mut Open, input: &mut Input<'_>) -> Last {
        for _ in 0..input.below(14) {
            match input.below(8) {
                0..=3 => match self.image.kind {
                    FileKind::Journal => self.entry(open, input),
                    FileKind::Volume => self.chunk(open, input),
                },
                4 => open.flush(),
                5 => open.acknowledge(1 + input.below(3)),
                6 => {
                    open.flush();
                    open.acknowledge(usize::MAX);
                }
                _ => match self.image.kind {
                    FileKind::Journal => _ = open.writer.record(Kind::Empty, &[]),
                    FileKind::Volume => self.word(open, input),
                },
            }
        }
        open.flush();
        let ending = input.below(4);
        if ending > 0 {
            open.acknowledge(usize::MAX);
        }
        if ending > 1 {
            open.flush();
            open.acknowledge(usize::MAX);
            open.writer.seal();
            open.flush();
        }
        if ending > 2 {
            open.acknowledge(usize::MAX);
        }
        let number = open.writer.number();
        let records = read(&Stamp::new(&KEY, self.image.kind, number), &open.bytes);
        assert_eq!(records.len() as u64, open.writer.last_position(), "everything taken is written");
        let last = match records.last().filter(|record| record.header.kind == Kind::Footer) {
            Some(_) if open.writer.is_sealed() => Last::Closed(open.writer.as_predecessor()),
            // A footer that was never synced proves what is before it, but may be gone itself.
            Some(footer) => {
                let position = footer.header.position - 1;
                Last::Closed(Predecessor { number, position, offset: footer.offset })
            }
            None => Last::Open(number),
        };
        let bytes = std::mem::take(&mut open.bytes);
        self.image.written.insert(number, Written { bytes, records, end: None });
        last
    }

    fn entry(&mut self, open: &mut Open, input: &mut Input<'_>) {
        let choice = input.u8();
        let body = match choice % 32 {
            30 => {
                self.image.strange = true;
                input.bytes(usize::from(choice)).to_vec()
            }
            31 => {
                self.image.strange = true;
                let index = if input.flag() { input.u64() } else { input.u64() % 64 };
                let volumes = (0..input.below(3)).map(|_| (input.u64(), input.u64())).collect();
                Entry { term: input.u64(), index, volumes, command: command(choice, input).encode() }.encode()
            }
            _ => {
                let command = command(choice, input);
                let index = 1 + self.image.commands.len() as u64;
                let volumes = if choice & 64 == 0 { Vec::new() } else { [(1, u64::from(choice))].into() };
                let body = Entry { term: 1, index, volumes, command: command.encode() }.encode();
                self.image.commands.push(command);
                body
            }
        };
        open.writer.record(Kind::Entry, &body);
    }

    fn chunk(&mut self, open: &mut Open, input: &mut Input<'_>) {
        let choice = input.u8();
        let seed = u64::from(choice / 8);
        let content = match choice % 8 {
            0..=3 => noise(seed, 1 + input.below(64)),
            4 => noise(seed, 1 + input.below(1_500)),
            // Someone keeps a copy of this very file in the store.
            5 if !open.bytes.is_empty() => {
                let start = input.place(open.bytes.len());
                open.bytes[start..open.bytes.len().min(start + 400)].to_vec()
            }
            6 if self.large < LARGE_CHUNKS_MAX => {
                self.large += 1;
                noise(seed, 4_000 + input.below(40_000))
            }
            _ => [&[choice][..], input.bytes(1 + usize::from(choice / 8))].concat(),
        };
        let chunk = VerifiedChunk::new(Bytes::from(content));
        *self.image.chunks.entry(chunk.id()).or_default() += 1;
        open.writer.chunk(self.sequence, u64::from(choice >> 6), &chunk);
        self.sequence += 1;
    }

    /// A mark of a chunk that was written, or the word that one is gone.
    fn word(&mut self, open: &mut Open, input: &mut Input<'_>) {
        let choice = input.u8();
        let known: Vec<ChunkId> = self.image.chunks.keys().copied().collect();
        let Some(chunk) = known.get(input.below(known.len().max(1))).copied() else {
            open.writer.record(Kind::Empty, &[]);
            return;
        };
        let number = 1 + u64::from(choice >> 3);
        match choice % 4 {
            0 => _ = open.writer.record(Kind::Empty, &[]),
            1 => _ = open.writer.mark(self.sequence, &MarkRecord { chunk, mark: number }),
            _ => {
                let (from, through) = (1 + number % 3, 3 + number % 2);
                let dropped = DropRecord { epoch: number, from, through, chunks: vec![chunk] };
                open.writer.dropped(self.sequence, &dropped);
            }
        }
        self.sequence += 1;
    }
}

/// A small command on one of a few names.
fn command(choice: u8, input: &mut Input<'_>) -> Command {
    let text = [&b"a"[..], b"ab", b"b/c", "\u{e9}".as_bytes()][usize::from(choice & 3)];
    let name = Name::new(text).expect("a good name");
    let time = WallTime::from_nanos(u64::from(input.u16()));
    let expect = match input.below(8) {
        0 => Expect::Absent,
        1 => Expect::Version(u64::from(input.u8())),
        _ => Expect::Any,
    };
    if choice & 4 == 0 {
        let content = input.bytes(usize::from(choice >> 4));
        let manifest = Manifest::inline(FileId::from_bytes(sha256(content)), content);
        Command::Put { time, lease: 0, name, expect, manifest }
    } else {
        Command::Delete { time, name, expect }
    }
}

/// The records of a file that was just written, one after the other.
fn read(stamp: &Stamp, bytes: &[u8]) -> Vec<Honest> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Parsed::Record(header) = parse(stamp, at as u64, &bytes[at..]) else {
            panic!("what was written at byte {at} is no record")
        };
        let covered = bytes[at + HEADER_LEN..at + header.covered_len()].to_vec();
        let record = Honest { header, offset: at as u64, covered };
        at = usize::try_from(record.end()).expect("files are small");
        assert_eq!(header.position, records.len() as u64 + 1, "positions are dense");
        records.push(record);
    }
    records
}
