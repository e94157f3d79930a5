//! Cuts files at fixed offsets, or behind them where a window ends; small ones are packed together.

use super::super::compression::Compression;
use super::super::payload::{FileSlice, Split};
use super::super::window::LINES;
use super::super::{FileAtSubmission, PartData, ResolvedPart, SourceError, TypedWindow, Window};
use super::line_end::allowed_end;
use super::{Border, ResumableCutter};
use crate::seam::{Cover, Cut, Cutter, SourcePart};

/// Files that one chunk is packed from at most: bounds its descriptor, and gives other workers their share of a folder of
/// many tiny files.
const PACKED_FILES_MAX: usize = 512;
/// The last stretch of a file may be longer than the target by this part of it, so that no crumb is left.
const CRUMB_DIVISOR: u64 = 4;

/// Cuts the lines of files into splits.
///
/// Of a file no more is read than the ends of each stretch, for its digest: borders are byte offsets, and the reader finds
/// the lines that start between them. A file that is no longer the one of the submission is cut all the same, so that its
/// chunks, and only these, fail by name.
///
/// With a window it reads on from such an offset, and ends the stretch where a line starts and the window ends. Of a file that
/// cannot be read then, all that is left is one stretch: should it be back when the chunk is run, no window is torn.
#[derive(Debug)]
pub struct LinesCutter {
    input: u16,
    /// Where the files are, if the master cannot read them.
    server: Option<String>,
    files: Vec<FileAtSubmission>,
    parts: Vec<SourcePart>,
    position: Position,
    window: Option<TypedWindow<[u8]>>,
}

/// The first byte that is not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    file: usize,
    offset: u64,
}

impl LinesCutter {
    /// Cuts `files` in their order. The index of a part is that of its file.
    #[must_use]
    pub fn new(input: u16, files: Vec<FileAtSubmission>) -> Self {
        Self::over(input, None, files)
    }

    /// Cuts files that lie on a server and that the master cannot look at: that server alone is to read them.
    #[must_use]
    pub fn on(input: u16, server: String, files: Vec<FileAtSubmission>) -> Self {
        Self::over(input, Some(server), files)
    }

    fn over(input: u16, server: Option<String>, files: Vec<FileAtSubmission>) -> Self {
        let part = |file: &FileAtSubmission| match server.clone() {
            None => PartData::File(file.clone()),
            Some(server) => PartData::FileOn { server, file: file.clone() },
        };
        let parts = files.iter().map(|file| ResolvedPart { input, data: part(file) }.source_part()).collect();
        Self { input, server, files, parts, position: Position { file: 0, offset: 0 }, window: None }
    }

    /// The covers of the next chunk; empty at the end.
    fn next_covers(&mut self, target_bytes: u64) -> Vec<Cover> {
        let target = target_bytes.max(1);
        let mut covers = Vec::new();
        let mut bytes = 0;
        while let Some(file) = self.files.get(self.position.file) {
            let rest = file.length.saturating_sub(self.position.offset);
            let alone = file.compression != Compression::None;
            let fits = !alone && rest <= target - bytes;
            if !fits && !covers.is_empty() {
                break;
            }
            let whole = fits || alone || rest <= target.saturating_add(target / CRUMB_DIVISOR);
            let length = if whole { rest } else { self.stretch(file, target) };
            covers.push(self.advance(length));
            bytes += length;
            if alone || bytes >= target || covers.len() >= PACKED_FILES_MAX {
                break;
            }
        }
        covers
    }

    /// The length of a stretch of `target` bytes that does not end its file, as the window has it.
    fn stretch(&self, file: &FileAtSubmission, target: u64) -> u64 {
        let Some(window) = &self.window else { return target };
        let offset = self.position.offset;
        let end = allowed_end(file, offset.saturating_add(target), window).unwrap_or(file.length);
        end.saturating_sub(offset)
    }

    /// Covers `length` bytes from the position, within its file, and goes behind them.
    fn advance(&mut self, length: u64) -> Cover {
        let Position { file, offset } = self.position;
        let end = offset.saturating_add(length);
        self.position = if self.files.get(file).is_some_and(|known| end < known.length) {
            Position { file, offset: end }
        } else {
            Position { file: file.saturating_add(1), offset: 0 }
        };
        Cover { part: u32::try_from(file).unwrap_or(u32::MAX), offset, length }
    }

    fn make(&self, covers: Vec<Cover>) -> Result<Cut, SourceError> {
        let mut slices = Vec::with_capacity(covers.len());
        for cover in &covers {
            let file = usize::try_from(cover.part).ok().and_then(|index| self.files.get(index));
            let file = file.ok_or_else(|| self.misfit())?.clone();
            let server = self.server.clone();
            let mut slice = FileSlice { file, offset: cover.offset, length: cover.length, ends: None, server };
            slice.ends = slice.vouch();
            slices.push(slice);
        }
        let bytes = covers.iter().map(|cover| cover.length).sum();
        let payload = Split::Files(slices).encode()?;
        Ok(Cut { input: self.input, covers, entries: None, bytes, payload, repeatable: true })
    }

    /// Goes behind a cover of an earlier life; false if it does not start at the position or leaves its file.
    fn skip(&mut self, cover: &Cover) -> bool {
        let Position { file, offset } = self.position;
        let Some(known) = self.files.get(file) else { return false };
        let rest = known.length.saturating_sub(offset);
        let fits = u32::try_from(file) == Ok(cover.part) && cover.offset == offset && cover.length <= rest;
        if !fits || (cover.length == 0 && rest > 0) {
            return false;
        }
        self.advance(cover.length);
        true
    }

    fn misfit(&self) -> SourceError {
        let name = self.files.get(self.position.file).or_else(|| self.files.last()).map(|file| file.path.clone());
        SourceError::BordersDoNotFit { name: name.unwrap_or_default() }
    }
}

impl Cutter for LinesCutter {
    fn cut(&mut self, target_bytes: u64, _target_items: u64) -> Result<Option<Cut>, SourceError> {
        let covers = self.next_covers(target_bytes);
        if covers.is_empty() { Ok(None) } else { self.make(covers).map(Some) }
    }

    fn parts(&self) -> &[SourcePart] {
        &self.parts
    }
}

impl ResumableCutter for LinesCutter {
    fn resume(&mut self, borders: &[Border], again: &mut dyn FnMut(usize, Cut)) -> Result<(), SourceError> {
        for (index, border) in borders.iter().enumerate() {
            if border.covers.is_empty() || !border.covers.iter().all(|cover| self.skip(cover)) {
                return Err(self.misfit());
            }
            if border.wanted {
                again(index, self.make(border.covers.clone())?);
            }
        }
        Ok(())
    }

    fn set_window(&mut self, window: &Window) -> Result<(), SourceError> {
        let name = || self.parts.first().map(|part| part.name.clone()).unwrap_or_default();
        if self.server.is_some() {
            return Err(SourceError::WindowElsewhere { window: window.name().to_owned(), name: name() });
        }
        self.window = window.over_lines();
        if self.window.is_some() { Ok(()) } else { Err(window.misfit(name(), LINES)) }
    }
}
