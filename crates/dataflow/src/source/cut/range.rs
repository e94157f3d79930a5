//! Cuts a range of numbers.

use super::super::payload::Split;
use super::super::{RANGE_ITEM_BYTES, SourceError, TypedWindow, WINDOW_BYTES_MAX, Window};
use super::{Border, ResumableCutter, single_cover};
use crate::seam::{Cover, Cut, Cutter, SourcePart};

/// Cuts a range of numbers into splits, each number counted as 8 bytes.
#[derive(Debug)]
pub struct RangeCutter {
    input: u16,
    start: u64,
    /// Numbers, and those of them that are cut.
    length: u64,
    done: u64,
    window: Option<TypedWindow<u64>>,
    parts: [SourcePart; 1],
}

impl RangeCutter {
    /// Cuts `start..end`; nothing where `end` is not above `start`.
    #[must_use]
    pub fn new(input: u16, start: u64, end: u64) -> Self {
        let length = end.saturating_sub(start);
        let parts = [SourcePart {
            input,
            name: format!("range {start}..{end}"),
            length: Some(length),
            unit_bytes: RANGE_ITEM_BYTES,
            server: None,
            missing: false,
        }];
        Self { input, start, length, done: 0, window: None, parts }
    }

    /// How many of the next numbers, `nominal` at least, make a chunk that may end.
    fn allowed(&self, nominal: u64) -> Result<u64, SourceError> {
        let rest = self.length - self.done;
        let Some(window) = &self.window else { return Ok(nominal) };
        let first = self.start + self.done;
        for length in nominal..rest {
            if window.ends_between(&(first + length - 1), &(first + length)) {
                return Ok(length);
            }
            if length - nominal >= WINDOW_BYTES_MAX / RANGE_ITEM_BYTES {
                return Err(window.too_long(self.name(), "number", self.done + nominal));
            }
        }
        Ok(rest)
    }

    fn name(&self) -> String {
        let [part] = &self.parts;
        part.name.clone()
    }

    /// Cuts the next `length` numbers, which are there.
    fn advance(&mut self, length: u64) -> Result<Cut, SourceError> {
        let cover = Cover { part: 0, offset: self.done, length };
        let start = self.start + self.done;
        self.done += length;
        let payload = Split::Range { start, end: start + length }.encode()?;
        let bytes = length.saturating_mul(RANGE_ITEM_BYTES);
        Ok(Cut { input: self.input, covers: vec![cover], entries: Some(length), bytes, payload, repeatable: true })
    }
}

impl Cutter for RangeCutter {
    fn cut(&mut self, target_bytes: u64, _target_items: u64) -> Result<Option<Cut>, SourceError> {
        let length = (self.length - self.done).min((target_bytes / RANGE_ITEM_BYTES).max(1));
        if length == 0 {
            return Ok(None);
        }
        let length = self.allowed(length)?;
        self.advance(length).map(Some)
    }

    fn parts(&self) -> &[SourcePart] {
        &self.parts
    }
}

impl ResumableCutter for RangeCutter {
    fn resume(&mut self, borders: &[Border], again: &mut dyn FnMut(usize, Cut)) -> Result<(), SourceError> {
        for (index, border) in borders.iter().enumerate() {
            let cover = single_cover(border, self.done);
            let Some(cover) = cover.filter(|cover| cover.length > 0 && cover.length <= self.length - self.done) else {
                return Err(SourceError::BordersDoNotFit { name: self.name() });
            };
            let cut = self.advance(cover.length)?;
            if border.wanted {
                again(index, cut);
            }
        }
        Ok(())
    }

    fn set_window(&mut self, window: &Window) -> Result<(), SourceError> {
        self.window = window.over_items();
        if self.window.is_some() { Ok(()) } else { Err(window.misfit(self.name(), "u64")) }
    }
}
