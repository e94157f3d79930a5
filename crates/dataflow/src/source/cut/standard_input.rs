//! Cuts a stream that is read once, on the master.

use std::fmt;
use std::io::Read;
use std::ops::Range;

use memchr::{memchr, memrchr};

use super::super::blocks::LINE_BYTES_MAX;
use super::super::payload::{LINES_HEADER_BYTES, begin_lines, finish_lines};
use super::super::window::{LINES, is_too_large};
use super::super::{SourceError, TypedWindow, Window};
use super::{Border, ResumableCutter};
use crate::seam::{Cover, Cut, Cutter, SourcePart};

/// Room that is made at once, at most.
const CAPACITY_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes that are asked for at a time behind the target: of a long line, or of a window.
const READ_BYTES: u64 = 64 * 1024;

/// Cuts the lines of a stream, mostly standard input; what travels are the lines themselves.
pub struct StandardInputCutter {
    input: u16,
    stream: Box<dyn Read + Send>,
    /// What was read behind the chunk before.
    carry: Vec<u8>,
    /// Bytes that are cut.
    done: u64,
    at_end: bool,
    window: Option<TypedWindow<[u8]>>,
    parts: [SourcePart; 1],
}

impl StandardInputCutter {
    /// Cuts what `stream` gives until its end.
    #[must_use]
    pub fn new(input: u16, stream: Box<dyn Read + Send>) -> Self {
        let parts = [SourcePart {
            input,
            name: "standard input".to_owned(),
            length: None,
            unit_bytes: 1,
            server: None,
            missing: false,
        }];
        Self { input, stream, carry: Vec::new(), done: 0, at_end: false, window: None, parts }
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

    /// The end of the last line that ends within `target` bytes, or of the first, if it is longer; header included.
    fn nominal_end(&mut self, body: &mut Vec<u8>, target: u64) -> Result<usize, SourceError> {
        let aim = usize::try_from(target.max(1)).unwrap_or(usize::MAX).saturating_add(LINES_HEADER_BYTES);
        if let Some(missing) = aim.checked_sub(body.len()).filter(|missing| *missing > 0 && !self.at_end) {
            self.read(body, missing as u64)?;
        }
        if body.len() <= aim && self.at_end {
            return Ok(body.len());
        }
        let newline = body.get(LINES_HEADER_BYTES..aim).and_then(|read| memrchr(b'\n', read));
        newline.map_or_else(|| self.line_end(body, aim), |newline| Ok(LINES_HEADER_BYTES + newline + 1))
    }

    /// The end of the line that goes on at `from`, newline included; reads on to it.
    fn line_end(&mut self, body: &mut Vec<u8>, from: usize) -> Result<usize, SourceError> {
        let mut searched = from;
        loop {
            if let Some(newline) = body.get(searched..).and_then(|read| memchr(b'\n', read)) {
                return Ok(searched + newline + 1);
            }
            searched = body.len();
            if self.at_end {
                return Ok(searched);
            }
            if searched - from > LINE_BYTES_MAX {
                return Err(SourceError::LineTooLong { name: self.name(), limit_bytes: LINE_BYTES_MAX as u64 });
            }
            self.read(body, READ_BYTES)?;
        }
    }

    /// The first border of two lines at or behind `end`, which is one, where the window ends; reads on to it.
    fn allowed_end(&mut self, body: &mut Vec<u8>, mut end: usize) -> Result<usize, SourceError> {
        let Some(window) = self.window.clone() else { return Ok(end) };
        let newline = body.get(LINES_HEADER_BYTES..end.saturating_sub(1)).and_then(|lines| memrchr(b'\n', lines));
        let mut begin = newline.map_or(LINES_HEADER_BYTES, |newline| LINES_HEADER_BYTES + newline + 1);
        loop {
            let next = self.line_end(body, end)?;
            if next == end || window.ends_between(line(body, begin..end), line(body, end..next)) {
                return Ok(end);
            }
            (begin, end) = (end, next);
            if is_too_large((end - LINES_HEADER_BYTES) as u64, 0) {
                return Err(window.too_long(self.name(), "byte", self.done));
            }
        }
    }
}

/// A line without its newline.
fn line(body: &[u8], range: Range<usize>) -> &[u8] {
    let line = body.get(range).unwrap_or_default();
    line.strip_suffix(b"\n").unwrap_or(line)
}

impl Cutter for StandardInputCutter {
    fn cut(&mut self, target_bytes: u64, _target_items: u64) -> Result<Option<Cut>, SourceError> {
        let capacity = usize::try_from(target_bytes.min(CAPACITY_BYTES_MAX)).unwrap_or(0);
        let mut body = begin_lines(capacity.max(self.carry.len()));
        body.append(&mut self.carry);
        let nominal = self.nominal_end(&mut body, target_bytes)?;
        let whole = self.allowed_end(&mut body, nominal)?;
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

    fn set_window(&mut self, window: &Window) -> Result<(), SourceError> {
        self.window = window.over_lines();
        if self.window.is_some() { Ok(()) } else { Err(window.misfit(self.name(), LINES)) }
    }
}

impl fmt::Debug for StandardInputCutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardInputCutter").field("done", &self.done).finish_non_exhaustive()
    }
}
