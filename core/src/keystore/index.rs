//! The index of chunks: where each one's record is, packed, and what is still needed of every volume.
//!
//! Memory per chunk decides how much one machine can hold, so an entry is an identifier and thirty bytes, and all of it
//! together stays below [`INDEX_CHUNK_BYTES_MAX`] a chunk. What that costs is stated in [`crate::limits`]: positions,
//! offsets, sequences and marks have bounds, which reading a file checks before anything comes here.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use super::Place;
use crate::disk::record::{HEADER_LEN, MARK_BODY_LEN, chunk_prefix_len};
use crate::id::ChunkId;
use crate::limits::{CHUNK_BYTES_MAX, EPOCH_MAX, OFFSET_MAX, POSITION_MAX, SEQUENCE_MAX, VOLUMES_MAX};

/// Bytes of memory that the index may take for one chunk, all in.
pub const INDEX_CHUNK_BYTES_MAX: usize = 100;

/// Bytes of a mark's record.
pub const MARK_RECORD_LEN: u64 = (HEADER_LEN + MARK_BODY_LEN) as u64;

/// How far the bytes of a chunk are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// This boot has hashed them.
    Proven,
    /// They were durable once.
    Unchecked,
    /// They are whole, but perhaps they, or a mark of the chunk, were never durable: they can be read, and a put writes
    /// them anew.
    Doubtful,
    /// They were found bad: a put writes them anew. They stay so where they are until the next start.
    Bad,
}

/// Where a chunk is, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its record.
    pub place: Place,
    /// The record's sequence.
    pub sequence: u64,
    /// Bytes of the chunk.
    pub bytes: u32,
    /// Whether the record itself carries a mark.
    pub marked: bool,
    /// The chunk's mark: the largest lease under which it was stored or touched.
    pub mark: u64,
    /// The volume of the record that says so, if the mark is above that of the chunk's own record.
    pub raised_in: Option<u64>,
    /// How far its bytes are trusted.
    pub trust: Trust,
    /// Whether an older copy of it may be in another volume.
    pub stale: bool,
}

impl Located {
    /// Bytes of the chunk's record.
    #[must_use]
    pub const fn record_len(&self) -> u64 {
        self.prefix_len() + self.bytes as u64
    }

    /// Where the chunk's bytes are in its volume.
    #[must_use]
    pub const fn bytes_offset(&self) -> u64 {
        self.place.offset + self.prefix_len()
    }

    const fn prefix_len(&self) -> u64 {
        (HEADER_LEN + chunk_prefix_len(self.marked)) as u64
    }
}

/// What is still needed of a volume, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VolumeUse {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Chunks whose records are here.
    pub chunks: u64,
    /// Bytes of those records.
    pub chunk_bytes: u64,
    /// Mark records that are needed, of [`MARK_RECORD_LEN`] bytes each.
    pub marks: u64,
    /// Drop records that are needed.
    pub drops: u64,
    /// Bytes of those.
    pub drop_bytes: u64,
}

impl VolumeUse {
    /// Bytes of all records that are needed.
    #[must_use]
    pub const fn live_bytes(&self) -> u64 {
        self.chunk_bytes + self.marks * MARK_RECORD_LEN + self.drop_bytes
    }

    /// Bytes that nothing needs, among them the few of heads and footers.
    #[must_use]
    pub const fn dead_bytes(&self) -> u64 {
        self.file_bytes.saturating_sub(self.live_bytes())
    }
}

/// Where a drop record is, and for how long it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropPlace {
    /// The volume of the record.
    pub volume: u64,
    /// The first volume that may hold what it drops.
    pub from: u64,
    /// The last such volume. The record is needed as long as there is any of them.
    pub through: u64,
    /// Bytes of the record.
    pub bytes: u64,
}

/// The index.
///
/// Invariant: the use of each volume, and that of all, is what the entries and drops say.
#[derive(Debug, Default)]
pub struct Index {
    chunks: BTreeMap<ChunkId, Packed>,
    /// The slot of each volume. A packed entry names slots, since volumes may have any number.
    slots: BTreeMap<u64, u32>,
    volumes: Vec<(u64, VolumeUse)>,
    total: VolumeUse,
    /// Chunks that were found bad.
    damaged: u64,
    /// Drop records that are needed, by sequence.
    drops: BTreeMap<u64, DropPlace>,
}

impl Index {
    /// An index of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: BTreeMap::new(),
            slots: BTreeMap::new(),
            volumes: Vec::new(),
            total: VolumeUse { file_bytes: 0, chunks: 0, chunk_bytes: 0, marks: 0, drops: 0, drop_bytes: 0 },
            damaged: 0,
            drops: BTreeMap::new(),
        }
    }

    /// Chunks in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Chunks that were found bad and not stored anew since. Those that nobody has read are not among them.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What is known of a chunk.
    #[must_use]
    pub fn get(&self, id: &ChunkId) -> Option<Located> {
        self.chunks.get(id).map(|packed| self.unpack(*packed))
    }

    /// Enters a chunk, and returns what was known of it before.
    ///
    /// # Panics
    /// When a number is beyond its bound in [`crate::limits`].
    pub fn insert(&mut self, id: ChunkId, located: Located) -> Option<Located> {
        let packed = self.pack(&located);
        let before = self.chunks.insert(id, packed).map(|packed| self.unpack(packed));
        if let Some(before) = &before {
            self.account(before, false);
        }
        self.account(&located, true);
        before
    }

    /// Takes a chunk out, and returns what was known of it.
    pub fn remove(&mut self, id: &ChunkId) -> Option<Located> {
        let located = self.chunks.remove(id).map(|packed| self.unpack(packed))?;
        self.account(&located, false);
        Some(located)
    }

    /// Remembers whether the bytes of a chunk were found good, if it still is where they were read.
    pub fn judge(&mut self, id: &ChunkId, place: Place, good: bool) {
        self.update(id, place, |located| {
            located.trust = match (good, located.trust) {
                // Also if another read finds them good: it may have begun before they went bad.
                (false, _) | (true, Trust::Bad) => Trust::Bad,
                // That they can be read does not say that they are durable.
                (true, Trust::Doubtful) => Trust::Doubtful,
                (true, Trust::Proven | Trust::Unchecked) => Trust::Proven,
            };
        });
    }

    /// Remembers that a chunk, or its mark, may not be durable.
    pub fn doubt(&mut self, id: &ChunkId) {
        if let Some(located) = self.get(id) {
            self.insert(*id, Located { trust: Trust::Doubtful, ..located });
        }
    }

    /// Sets the mark of a chunk; `raised_in` is the volume of the mark record that says so.
    ///
    /// # Panics
    /// When the chunk is not there.
    pub fn set_mark(&mut self, id: &ChunkId, mark: u64, raised_in: Option<u64>) {
        let located = self.get(id).expect("only a chunk that is there has a mark");
        self.insert(*id, Located { mark, raised_in, ..located });
    }

    /// Moves a chunk to a copy that carries `mark` and the sequence of the original, if the chunk still is at `from`.
    /// Returns whether it was. The original is gone for whoever asks, but its volume must go before a word that the chunk
    /// is gone may be forgotten.
    pub fn relocate(&mut self, id: &ChunkId, from: Place, to: Place, mark: u64) -> bool {
        self.update(id, from, |located| {
            assert!(mark <= located.mark, "a copy carries a mark that the chunk has");
            located.place = to;
            located.marked = mark > 0;
            // What was copied was hashed, and it is somewhere else now.
            if located.trust == Trust::Bad {
                located.trust = Trust::Proven;
            }
            located.raised_in = located.raised_in.filter(|_| mark < located.mark);
        })
    }

    fn update(&mut self, id: &ChunkId, place: Place, change: impl FnOnce(&mut Located)) -> bool {
        let Some(mut located) = self.get(id).filter(|located| located.place == place) else { return false };
        change(&mut located);
        self.insert(*id, located);
        true
    }

    /// The chunks after `cursor`, in ascending order; all of them for `None`. Whoever walks takes as many as a step may
    /// handle and goes on from the last of them: what is entered or removed meanwhile does no harm.
    pub fn walk(&self, cursor: Option<ChunkId>) -> impl Iterator<Item = (ChunkId, Located)> {
        let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.chunks.range((start, Bound::Unbounded)).map(|(id, packed)| (*id, self.unpack(*packed)))
    }

    /// Remembers a volume and how long its file is.
    pub fn set_file_bytes(&mut self, volume: u64, file_bytes: u64) {
        let slot = self.slot(volume);
        let usage = &mut self.volumes[slot as usize].1;
        self.total.file_bytes = self.total.file_bytes - usage.file_bytes + file_bytes;
        usage.file_bytes = file_bytes;
    }

    /// Enters a drop record under its sequence. Of two with one sequence the one in the later volume counts.
    pub fn enter_drop(&mut self, sequence: u64, dropped: DropPlace) {
        if self.drops.get(&sequence).is_some_and(|known| known.volume > dropped.volume) {
            return;
        }
        if let Some(known) = self.drops.insert(sequence, dropped) {
            self.account_drop(&known, false);
        }
        self.account_drop(&dropped, true);
    }

    /// A volume is gone, and with it every record in it; so are the drop records that were needed for it alone.
    ///
    /// # Panics
    /// When a chunk of the index is in it.
    pub fn remove_volume(&mut self, volume: u64) {
        let Some(slot) = self.slots.remove(&volume) else { return };
        let usage = self.volumes[slot as usize].1;
        assert_eq!(usage.chunks, 0, "a volume that is removed holds nothing that is needed");
        let drops: Vec<u64> = self
            .drops
            .iter()
            .filter(|(_, place)| place.volume == volume || !self.is_drop_needed(place.from, place.through, &[]))
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in drops {
            let known = self.drops.remove(&sequence).expect("just listed");
            self.account_drop(&known, false);
        }
        let usage = core::mem::take(&mut self.volumes[slot as usize].1);
        self.total.file_bytes -= usage.file_bytes;
        assert_eq!(usage.marks, 0, "a volume that is removed holds nothing that is needed");
    }

    /// Whether the record at this offset of a volume is the one that counts for a chunk.
    #[must_use]
    pub fn is_live(&self, id: &ChunkId, volume: u64, offset: u64) -> bool {
        self.get(id).is_some_and(|located| (located.place.volume, located.place.offset) == (volume, offset))
    }

    /// Whether a mark record says something that the record of the chunk, or a later mark, does not.
    #[must_use]
    pub fn is_mark_needed(&self, id: &ChunkId, mark: u64, sequence: u64) -> bool {
        let says = |located: Located| located.raised_in.is_some() && located.mark == mark;
        self.get(id).is_some_and(|located| says(located) && sequence > located.sequence)
    }

    /// Whether there is a volume from `from` to `through` that is not `leaving`, so that a drop record for these must
    /// stay.
    #[must_use]
    pub fn is_drop_needed(&self, from: u64, through: u64, leaving: &[u64]) -> bool {
        from <= through && self.slots.range(from..=through).any(|(volume, _)| !leaving.contains(volume))
    }

    /// Whether of the drop records with this sequence the one in this volume counts.
    #[must_use]
    pub fn is_drop_in(&self, sequence: u64, volume: u64) -> bool {
        self.drops.get(&sequence).is_some_and(|place| place.volume == volume)
    }

    /// What is needed of each volume, in the order of their numbers.
    pub fn volumes(&self) -> impl Iterator<Item = (u64, VolumeUse)> {
        self.slots.values().map(|slot| self.volumes[*slot as usize])
    }

    /// What is needed of one volume.
    #[must_use]
    pub fn volume(&self, volume: u64) -> Option<VolumeUse> {
        self.slots.get(&volume).map(|slot| self.volumes[*slot as usize].1)
    }

    /// The volume with the smallest number.
    #[must_use]
    pub fn first_volume(&self) -> Option<u64> {
        self.slots.first_key_value().map(|(volume, _)| *volume)
    }

    /// What is needed of all volumes together.
    #[must_use]
    pub const fn total(&self) -> VolumeUse {
        self.total
    }

    /// Asserts the invariant. Takes as long as there are chunks.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check(&self) {
        let mut expected: BTreeMap<u64, VolumeUse> = BTreeMap::new();
        let mut damaged = 0;
        for (_, located) in self.walk(None) {
            damaged += u64::from(located.trust == Trust::Bad);
            let usage = expected.entry(located.place.volume).or_default();
            usage.chunks += 1;
            usage.chunk_bytes += located.record_len();
            if let Some(volume) = located.raised_in {
                expected.entry(volume).or_default().marks += 1;
            }
        }
        for place in self.drops.values() {
            let usage = expected.entry(place.volume).or_default();
            usage.drops += 1;
            usage.drop_bytes += place.bytes;
        }
        let mut total = VolumeUse::default();
        for (volume, usage) in self.volumes() {
            let expected = VolumeUse { file_bytes: usage.file_bytes, ..expected.remove(&volume).unwrap_or_default() };
            assert_eq!(usage, expected, "the use of volume {volume} is what its records say");
            total.file_bytes += usage.file_bytes;
            total.chunks += usage.chunks;
            total.chunk_bytes += usage.chunk_bytes;
            total.marks += usage.marks;
            total.drops += usage.drops;
            total.drop_bytes += usage.drop_bytes;
        }
        assert!(expected.is_empty(), "records are in volumes that are there");
        assert_eq!(self.total, total, "the whole is the sum of its parts");
        assert_eq!(self.damaged, damaged, "what is bad is counted");
    }

    fn account(&mut self, located: &Located, added: bool) {
        count(&mut self.damaged, u64::from(located.trust == Trust::Bad), added);
        let slot = self.slot(located.place.volume) as usize;
        for usage in [&mut self.volumes[slot].1, &mut self.total] {
            count(&mut usage.chunks, 1, added);
            count(&mut usage.chunk_bytes, located.record_len(), added);
        }
        if let Some(volume) = located.raised_in {
            let slot = self.slot(volume) as usize;
            for usage in [&mut self.volumes[slot].1, &mut self.total] {
                count(&mut usage.marks, 1, added);
            }
        }
    }

    fn account_drop(&mut self, place: &DropPlace, added: bool) {
        // The volume may be the one that is being removed.
        let slot = self.slots.get(&place.volume).copied();
        let slot = slot.or_else(|| added.then(|| self.slot(place.volume)));
        let of_volume = slot.map(|slot| &mut self.volumes[slot as usize].1);
        for usage in of_volume.into_iter().chain([&mut self.total]) {
            count(&mut usage.drops, 1, added);
            count(&mut usage.drop_bytes, place.bytes, added);
        }
    }

    /// The slot of a volume, which gets one if it has none.
    fn slot(&mut self, volume: u64) -> u32 {
        if let Some(slot) = self.slots.get(&volume) {
            return *slot;
        }
        assert!(self.volumes.len() < VOLUMES_MAX, "no directory has so many volumes");
        let slot = u32::try_from(self.volumes.len()).expect("volumes are bounded");
        self.volumes.push((volume, VolumeUse::default()));
        self.slots.insert(volume, slot);
        slot
    }

    fn pack(&mut self, located: &Located) -> Packed {
        let Located { place: Place { volume, offset, position }, sequence, bytes, mark, .. } = *located;
        assert!(
            offset <= OFFSET_MAX && position <= POSITION_MAX,
            "{:?} is beyond what a volume can hold",
            located.place
        );
        assert!(
            sequence <= SEQUENCE_MAX && mark <= EPOCH_MAX,
            "sequence {sequence} or mark {mark} is beyond its bound"
        );
        assert!(bytes <= CHUNK_BYTES_MAX, "no chunk has {bytes} bytes");
        let trust = match located.trust {
            Trust::Proven => 0,
            Trust::Unchecked => 1,
            Trust::Bad => 2,
            Trust::Doubtful => 3,
        };
        let mut fields = Fields::default();
        fields.put(SEQUENCE_BITS, sequence);
        fields.put(OFFSET_BITS, offset);
        fields.put(POSITION_BITS, position);
        fields.put(1, u64::from(located.stale));
        fields.put(1, u64::from(located.marked));
        fields.put(1, u64::from(located.raised_in.is_some()));
        fields.put(SLOT_BITS, u64::from(self.slot(volume)));
        fields.put(SLOT_BITS, located.raised_in.map_or(0, |volume| u64::from(self.slot(volume))));
        fields.put(BYTES_BITS, u64::from(bytes));
        fields.put(TRUST_BITS, trust);
        fields.put(MARK_BITS, mark);
        fields.pack()
    }

    fn unpack(&self, packed: Packed) -> Located {
        let mut fields = Fields::unpack(packed);
        let sequence = fields.take(SEQUENCE_BITS);
        let offset = fields.take(OFFSET_BITS);
        let position = fields.take(POSITION_BITS);
        let [stale, marked, raised] = [(); 3].map(|()| fields.take(1) == 1);
        let number = |slot: u64| self.volumes[usize::try_from(slot).expect("a slot is an index")].0;
        let volume = number(fields.take(SLOT_BITS));
        let raised_in = fields.take(SLOT_BITS);
        let raised_in = raised.then(|| number(raised_in));
        let bytes = u32::try_from(fields.take(BYTES_BITS)).expect("23 bits fit");
        let trust = match fields.take(TRUST_BITS) {
            0 => Trust::Proven,
            1 => Trust::Unchecked,
            2 => Trust::Bad,
            _ => Trust::Doubtful,
        };
        let mark = fields.take(MARK_BITS);
        Located { place: Place { volume, offset, position }, sequence, bytes, marked, mark, raised_in, trust, stale }
    }
}

fn count(counter: &mut u64, amount: u64, added: bool) {
    *counter = if added { *counter + amount } else { *counter - amount };
}

const SEQUENCE_BITS: u32 = 47;
const OFFSET_BITS: u32 = 42;
const POSITION_BITS: u32 = 36;
const SLOT_BITS: u32 = 26;
const BYTES_BITS: u32 = 23;
const TRUST_BITS: u32 = 2;
const MARK_BITS: u32 = 35;

/// Bytes of a packed entry: 240 bits.
const PACKED_LEN: usize = 30;

const _: () = assert!(
    SEQUENCE_BITS + OFFSET_BITS + POSITION_BITS + 3 + 2 * SLOT_BITS + BYTES_BITS + TRUST_BITS + MARK_BITS
        == 8 * PACKED_LEN as u32
);
const _: () = assert!(SEQUENCE_BITS + OFFSET_BITS + POSITION_BITS + 3 == 128, "no field lies across the halves");
const _: () = assert!(SEQUENCE_MAX < 1 << SEQUENCE_BITS && OFFSET_MAX < 1 << OFFSET_BITS);
const _: () = assert!(POSITION_MAX < 1 << POSITION_BITS && EPOCH_MAX < 1 << MARK_BITS);
const _: () = assert!(VOLUMES_MAX <= 1 << SLOT_BITS && CHUNK_BYTES_MAX < 1 << BYTES_BITS);

type Packed = [u8; PACKED_LEN];

/// The fields of an entry, one after the other, from the lowest bit on.
#[derive(Default)]
struct Fields {
    halves: [u128; 2],
    at: u32,
}

impl Fields {
    const fn put(&mut self, bits: u32, value: u64) {
        self.halves[(self.at / 128) as usize] |= (value as u128) << (self.at % 128);
        self.at += bits;
    }

    const fn take(&mut self, bits: u32) -> u64 {
        let value = self.halves[(self.at / 128) as usize] >> (self.at % 128);
        self.at += bits;
        value as u64 & ((1 << bits) - 1)
    }

    fn pack(&self) -> Packed {
        let mut packed = [0; PACKED_LEN];
        packed[..16].copy_from_slice(&self.halves[0].to_le_bytes());
        packed[16..].copy_from_slice(&self.halves[1].to_le_bytes()[..PACKED_LEN - 16]);
        packed
    }

    fn unpack(packed: Packed) -> Self {
        let mut halves = [[0; 16]; 2];
        halves[0].copy_from_slice(&packed[..16]);
        halves[1][..PACKED_LEN - 16].copy_from_slice(&packed[16..]);
        Self { halves: halves.map(u128::from_le_bytes), at: 0 }
    }
}

#[cfg(test)]
mod tests;
