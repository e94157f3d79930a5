//! Blocks of whole lines, out of files and out of shipped bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memrchr;

use super::identity::Stamp;
use super::payload::FileSlice;
use super::stretch::Stretch;
use super::{Blocks, Compression, SourceError};

/// Bytes of a block, and of the buffer that an open feed keeps.
pub(super) const BLOCK_BYTES: usize = 1024 * 1024;
/// The buffer of a chunk of a few bytes.
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// A line beyond this is refused: it would have to be held in memory whole.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A buffer of this size has held a long line; it is given back when the line is gone.
const KEEP_BYTES: usize = 2 * BLOCK_BYTES;

/// The lines of stretches of files, one stretch after the other.
///
/// The bytes are read into one buffer and handed out as slices of it. When the consumer has dropped its slice, the same
/// buffer is filled again: a block costs the count of its handles, and copies no more than the line that its end cut.
#[derive(Debug)]
pub(super) struct FileBlocks {
    current: Option<Stretch>,
    waiting: VecDeque<(FileSlice, Stamp)>,
    /// Bytes of the stretches that are done.
    done_bytes: u64,
    /// The buffer, once it was lent to the consumer.
    lent: Bytes,
    /// Where the begun line stands in `lent`.
    carry: std::ops::Range<usize>,
    /// The last byte read ends a line, or there is none.
    at_line_start: bool,
    /// All bytes of the chunk, for a buffer no larger than needed.
    expected_bytes: usize,
    line_bytes_max: usize,
}

impl FileBlocks {
    /// Opens and checks all stretches. One file is kept open; the others are opened again in their turn, since a chunk may
    /// be packed from more files than a process may have open.
    pub(super) fn open(slices: Vec<FileSlice>) -> Result<Self, SourceError> {
        let mut current = None;
        let mut waiting = VecDeque::with_capacity(slices.len().saturating_sub(1));
        let mut expected_bytes = 0_usize;
        for slice in slices {
            let bytes = if slice.file.compression == Compression::None {
                usize::try_from(slice.length).unwrap_or(usize::MAX)
            } else {
                BLOCK_BYTES
            };
            // The newline that a file may lack, and one more byte, so that the end is seen without a larger buffer.
            expected_bytes = expected_bytes.saturating_add(bytes).saturating_add(2);
            let opened = Stretch::open(slice.clone())?;
            if current.is_none() {
                current = Some(opened);
            } else {
                waiting.push_back((slice, opened.stamp()));
            }
        }
        Ok(Self {
            current,
            waiting,
            done_bytes: 0,
            lent: Bytes::new(),
            carry: 0..0,
            at_line_start: true,
            expected_bytes,
            line_bytes_max: LINE_BYTES_MAX,
        })
    }

    #[cfg(test)]
    pub(super) const fn with_line_bytes_max(mut self, line_bytes_max: usize) -> Self {
        self.line_bytes_max = line_bytes_max;
        self
    }

    /// The buffer with the begun line at its front, and that line's length. All its bytes are initialised.
    fn take_buffer(&mut self) -> (BytesMut, usize) {
        let lent = std::mem::take(&mut self.lent);
        let carry = std::mem::take(&mut self.carry);
        let length = carry.len();
        let oversized = lent.len() > KEEP_BYTES && length < BLOCK_BYTES;
        let lent = if oversized { Err(lent) } else { lent.try_into_mut() };
        match lent {
            Ok(mut buffer) if !buffer.is_empty() => {
                buffer.copy_within(carry, 0);
                (buffer, length)
            }
            Ok(_) => (BytesMut::zeroed(self.expected_bytes.clamp(BUFFER_BYTES_MIN, BLOCK_BYTES)), 0),
            Err(lent) => {
                let mut buffer = BytesMut::zeroed(BLOCK_BYTES.max(length.saturating_mul(2)));
                if let (Some(front), Some(line)) = (buffer.get_mut(..length), lent.get(carry)) {
                    front.copy_from_slice(line);
                }
                (buffer, length)
            }
        }
    }

    /// Reads until the buffer is full or everything was read; the number of bytes then in it.
    fn fill(&mut self, buffer: &mut BytesMut, mut filled: usize) -> Result<usize, SourceError> {
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let Some(stretch) = &mut self.current else { break };
            let count = stretch.read(room)?;
            if let Some(last) = count.checked_sub(1) {
                self.at_line_start = room.get(last) == Some(&b'\n');
                filled += count;
            } else if self.at_line_start {
                self.next_stretch()?;
            } else if let Some(byte) = room.first_mut() {
                // The file ends without a newline: the next one's first line must not run into its last.
                *byte = b'\n';
                filled += 1;
                self.at_line_start = true;
            }
        }
        Ok(filled)
    }

    fn next_stretch(&mut self) -> Result<(), SourceError> {
        self.done_bytes += self.current.take().map_or(0, |stretch| stretch.bytes_read());
        if let Some((slice, seen)) = self.waiting.pop_front() {
            self.current = Some(Stretch::open_again(slice, seen)?);
        }
        Ok(())
    }

    fn try_next_block(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.current.is_none() && self.carry.is_empty() {
            return Ok(None);
        }
        let (mut buffer, carried) = self.take_buffer();
        let mut filled = carried;
        let end = loop {
            let searched = filled;
            filled = self.fill(&mut buffer, filled)?;
            if self.current.is_none() {
                break filled;
            }
            let newline = buffer.get(searched..filled).and_then(|read| memrchr(b'\n', read));
            if let Some(newline) = newline {
                break searched + newline + 1;
            }
            // One line fills the buffer.
            if filled >= self.line_bytes_max {
                let name = self.current.as_ref().map(|stretch| stretch.path().to_owned()).unwrap_or_default();
                return Err(SourceError::LineTooLong { name, limit_bytes: self.line_bytes_max as u64 });
            }
            buffer.resize(filled + BLOCK_BYTES.max(filled / 4), 0);
        };
        if end == 0 {
            return Ok(None);
        }
        self.lent = buffer.freeze();
        self.carry = end..filled;
        Ok(Some(self.lent.slice(..end)))
    }
}

impl Blocks for FileBlocks {
    fn next_block(&mut self) -> Result<Option<Bytes>, SourceError> {
        let block = self.try_next_block();
        if block.is_err() {
            self.current = None;
            self.waiting.clear();
            self.lent = Bytes::new();
            self.carry = 0..0;
        }
        block
    }

    fn bytes_read(&self) -> u64 {
        self.done_bytes + self.current.as_ref().map_or(0, Stretch::bytes_read)
    }
}

/// Lines that the master shipped, in slices of what arrived.
#[derive(Debug)]
pub(super) struct ShippedBlocks {
    lines: Bytes,
    /// The source bytes that the lines stand for.
    source_bytes: u64,
    handed_out_bytes: u64,
}

impl ShippedBlocks {
    pub(super) const fn new(source_bytes: u64, lines: Bytes) -> Self {
        Self { lines, source_bytes, handed_out_bytes: 0 }
    }
}

impl Blocks for ShippedBlocks {
    fn next_block(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.lines.is_empty() {
            return Ok(None);
        }
        let first = self.lines.get(..BLOCK_BYTES).and_then(|block| memrchr(b'\n', block));
        // No newline in the first block: the block is one long line, or all that is left.
        let newline = first.or_else(|| {
            let rest = self.lines.get(BLOCK_BYTES..)?;
            memchr::memchr(b'\n', rest).map(|newline| BLOCK_BYTES + newline)
        });
        let whole = self.lines.len() <= BLOCK_BYTES;
        let block = match newline {
            Some(newline) if !whole => self.lines.split_to(newline + 1),
            _ => std::mem::take(&mut self.lines),
        };
        self.handed_out_bytes += block.len() as u64;
        Ok(Some(block))
    }

    fn bytes_read(&self) -> u64 {
        // What was packed into the payload (decompressed lines, added newlines) is not what the source has.
        if self.lines.is_empty() { self.source_bytes } else { self.handed_out_bytes.min(self.source_bytes) }
    }
}
