//! Cuts a range of numbers.

use super::super::payload::Split;
use super::super::{RANGE_ITEM_BYTES, SourceError};
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
        }];
        Self { input, start, length, done: 0, parts }
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
        if length == 0 { Ok(None) } else { self.advance(length).map(Some) }
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
                let [part] = &self.parts;
                return Err(SourceError::BordersDoNotFit { name: part.name.clone() });
            };
            let cut = self.advance(cover.length)?;
            if border.wanted {
                again(index, cut);
            }
        }
        Ok(())
    }
}
