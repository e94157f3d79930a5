//! Cuts a stream that is read once, on the master.

use std::fmt;
use std::io::Read;

use memchr::memrchr;

use super::super::SourceError;
use super::super::blocks::LINE_BYTES_MAX;
use super::super::payload::{LINES_HEADER_BYTES, begin_lines, finish_lines};
use super::{Border, ResumableCutter};
use crate::seam::{Cover, Cut, Cutter, SourcePart};

/// Bytes that are asked for at a time where a line is longer than the target.
const READ_BYTES: u64 = 1024 * 1024;

/// Cuts the lines of a stream, mostly standard input; what travels are the lines themselves.
pub struct StandardInputCutter {
    input: u16,
    stream: Box<dyn Read + Send>,
    /// The begun line that was read with the chunk before.
    carry: Vec<u8>,
    /// Bytes that are cut.
    done: u64,
    at_end: bool,
    parts: [SourcePart; 1],
}

impl StandardInputCutter {
    /// Cuts what `stream` gives until its end.
    #[must_use]
    pub fn new(input: u16, stream: Box<dyn Read + Send>) -> Self {
        let parts = [SourcePart { input, name: "standard input".to_owned(), length: None, unit_bytes: 1 }];
        Self { input, stream, carry: Vec::new(), done: 0, at_end: false, parts }
    }

    fn name(&self) -> String {
        let [part] = &self.parts;
        part.name.clone()
    }

    /// Appends up to `count` bytes; fewer only at the end.
    fn read(&mut self, body: &mut Vec<u8>, count: u64) -> Result<(), SourceError> {
        let read = (&mut self.stream).take(count).read_to_end(body);
        let read = read.map_err(|source| SourceError::Read { name: self.name(), source })?;
        self.at_end = (read as u64) < count;
        Ok(())
    }

    /// Reads on until there is a whole line, or the stream ends; the number of bytes in whole lines, header included.
    fn read_lines(&mut self, body: &mut Vec<u8>, target: u64) -> Result<usize, SourceError> {
        // The carry has no newline, and neither has what was searched before.
        let mut searched = body.len();
        let mut wanted = target.saturating_sub(body.len().saturating_sub(LINES_HEADER_BYTES) as u64).max(1);
        while !self.at_end {
            self.read(body, wanted)?;
            let newline = body.get(searched..).and_then(|read| memrchr(b'\n', read));
            if let Some(newline) = newline.filter(|_| !self.at_end) {
                return Ok(searched + newline + 1);
            }
            if body.len() > LINE_BYTES_MAX {
                return Err(SourceError::LineTooLong { name: self.name(), limit_bytes: LINE_BYTES_MAX as u64 });
            }
            searched = body.len();
            wanted = READ_BYTES;
        }
        Ok(body.len())
    }
}

impl Cutter for StandardInputCutter {
    fn cut(&mut self, target_bytes: u64, _target_items: u64) -> Result<Option<Cut>, SourceError> {
        let capacity = usize::try_from(target_bytes.min(READ_BYTES)).unwrap_or(0);
        let mut body = begin_lines(capacity.max(self.carry.len()));
        body.append(&mut self.carry);
        let whole = self.read_lines(&mut body, target_bytes)?;
        self.carry = body.split_off(whole);
        let length = (whole - LINES_HEADER_BYTES) as u64;
        if length == 0 {
            return Ok(None);
        }
        let cover = Cover { part: 0, offset: self.done, length };
        self.done += length;
        let payload = finish_lines(body, length);
        let (input, covers) = (self.input, vec![cover]);
        Ok(Some(Cut { input, covers, entries: None, bytes: length, payload, repeatable: false }))
    }

    fn parts(&self) -> &[SourcePart] {
        &self.parts
    }
}

impl ResumableCutter for StandardInputCutter {
    fn resume(&mut self, borders: &[Border], _again: &mut dyn FnMut(usize, Cut)) -> Result<(), SourceError> {
        if borders.is_empty() { Ok(()) } else { Err(SourceError::NotRepeatable { name: self.name() }) }
    }
}

impl fmt::Debug for StandardInputCutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardInputCutter").field("done", &self.done).finish_non_exhaustive()
    }
}
