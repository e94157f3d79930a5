//! Cutting sources into chunks, on the master.

mod items;
mod line_end;
mod lines;
mod range;
mod standard_input;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};

pub use self::items::ItemsCutter;
pub use self::lines::LinesCutter;
pub use self::range::RangeCutter;
pub use self::standard_input::StandardInputCutter;
use super::{FileAtSubmission, ItemBatches, PartData, ResolvedSource, SourceError, Window};
use crate::seam::{Cover, Cut, Cutter, SourcePart};

/// A chunk that was cut in an earlier life of the master, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Border {
    /// What it covers.
    pub covers: Vec<Cover>,
    /// xxh3 of its payload, where that is to be compared: of items that are made anew. A split says by itself what it is.
    pub digest: Option<u64>,
    /// Whether the payload is needed again.
    pub wanted: bool,
}

/// A cutter that goes on where an earlier one over the same source stopped.
pub trait ResumableCutter: Cutter {
    /// Skips the chunks that were cut before: all of them, in their order. Only before the first `cut`.
    ///
    /// Each that is wanted is cut again along the same borders and given to `again` with its index in `borders`.
    ///
    /// # Errors
    /// [`SourceError::BordersDoNotFit`] if the chunks are not the beginning of this source,
    /// [`SourceError::NotRepeatable`] if it gives its data only once, [`SourceError::NotDeterministic`] if an iterator
    /// that was made anew gives something else.
    fn resume(&mut self, borders: &[Border], again: &mut dyn FnMut(usize, Cut)) -> Result<(), SourceError>;

    /// From now on a chunk ends where it would, or at the next place behind it where `window` ends, or at the end of its file,
    /// range or iterator. Called once, behind `resume`, whose borders stay as they were, and before the first `cut`.
    ///
    /// # Errors
    /// [`SourceError::WindowType`] if the window is over something else than the source gives.
    fn set_window(&mut self, window: &Window) -> Result<(), SourceError>;
}

/// Where the sources that are not files come from.
pub trait Suppliers {
    /// Standard input.
    fn standard_input(&mut self) -> Box<dyn Read + Send> {
        Box::new(io::stdin())
    }

    /// Makes the iterator that is registered under `name` anew; none where there is no such name.
    fn registered(&mut self, name: &str) -> Option<Box<dyn ItemBatches>>;

    /// Takes the iterator that the caller handed over for an input; none where there is none any more.
    fn one_shot(&mut self, input: u16) -> Option<Box<dyn ItemBatches>>;
}

/// Cuts all inputs of a step, one part after the other.
pub struct SourceCutter {
    parts: Vec<SourcePart>,
    /// What is not cut to its end, with the index of its first part.
    waiting: VecDeque<(u32, Box<dyn ResumableCutter>)>,
}

impl SourceCutter {
    /// Opens iterators and standard input; files are opened as they are cut, but for those on other servers, which are not.
    ///
    /// # Errors
    /// [`SourceError::NotExpanded`] before [`ResolvedSource::with_answers`]; [`SourceError::NotRegistered`] or, for an iterator that was handed over, [`SourceError::NotRepeatable`] if a supplier
    /// has none.
    pub fn new(source: &ResolvedSource, suppliers: &mut dyn Suppliers) -> Result<Self, SourceError> {
        let parts = source.source_parts();
        let mut waiting = VecDeque::new();
        let mut files: Vec<FileAtSubmission> = Vec::new();
        let mut rest = source.parts.iter().zip(0_u32..).peekable();
        while let Some((part, index)) = rest.next() {
            let input = part.input;
            let cutter: Box<dyn ResumableCutter> = match &part.data {
                PartData::File(file) | PartData::FileOn { file, .. } => {
                    files.push(file.clone());
                    if rest.peek().is_some_and(|(next, _)| part.is_beside(next)) {
                        continue;
                    }
                    let files = std::mem::take(&mut files);
                    let first = index.saturating_sub(u32::try_from(files.len()).unwrap_or(u32::MAX).saturating_sub(1));
                    let cutter = if let PartData::FileOn { server, .. } = &part.data {
                        LinesCutter::on(input, server.clone(), files)
                    } else {
                        LinesCutter::new(input, files)
                    };
                    waiting.push_back((first, Box::new(cutter) as Box<dyn ResumableCutter>));
                    continue;
                }
                PartData::Missing { .. } => continue,
                PartData::EachWorker { .. } => {
                    let name = parts.get(index as usize).map(|part| part.name.clone()).unwrap_or_default();
                    return Err(SourceError::NotExpanded { name });
                }
                PartData::StandardInput => Box::new(StandardInputCutter::new(input, suppliers.standard_input())),
                PartData::Range { start, end } => Box::new(RangeCutter::new(input, *start, *end)),
                PartData::Registered { name } => {
                    let items = suppliers.registered(name);
                    let items = items.ok_or_else(|| SourceError::NotRegistered { name: name.clone() })?;
                    Box::new(ItemsCutter::repeatable(input, format!("registered source {name}"), items))
                }
                PartData::OneShot => {
                    let name = "the iterator of the caller".to_owned();
                    let items = suppliers.one_shot(input).ok_or(SourceError::NotRepeatable { name })?;
                    Box::new(ItemsCutter::one_shot(input, items))
                }
            };
            waiting.push_back((index, cutter));
        }
        Ok(Self { parts, waiting })
    }

    fn name_of(&self, part: u32) -> String {
        let part = usize::try_from(part).ok().and_then(|part| self.parts.get(part));
        part.map_or_else(|| "of the step".to_owned(), |part| part.name.clone())
    }
}

impl Cutter for SourceCutter {
    fn cut(&mut self, target_bytes: u64, target_items: u64) -> Result<Option<Cut>, SourceError> {
        while let Some((first, cutter)) = self.waiting.front_mut() {
            if let Some(cut) = cutter.cut(target_bytes, target_items)? {
                return Ok(Some(shifted(cut, *first)));
            }
            self.waiting.pop_front();
        }
        Ok(None)
    }

    fn parts(&self) -> &[SourcePart] {
        &self.parts
    }
}

impl ResumableCutter for SourceCutter {
    fn resume(&mut self, borders: &[Border], again: &mut dyn FnMut(usize, Cut)) -> Result<(), SourceError> {
        let mut done = 0;
        while let Some(border) = borders.get(done) {
            let part = border.covers.first().map_or(0, |cover| cover.part);
            let misfit = SourceError::BordersDoNotFit { name: self.name_of(part) };
            let second = self.waiting.get(1).map(|(first, _)| *first);
            let Some((first, cutter)) = self.waiting.front_mut() else { return Err(misfit) };
            if second.is_some_and(|second| part >= second) {
                // An earlier life went on to the next part, so nothing may be left of this one.
                if cutter.cut(1, 1)?.is_some() {
                    return Err(misfit);
                }
                self.waiting.pop_front();
                continue;
            }
            let first = *first;
            let own = |border: &&Border| {
                border.covers.iter().all(|cover| cover.part >= first && second.is_none_or(|second| cover.part < second))
            };
            let run: Vec<Border> =
                borders.iter().skip(done).take_while(own).map(|border| relative(border, first)).collect();
            if run.is_empty() {
                return Err(misfit);
            }
            cutter.resume(&run, &mut |index, cut| again(done + index, shifted(cut, first)))?;
            done += run.len();
        }
        Ok(())
    }

    fn set_window(&mut self, window: &Window) -> Result<(), SourceError> {
        self.waiting.iter_mut().try_for_each(|(_, cutter)| cutter.set_window(window))
    }
}

impl fmt::Debug for SourceCutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceCutter").field("parts", &self.parts).field("cutters_left", &self.waiting.len()).finish()
    }
}

/// The cut with the parts numbered as those of the step.
fn shifted(mut cut: Cut, first: u32) -> Cut {
    for cover in &mut cut.covers {
        cover.part = cover.part.saturating_add(first);
    }
    cut
}

/// The border with the parts numbered as those of one cutter.
fn relative(border: &Border, first: u32) -> Border {
    let covers = border.covers.iter().map(|cover| Cover { part: cover.part.saturating_sub(first), ..*cover });
    Border { covers: covers.collect(), ..*border }
}

/// The only cover of a border of a part that is not packed, if it goes on at `offset`.
fn single_cover(border: &Border, offset: u64) -> Option<Cover> {
    match border.covers.as_slice() {
        [cover] if cover.part == 0 && cover.offset == offset => Some(*cover),
        _ => None,
    }
}
