//! What a read owes, with and without verification.

use bytes::Bytes;
use dps_core::disk::{DiskError, DiskReply};
use dps_core::id::{ChunkId, VerifiedChunk};

use super::{
    DiskUnderTest, JOURNAL, Rule, SLOT, STAGE, VOLUME, append, assert_listed, pattern, read, read_back, read_chunk,
};

pub(super) const RULES: &[Rule] = &[
    Rule { title: "a read is short only at the end of the file", check: short_only_at_the_end },
    Rule { title: "a read past the end is empty, wherever", check: past_the_end },
    Rule { title: "a file that does not exist can't be read", check: missing_is_not_found },
    Rule { title: "a read that verifies gives the chunk, proven", check: verified },
    Rule { title: "a read that verifies tells other bytes", check: mismatched },
    Rule { title: "a read that verifies tells too few bytes, whatever they hash to", check: too_few },
];

fn short_only_at_the_end(disk: &mut dyn DiskUnderTest) {
    let bytes = pattern(2_000);
    append(disk, VOLUME, 0, &bytes[..700]);
    append(disk, VOLUME, 700, &bytes[700..]);
    for (offset, len) in [(0, 2_000), (0, 2_001), (699, 2), (511, 513), (1_999, 1), (1_999, 2), (2_000, 1), (0, 0)] {
        let end = (offset + len).min(bytes.len());
        let got = read(disk, VOLUME, offset as u64, u32::try_from(len).expect("lengths above are small"));
        assert_eq!(got, read_back(&bytes[offset..end]), "{len} bytes from {offset}");
    }
}

fn past_the_end(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"0123456789");
    // 2^63 is where the offsets of operating systems end; of the core's they don't.
    for offset in [10, 11, 4_096, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX] {
        assert_eq!(read(disk, VOLUME, offset, 10), read_back(b""), "from {offset}");
        assert_eq!(read(disk, VOLUME, offset, 0), read_back(b""), "nothing from {offset}");
    }
}

fn missing_is_not_found(disk: &mut dyn DiskUnderTest) {
    for file in [SLOT, JOURNAL, VOLUME, STAGE] {
        for len in [0, 10] {
            assert_eq!(read(disk, file, 0, len), Err(DiskError::NotFound), "{file}");
            assert_eq!(read_chunk(disk, file, 0, len, ChunkId::of(b"")), Err(DiskError::NotFound), "{file}");
        }
    }
    assert_listed(disk, &[]);
}

fn verified(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"headbodytail");
    for (offset, body) in [(4, b"body".as_slice()), (0, b"headbodytail"), (8, b"tail"), (5, b""), (12, b"")] {
        let chunk = VerifiedChunk::new(Bytes::copy_from_slice(body));
        let len = u32::try_from(body.len()).expect("bodies above are short");
        let got = read_chunk(disk, VOLUME, offset, len, chunk.id());
        assert_eq!(got, Ok(DiskReply::Verified(chunk)));
    }
}

fn mismatched(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"headbodytail");
    let id = ChunkId::of(b"tail");
    for (offset, len) in [(7, 4), (8, 3), (0, 4), (7, 5), (0, 12), (8, 0)] {
        assert_eq!(read_chunk(disk, VOLUME, offset, len, id), Ok(DiskReply::Mismatch), "{len} bytes from {offset}");
    }
}

fn too_few(disk: &mut dyn DiskUnderTest) {
    append(disk, VOLUME, 0, b"headbodytail");
    for (offset, len, body) in
        [(8, 5, b"tail".as_slice()), (9, 4, b"tail"), (9, 4, b"ail"), (12, 1, b""), (100, 4, b"")]
    {
        let got = read_chunk(disk, VOLUME, offset, len, ChunkId::of(body));
        assert_eq!(got, Ok(DiskReply::Mismatch), "{len} bytes from {offset}");
    }
}
