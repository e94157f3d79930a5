//! The headers on disk. All numbers are little-endian.
//!
//! ```text
//! segment   0        4       8            16     20        24         28
//!           | "EFJL" | version | generation | index | previous | check  |  records ...
//!
//! record    0        4       8          16         20         24       28
//!           | length | flags | sequence | previous | payload  | check  |  payload ...
//!
//! payload   0        4         8        16      20      24
//!           | "EFPL" | version | length | crc32 | check |  zstd frame ...
//! ```
//!
//! `check` is the CRC-32 of the header before it. `previous` is the `check` of the header before this one, in the segment
//! or, for a segment's header, in the segment before: so a record that is missing, doubled or of another file is noticed.
//! `payload` is the CRC-32 of the record's payload, `crc32` that of the payload before compression. The one flag is 1: the
//! record is the last of its batch.

pub(crate) const SEGMENT_HEADER_BYTES: usize = 28;
pub(crate) const RECORD_HEADER_BYTES: usize = 28;
pub(crate) const PAYLOAD_HEADER_BYTES: usize = 24;

const SEGMENT_MAGIC: [u8; 4] = *b"EFJL";
const PAYLOAD_MAGIC: [u8; 4] = *b"EFPL";
const VERSION: u32 = 1;
const LAST_OF_BATCH: u32 = 1;
const CHECK_BYTES: usize = 4;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) generation: u64,
    pub(crate) index: u32,
    pub(crate) previous: u32,
}

/// What a record's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) is_last_of_batch: bool,
    pub(crate) sequence: u64,
    pub(crate) previous: u32,
    pub(crate) payload_crc: u32,
}

/// What a payload file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PayloadHeader {
    pub(crate) raw_bytes: u64,
    pub(crate) raw_crc: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut writer = Writer::new();
        writer.bytes(&SEGMENT_MAGIC).u32(VERSION).u64(self.generation).u32(self.index).u32(self.previous);
        writer.sealed()
    }

    /// The header and its check, or what is wrong.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<(Self, u32), &'static str> {
        let mut reader = Reader::new(bytes);
        if reader.take() != SEGMENT_MAGIC {
            return Err("not a journal segment");
        }
        let check = checked(bytes)?;
        if reader.u32() != VERSION {
            return Err("a journal segment of another format version; use the program that wrote it");
        }
        Ok((Self { generation: reader.u64(), index: reader.u32(), previous: reader.u32() }, check))
    }
}

impl RecordHeader {
    pub(crate) fn encode(self) -> [u8; RECORD_HEADER_BYTES] {
        let flags = if self.is_last_of_batch { LAST_OF_BATCH } else { 0 };
        let mut writer = Writer::new();
        writer.u32(self.payload_bytes).u32(flags).u64(self.sequence).u32(self.previous).u32(self.payload_crc);
        writer.sealed()
    }

    /// The header and its check, or what is wrong.
    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Result<(Self, u32), &'static str> {
        let check = checked(bytes)?;
        let mut reader = Reader::new(bytes);
        let payload_bytes = reader.u32();
        let flags = reader.u32();
        if flags & !LAST_OF_BATCH != 0 {
            return Err("a record with flags that this program does not know");
        }
        let (sequence, previous, payload_crc) = (reader.u64(), reader.u32(), reader.u32());
        let is_last_of_batch = flags == LAST_OF_BATCH;
        Ok((Self { payload_bytes, is_last_of_batch, sequence, previous, payload_crc }, check))
    }
}

impl PayloadHeader {
    pub(crate) fn encode(self) -> [u8; PAYLOAD_HEADER_BYTES] {
        let mut writer = Writer::new();
        writer.bytes(&PAYLOAD_MAGIC).u32(VERSION).u64(self.raw_bytes).u32(self.raw_crc);
        writer.sealed()
    }

    /// The header, or what is wrong.
    pub(crate) fn decode(bytes: &[u8; PAYLOAD_HEADER_BYTES]) -> Result<Self, &'static str> {
        let mut reader = Reader::new(bytes);
        if reader.take() != PAYLOAD_MAGIC {
            return Err("not a payload");
        }
        checked(bytes)?;
        if reader.u32() != VERSION {
            return Err("a payload of another format version; use the program that wrote it");
        }
        Ok(Self { raw_bytes: reader.u64(), raw_crc: reader.u32() })
    }
}

/// The check at a header's end, if it is right.
fn checked(header: &[u8]) -> Result<u32, &'static str> {
    let Some((body, check)) = header.split_last_chunk::<CHECK_BYTES>() else { return Err("a header in part") };
    let check = u32::from_le_bytes(*check);
    if crc32fast::hash(body) == check { Ok(check) } else { Err("the header's checksum does not match") }
}

/// The check of a header that was just encoded.
pub(crate) fn check_of(header: &[u8]) -> u32 {
    header.last_chunk::<CHECK_BYTES>().map_or(0, |check| u32::from_le_bytes(*check))
}

/// Fields on their way into a header.
#[derive(Debug)]
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(Vec::with_capacity(RECORD_HEADER_BYTES))
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// The header with its check at the end.
    fn sealed<const N: usize>(mut self) -> [u8; N] {
        let check = crc32fast::hash(&self.0);
        self.u32(check);
        debug_assert_eq!(self.0.len(), N, "the header's fields do not fill it");
        let mut header = [0; N];
        for (to, from) in header.iter_mut().zip(self.0) {
            *to = from;
        }
        header
    }
}

/// Reads fields from a header whose length is that of its fields.
#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((taken, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentHeader = SegmentHeader { generation: 0x0102_0304_0506_0708, index: 9, previous: 0xa0b0_c0d0 };
    const RECORD: RecordHeader =
        RecordHeader { payload_bytes: 5, is_last_of_batch: true, sequence: 7, previous: 0x1122_3344, payload_crc: 1 };
    const PAYLOAD: PayloadHeader = PayloadHeader { raw_bytes: 300, raw_crc: 0x5566_7788 };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of format version 1. A change here makes stores of earlier versions unreadable: raise the version.
    #[test]
    fn the_headers_have_their_golden_bytes() {
        assert_eq!(hex(&SEGMENT.encode()), "45464a4c01000000080706050403020109000000d0c0b0a0c8dfdc60");
        assert_eq!(hex(&RECORD.encode()), "050000000100000007000000000000004433221101000000d9fc7848");
        assert_eq!(hex(&PAYLOAD.encode()), "4546504c010000002c0100000000000088776655117c2bbe");
    }

    #[test]
    fn headers_come_back_and_no_flipped_bit_does() {
        assert_eq!(SegmentHeader::decode(&SEGMENT.encode()), Ok((SEGMENT, check_of(&SEGMENT.encode()))));
        assert_eq!(RecordHeader::decode(&RECORD.encode()), Ok((RECORD, check_of(&RECORD.encode()))));
        assert_eq!(PayloadHeader::decode(&PAYLOAD.encode()), Ok(PAYLOAD));
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            let (mut segment, mut record, mut payload) = (SEGMENT.encode(), RECORD.encode(), PAYLOAD.encode());
            segment[bit / 8] ^= 1 << (bit % 8);
            record[bit / 8] ^= 1 << (bit % 8);
            SegmentHeader::decode(&segment).unwrap_err();
            RecordHeader::decode(&record).unwrap_err();
            if bit < PAYLOAD_HEADER_BYTES * 8 {
                payload[bit / 8] ^= 1 << (bit % 8);
                PayloadHeader::decode(&payload).unwrap_err();
            }
        }
    }

    #[test]
    fn another_version_and_an_unknown_flag_are_refused_by_name() {
        let resealed = |mut header: Vec<u8>, at: usize, value: u8| {
            header[at] = value;
            let body = header.len() - CHECK_BYTES;
            let check = crc32fast::hash(&header[..body]).to_le_bytes();
            header[body..].copy_from_slice(&check);
            header
        };
        let segment = resealed(SEGMENT.encode().to_vec(), 4, 2);
        assert!(SegmentHeader::decode(&segment.try_into().unwrap()).unwrap_err().contains("version"));
        let record = resealed(RECORD.encode().to_vec(), 4, 3);
        assert!(RecordHeader::decode(&record.try_into().unwrap()).unwrap_err().contains("flags"));
    }
}
