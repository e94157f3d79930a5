//! Reading a journal segment, and what tells a torn tail from corruption.
//!
//! A write that a crash has cut short leaves a beginning of a batch at the end of the last segment: bytes are missing, or
//! (after a power cut) the file is as long as it should be but its last sectors were never written and read as zeros. That
//! is a torn tail; nothing of it was acknowledged. Everything else is corruption.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use elastic_flow_store::{RECORD_BYTES_MAX, StoreError};

use crate::codec::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::disk::Disk;

/// What a disk writes whole.
const SECTOR_BYTES: u64 = 512;
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// The end of a journal that a crash has cut short; opening the store takes it off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the batch began that was not finished.
    pub offset: u64,
    /// Bytes that were there of it.
    pub bytes: u64,
}

/// Where in the journal a reader or the writer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) generation: u64,
    pub(crate) index: u32,
    /// The next record's.
    pub(crate) sequence: u64,
    /// The check of the header before.
    pub(crate) previous: u32,
}

/// What was read of a segment.
#[derive(Debug)]
pub(crate) struct Extent {
    /// Where the last whole batch ends.
    pub(crate) batches_bytes: u64,
    /// The position there.
    pub(crate) position: Position,
    /// Records up to there.
    pub(crate) records: u64,
}

/// Reads the first `file_bytes` of a segment, and gives each record to `visit`, those of an unfinished batch at the end too.
pub(crate) fn read(
    disk: &Disk,
    path: &Path,
    file: File,
    file_bytes: u64,
    at: Position,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Extent, StoreError> {
    let input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    let mut reader = SegmentReader { disk, path, input, file_bytes, offset: 0, position: at, payload: Vec::new() };
    reader.header()?;
    let mut extent = Extent { batches_bytes: reader.offset, position: reader.position, records: 0 };
    let mut records = 0;
    while let Some(is_last_of_batch) = reader.record()? {
        visit(&reader.payload)?;
        records += 1;
        if is_last_of_batch {
            extent = Extent { batches_bytes: reader.offset, position: reader.position, records };
        }
    }
    Ok(extent)
}

struct SegmentReader<'a> {
    disk: &'a Disk,
    path: &'a Path,
    input: BufReader<File>,
    file_bytes: u64,
    offset: u64,
    position: Position,
    payload: Vec<u8>,
}

impl SegmentReader<'_> {
    fn corrupt(&self, detail: impl Into<String>) -> StoreError {
        self.disk.corrupt(self.path, self.offset, detail)
    }

    fn failed(&self, error: io::Error) -> StoreError {
        self.disk.failed("read", self.path, 0, error)
    }

    /// A segment gets its name when its header is on the disk, so that one is never in part.
    fn header(&mut self) -> Result<(), StoreError> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        if self.file_bytes < SEGMENT_HEADER_BYTES as u64 {
            return Err(self.corrupt(format!("the segment ends after {} bytes, within its header", self.file_bytes)));
        }
        self.input.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        let (header, check) = SegmentHeader::decode(&bytes).map_err(|detail| self.corrupt(detail))?;
        let Position { generation, index, previous, .. } = self.position;
        if header != (SegmentHeader { generation, index, previous }) {
            return Err(self.corrupt(format!(
                "the segment says that it is number {} of generation {}, or does not follow the one before",
                header.index, header.generation
            )));
        }
        self.position.previous = check;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }

    /// Reads the next record; none at the end of the segment, be it torn or not.
    fn record(&mut self) -> Result<Option<bool>, StoreError> {
        let header_bytes = RECORD_HEADER_BYTES as u64;
        if self.file_bytes - self.offset < header_bytes {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER_BYTES];
        self.input.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        if bytes == [0; RECORD_HEADER_BYTES] && self.is_zero_from(self.offset + header_bytes)? {
            return Ok(None);
        }
        let (header, check) = RecordHeader::decode(&bytes).map_err(|detail| self.corrupt(detail))?;
        let Position { sequence, previous, .. } = self.position;
        if (header.sequence, header.previous) != (sequence, previous) {
            return Err(self.corrupt(format!(
                "record {} where record {sequence} should be, or not the one that follows the record before",
                header.sequence
            )));
        }
        let payload_bytes = u64::from(header.payload_bytes);
        if payload_bytes > RECORD_BYTES_MAX {
            return Err(
                self.corrupt(format!("a record of {payload_bytes} bytes, over the limit of {RECORD_BYTES_MAX}"))
            );
        }
        let start = self.offset + header_bytes;
        if self.file_bytes - start < payload_bytes {
            return Ok(None);
        }
        // Not more than the file has, so not more than a disk holds.
        self.payload.clear();
        (&mut self.input).take(payload_bytes).read_to_end(&mut self.payload).map_err(|error| self.failed(error))?;
        if self.payload.len() as u64 != payload_bytes {
            return Err(self.corrupt("the segment was cut while it was read"));
        }
        if crc32fast::hash(&self.payload) != header.payload_crc {
            if self.has_unwritten_end(start)? {
                return Ok(None);
            }
            return Err(self.corrupt("the record's checksum does not match"));
        }
        self.offset = start + payload_bytes;
        self.position.sequence += 1;
        self.position.previous = check;
        Ok(Some(header.is_last_of_batch))
    }

    /// Whether the last sector of the segment lies behind `start` and was never written.
    fn has_unwritten_end(&mut self, start: u64) -> Result<bool, StoreError> {
        let sector = self.file_bytes.saturating_sub(1) / SECTOR_BYTES * SECTOR_BYTES;
        Ok(sector >= start && self.is_zero_from(sector)?)
    }

    fn is_zero_from(&mut self, offset: u64) -> Result<bool, StoreError> {
        let back = self.input.stream_position().map_err(|error| self.failed(error))?;
        let is_zero = self.read_zeros(offset).map_err(|error| self.failed(error))?;
        self.input.seek(SeekFrom::Start(back)).map_err(|error| self.failed(error))?;
        Ok(is_zero)
    }

    fn read_zeros(&mut self, offset: u64) -> io::Result<bool> {
        self.input.seek(SeekFrom::Start(offset))?;
        let mut rest = (&mut self.input).take(self.file_bytes.saturating_sub(offset));
        let mut chunk = [0; 4096];
        loop {
            let count = rest.read(&mut chunk)?;
            if count == 0 {
                return Ok(true);
            }
            if chunk.iter().take(count).any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
    }
}
