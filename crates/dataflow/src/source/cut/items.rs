//! Cuts iterators.

use std::fmt;

use elastic_flow_wire::message::{Payload, PayloadKind};
use xxhash_rust::xxh3::xxh3_64;

use super::super::{ItemBatches, SourceError, Window};
use super::{Border, ResumableCutter, single_cover};
use crate::seam::{Cover, Cut, Cutter, SourcePart};

/// Cuts the items of an iterator into batches.
pub struct ItemsCutter {
    input: u16,
    items: Box<dyn ItemBatches>,
    is_repeatable: bool,
    /// Items that are cut.
    done: u64,
    parts: [SourcePart; 1],
}

impl ItemsCutter {
    /// Cuts an iterator that can be made anew, under the name that errors give it.
    #[must_use]
    pub fn repeatable(input: u16, name: String, items: Box<dyn ItemBatches>) -> Self {
        Self::new(input, name, items, true)
    }

    /// Cuts an iterator that gives its items once.
    #[must_use]
    pub fn one_shot(input: u16, items: Box<dyn ItemBatches>) -> Self {
        Self::new(input, "iterator of the caller".to_owned(), items, false)
    }

    fn new(input: u16, name: String, items: Box<dyn ItemBatches>, is_repeatable: bool) -> Self {
        let parts = [SourcePart { input, name, length: None, unit_bytes: 1, server: None, missing: false }];
        Self { input, items, is_repeatable, done: 0, parts }
    }

    fn advance(&mut self, max_items: u64, max_bytes: u64) -> Result<Option<Cut>, SourceError> {
        let batch = self.items.next_batch(max_items, max_bytes);
        let Some((body, count)) = batch.filter(|(_, count)| *count > 0) else {
            return self.items.take_error().map_or(Ok(None), Err);
        };
        let cover = Cover { part: 0, offset: self.done, length: count };
        self.done += count;
        Ok(Some(Cut {
            input: self.input,
            covers: vec![cover],
            entries: Some(count),
            bytes: body.len() as u64,
            payload: Payload { kind: PayloadKind::Items, body },
            repeatable: self.is_repeatable,
        }))
    }

    fn name(&self) -> String {
        let [part] = &self.parts;
        part.name.clone()
    }
}

impl Cutter for ItemsCutter {
    fn cut(&mut self, target_bytes: u64, target_items: u64) -> Result<Option<Cut>, SourceError> {
        self.advance(target_items.max(1), target_bytes.max(1))
    }

    fn parts(&self) -> &[SourcePart] {
        &self.parts
    }
}

impl ResumableCutter for ItemsCutter {
    fn resume(&mut self, borders: &[Border], again: &mut dyn FnMut(usize, Cut)) -> Result<(), SourceError> {
        if !self.is_repeatable && !borders.is_empty() {
            return Err(SourceError::NotRepeatable { name: self.name() });
        }
        for (index, border) in borders.iter().enumerate() {
            let item = self.done;
            let Some(cover) = single_cover(border, item).filter(|cover| cover.length > 0) else {
                return Err(SourceError::BordersDoNotFit { name: self.name() });
            };
            let cut = self.advance(cover.length, u64::MAX)?.filter(|cut| cut.entries == Some(cover.length));
            let same = |cut: &Cut| border.digest.is_none_or(|digest| digest == xxh3_64(&cut.payload.body));
            let Some(cut) = cut.filter(same) else {
                return Err(SourceError::NotDeterministic { name: self.name(), item });
            };
            if border.wanted {
                again(index, cut);
            }
        }
        Ok(())
    }

    fn set_window(&mut self, window: &Window) -> Result<(), SourceError> {
        if self.items.set_window(window) { Ok(()) } else { Err(window.misfit(self.name(), self.items.item_type())) }
    }
}

impl fmt::Debug for ItemsCutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemsCutter").field("parts", &self.parts).field("done", &self.done).finish_non_exhaustive()
    }
}
