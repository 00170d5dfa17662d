//! Reading a checkpoint in pieces, and judging whether it may stand for its volume.

use bytes::Bytes;

use super::{
    CRC_OFFSET, END, END_LEN, FRAME_LEN, ITEM_PREFIX_LEN, ITEMS, MAGIC, Subject, VERSION, checksum, is_listed, salt,
};
use crate::disk::record::{FileKey, Header, Kind, Predecessor};
use crate::disk::scan::{Record, is_countable};
use crate::disk::{DiskReply, DiskResult};
use crate::limits::{CHECKPOINT_BLOCK_BYTES_MAX, CHECKPOINT_BLOCK_ITEMS_MAX, STEP_BYTES_MAX};

const _: () = assert!(CHECKPOINT_BLOCK_BYTES_MAX <= STEP_BYTES_MAX);

/// What a checkpoint must say to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The store.
    pub store: [u8; 16],
    /// The volume.
    pub volume: u64,
    /// Bytes of the volume's file, as it is listed.
    pub volume_bytes: u64,
    /// Where the volume ends, if a later file or the catalog says so.
    pub end: Option<Predecessor>,
    /// A position that is known to have been durable; 0 for none.
    pub floor: u64,
}

impl Demand {
    /// Whether a checkpoint of this subject meets it.
    fn is_met_by(&self, subject: &Subject) -> bool {
        let Subject { store, volume, volume_bytes, position, offset } = *subject;
        let end = Predecessor { number: volume, position, offset };
        store == self.store
            && volume == self.volume
            && volume_bytes == self.volume_bytes
            && offset <= volume_bytes
            && self.end.is_none_or(|known| known == end)
            && self.floor <= position
    }
}

/// What reading wants, or has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Read so much and call [`Reader::feed`].
    Read {
        /// From here.
        offset: u64,
        /// Bytes.
        len: u32,
    },
    /// A record of the volume, as a scan finds it, but for what nobody asks of it then: the boot that wrote it, and
    /// what
    /// was durable at that time.
    Record(Record),
    /// All is read, and the checkpoint was whole.
    End(Subject),
    /// It is not whole, or not of this volume as it is. What it told before is true, but not all.
    Unusable,
}

/// A checkpoint that is being read.
#[derive(Debug)]
pub struct Reader {
    salt: u64,
    demand: Demand,
    /// Bytes of the checkpoint's file.
    len: u64,
    /// What it is of, and how many items it must have, once its end was read.
    subject: Option<(Subject, u64)>,
    /// Bytes at hand.
    window: Bytes,
    /// Where they start in the file.
    window_offset: u64,
    /// Items of the block that is being told, and how many of them are left.
    items: Bytes,
    left: u32,
    told: u64,
    /// The last position told, and the byte after that record.
    last: (u64, u64),
    unusable: bool,
}

impl Reader {
    /// Reads the checkpoint that has `len` bytes.
    #[must_use]
    pub fn new(key: &FileKey, demand: Demand, len: u64) -> Self {
        Self {
            salt: salt(key, demand.volume),
            demand,
            len,
            subject: None,
            window: Bytes::new(),
            window_offset: 0,
            items: Bytes::new(),
            left: 0,
            told: 0,
            last: (0, 0),
            unusable: len < END_LEN as u64,
        }
    }

    /// The next thing found, or the read that is needed to find it.
    pub fn advance(&mut self) -> Reading {
        if self.unusable {
            return Reading::Unusable;
        }
        let Some((subject, count)) = self.subject else {
            let (offset, len) = self.read_request();
            return Reading::Read { offset, len };
        };
        if self.left == 0 {
            if !self.items.is_empty() {
                return self.refuse();
            }
            let items_end = self.len - END_LEN as u64;
            if self.window_offset == items_end {
                return if self.told == count { Reading::End(subject) } else { self.refuse() };
            }
            match self.open_block(items_end) {
                Block::Opened => {}
                Block::Needed => {
                    let (offset, len) = self.read_request();
                    return Reading::Read { offset, len };
                }
                Block::Broken => return self.refuse(),
            }
        }
        self.left -= 1;
        match self.item(&subject) {
            Some(record) => {
                self.told += 1;
                self.last = (record.header.position, record.end());
                Reading::Record(record)
            }
            None => self.refuse(),
        }
    }

    /// The result of the read that was asked for.
    ///
    /// # Panics
    /// When it is the result of another request.
    pub fn feed(&mut self, result: &DiskResult) {
        let (offset, len) = self.read_request();
        let bytes = match result {
            Ok(DiskReply::Read(bytes)) if bytes.len() == len as usize => bytes.clone(),
            // It is shorter than it was listed, or can't be read.
            Ok(DiskReply::Read(_)) | Err(_) => {
                self.unusable = true;
                return;
            }
            Ok(_) => panic!("a read that verifies nothing is answered by its bytes"),
        };
        if self.subject.is_some() {
            (self.window_offset, self.window) = (offset, bytes);
            return;
        }
        let judged = self.judge(offset, &bytes).filter(|(kind, ..)| *kind == END);
        let subject = judged.and_then(|_| Subject::decode(&bytes[FRAME_LEN..]));
        self.subject = subject.filter(|(subject, _)| self.demand.is_met_by(subject));
        self.unusable = self.subject.is_none();
    }

    fn refuse(&mut self) -> Reading {
        self.unusable = true;
        Reading::Unusable
    }

    /// What is read next: the end first, then whatever the window does not have.
    fn read_request(&self) -> (u64, u32) {
        let end = self.len - END_LEN as u64;
        if self.subject.is_none() {
            return (end, u32::try_from(END_LEN).expect("a small number"));
        }
        let left = usize::try_from(end - self.window_offset).unwrap_or(usize::MAX);
        (self.window_offset, u32::try_from(left.min(STEP_BYTES_MAX)).expect("a step is bounded"))
    }

    /// Whether the bytes begin with a whole block: its kind, how many items it has, and where its body ends.
    fn judge(&self, offset: u64, bytes: &[u8]) -> Option<(u8, u32, usize)> {
        let (frame, rest) = bytes.split_at_checked(FRAME_LEN)?;
        let short = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().expect("four of 28 bytes"));
        let body = rest.get(..short(20) as usize)?;
        let whole = frame[..4] == MAGIC
            && frame[4] == VERSION
            && frame[6..8] == [0, 0]
            && frame[8..16] == self.salt.to_le_bytes()
            && FRAME_LEN + body.len() <= CHECKPOINT_BLOCK_BYTES_MAX
            && checksum(&frame[..CRC_OFFSET], offset, body) == short(CRC_OFFSET);
        whole.then_some((frame[5], short(16), FRAME_LEN + body.len()))
    }

    fn open_block(&mut self, items_end: u64) -> Block {
        match self.judge(self.window_offset, &self.window) {
            Some((ITEMS, count, end)) if (1..=CHECKPOINT_BLOCK_ITEMS_MAX).contains(&(count as usize)) => {
                let mut block = self.window.split_to(end);
                self.window_offset += end as u64;
                self.items = block.split_off(FRAME_LEN);
                self.left = count;
                Block::Opened
            }
            // The rest of it may not be at hand. What was just read has room for any block.
            None if self.window.len() < CHECKPOINT_BLOCK_BYTES_MAX
                && self.window_offset + (self.window.len() as u64) < items_end =>
            {
                Block::Needed
            }
            Some(_) | None => Block::Broken,
        }
    }

    /// The next item of the block; `None` for anything that no volume could have where the item says.
    fn item(&mut self, subject: &Subject) -> Option<Record> {
        let prefix: &[u8; ITEM_PREFIX_LEN] = self.items.first_chunk()?;
        let number = |at: usize| u64::from_le_bytes(prefix[at..at + 8].try_into().expect("eight of 29 bytes"));
        let kind = Kind::from_code(prefix[0]).filter(|kind| is_listed(*kind))?;
        let body_len = u32::from_le_bytes(prefix[25..].try_into().expect("four of 29 bytes"));
        let header = Header { kind, boot: 0, position: number(1), sequence: number(9), durable_through: 0, body_len };
        let offset = number(17);
        if !(kind.body_bytes_min()..=kind.body_bytes_max()).contains(&body_len) {
            return None;
        }
        let end = ITEM_PREFIX_LEN + kind.covered(body_len);
        if self.items.len() < end {
            return None;
        }
        let covered = self.items.split_to(end).split_off(ITEM_PREFIX_LEN);
        let record = Record { header, offset, covered };
        let sensible = kind.accepts(&record.covered)
            && is_countable(offset, &header)
            && header.position > self.last.0
            && offset >= self.last.1
            && header.position <= subject.position
            && record.end() <= subject.offset;
        sensible.then_some(record)
    }
}

enum Block {
    Opened,
    Needed,
    Broken,
}
