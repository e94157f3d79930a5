//! The bytes that one stretch of a file owns: the lines that start in it.
//!
//! Chunks are cut at fixed byte offsets without looking at the file; a reader finds the line borders. With `border(x)` = 0
//! for x = 0, else the byte behind the first newline at or after x - 1 (the end of the file where there is none), a stretch
//! `[a, b)` owns `[border(a), border(b))`. Neighbours so share no byte and leave none out, whatever the cuts are:
//!
//! ```text
//!   bytes      o n e \n t w o \n t h r e e \n
//!   cut at               ^ a                ^ b      owns "three\n"; "two\n" starts before a and is its neighbour's
//! ```
//!
//! A stretch in which no line starts owns nothing, and reads no further than its end to see it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use memchr::memchr;

use super::SourceError;
use super::compression::Compression;
use super::identity::{FileAtSubmission, Opened, Stamp, ends_digest};
use super::payload::FileSlice;

/// The first read where a newline is looked for; doubled with each further one.
const PROBE_BYTES: usize = 8 * 1024;

/// Reads the bytes that a stretch owns.
#[derive(Debug)]
pub(super) struct Stretch {
    slice: FileSlice,
    /// How the file was when it was opened.
    stamp: Stamp,
    input: Input,
    phase: Phase,
}

enum Input {
    Plain {
        file: File,
        /// Offset of the next byte to be read.
        position: u64,
    },
    Decoded {
        decoder: Box<dyn Read + Send>,
        /// The same open file, to look at.
        file: File,
    },
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain { position, .. } => f.debug_struct("Plain").field("position", position).finish(),
            Self::Decoded { .. } => f.write_str("Decoded"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Looks for the first line that starts in the stretch; the next read takes so many bytes.
    Seek(usize),
    /// Within the stretch.
    Inside,
    /// Behind the stretch, in its last line.
    Tail(usize),
    /// Everything was given.
    End,
}

impl Stretch {
    /// Opens the file and makes sure that it is the one that was cut.
    pub(super) fn open(slice: FileSlice) -> Result<Self, SourceError> {
        let Opened { mut file, stamp } = slice.file.open()?;
        check_slice(&slice, &mut file, stamp)?;
        Self::start(slice, file, stamp)
    }

    /// Opens a file that was found to be the right one before, and to which nothing but appended bytes came since.
    pub(super) fn open_again(slice: FileSlice, seen: Stamp) -> Result<Self, SourceError> {
        let Opened { mut file, stamp } = slice.file.open_by_length()?;
        check_unchanged(&slice, &mut file, seen, stamp)?;
        Self::start(slice, file, stamp)
    }

    fn start(slice: FileSlice, mut file: File, stamp: Stamp) -> Result<Self, SourceError> {
        // A stretch that does not begin its file looks for its first line from the byte before.
        let position = slice.offset.saturating_sub(1);
        let phase = match (slice.length, slice.offset) {
            (0, _) => Phase::End,
            (_, 0) => Phase::Inside,
            _ => Phase::Seek(PROBE_BYTES),
        };
        let read = |source| SourceError::Read { name: slice.file.path.clone(), source };
        file.seek(SeekFrom::Start(position)).map_err(read)?;
        let input = if slice.file.compression == Compression::None {
            Input::Plain { file, position }
        } else {
            let reader = file.try_clone().map_err(read)?;
            let decoder = slice.file.compression.decoder(reader, slice.file.length).map_err(read)?;
            Input::Decoded { decoder, file }
        };
        Ok(Self { slice, stamp, input, phase })
    }

    pub(super) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(super) fn path(&self) -> &str {
        &self.slice.file.path
    }

    /// Bytes of the stretch accounted for.
    pub(super) fn bytes_read(&self) -> u64 {
        match (&self.phase, &self.input) {
            (Phase::End, _) => self.slice.length,
            (_, Input::Plain { position, .. }) => position.saturating_sub(self.slice.offset).min(self.slice.length),
            (_, Input::Decoded { .. }) => 0,
        }
    }

    /// Reads owned bytes into `into`, which is not empty; 0 at the end, where the file was looked at once more.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            let count = match self.phase {
                Phase::Seek(window) => self.seek_line(into, window)?,
                Phase::Inside => self.read_inside(into)?,
                Phase::Tail(window) => self.read_tail(into, window)?,
                Phase::End => return Ok(0),
            };
            if self.phase == Phase::End {
                self.check_unchanged()?;
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Skips the line that began before the stretch; gives what follows it in what was read.
    fn seek_line(&mut self, into: &mut [u8], window: usize) -> Result<usize, SourceError> {
        // A newline at the last byte starts a line behind the stretch: no need to look at it.
        let last = self.slice.end() - 1;
        let count = self.read_plain(into, last, window)?;
        if count == 0 {
            self.phase = Phase::End;
            return Ok(0);
        }
        let Some(newline) = into.get(..count).and_then(|read| memchr(b'\n', read)) else {
            self.phase = Phase::Seek(window.saturating_mul(2));
            return Ok(0);
        };
        self.phase = Phase::Inside;
        into.copy_within(newline + 1..count, 0);
        Ok(count - newline - 1)
    }

    fn read_inside(&mut self, into: &mut [u8]) -> Result<usize, SourceError> {
        let end = self.slice.end();
        let (file, position) = match &mut self.input {
            Input::Decoded { decoder, .. } => {
                let count = match retry(|| decoder.read(into)) {
                    Ok(count) => count,
                    Err(error) => return Err(self.not_decoded(error)),
                };
                if count == 0 {
                    self.phase = Phase::End;
                }
                return Ok(count);
            }
            Input::Plain { file, position } => (file, position),
        };
        let count = read_some(&self.slice.file, file, position, into, end, usize::MAX)?;
        if *position == end {
            let ended = count.checked_sub(1).and_then(|last| into.get(last)) == Some(&b'\n');
            self.phase = if ended || end == self.slice.file.length { Phase::End } else { Phase::Tail(PROBE_BYTES) };
        }
        Ok(count)
    }

    /// Reads on to the end of the last line.
    fn read_tail(&mut self, into: &mut [u8], window: usize) -> Result<usize, SourceError> {
        let count = self.read_plain(into, self.slice.file.length, window)?;
        if count == 0 {
            self.phase = Phase::End;
            return Ok(0);
        }
        if let Some(newline) = into.get(..count).and_then(|read| memchr(b'\n', read)) {
            self.phase = Phase::End;
            return Ok(newline + 1);
        }
        self.phase = Phase::Tail(window.saturating_mul(2));
        Ok(count)
    }

    /// Reads up to `window` bytes of those before `limit`.
    fn read_plain(&mut self, into: &mut [u8], limit: u64, window: usize) -> Result<usize, SourceError> {
        match &mut self.input {
            Input::Plain { file, position } => read_some(&self.slice.file, file, position, into, limit, window),
            // Compressed files are never split, so they are read from the beginning to the end.
            Input::Decoded { .. } => Ok(0),
        }
    }

    /// What a failed decoder means: the disk failed, the file was written to, or the content is bad.
    fn not_decoded(&mut self, error: io::Error) -> SourceError {
        let submitted = &self.slice.file;
        let (Input::Plain { file, .. } | Input::Decoded { file, .. }) = &self.input;
        if error.raw_os_error().is_some() {
            return submitted.not_read(file, error);
        }
        let (path, format) = (submitted.path.clone(), submitted.compression.name());
        self.check_unchanged().err().unwrap_or(SourceError::Corrupt { path, format, source: error })
    }

    /// Whether the file was left alone while it was read.
    fn check_unchanged(&mut self) -> Result<(), SourceError> {
        let (Input::Plain { file, .. } | Input::Decoded { file, .. }) = &mut self.input;
        let now = Stamp::of(file).map_err(|error| self.slice.file.not_read(file, error))?;
        check_unchanged(&self.slice, file, self.stamp, now)
    }
}

/// Makes sure that nothing happened to a file since it was `seen` but that bytes were appended, which are not read. Leaves the
/// file anywhere.
fn check_unchanged(slice: &FileSlice, file: &mut File, seen: Stamp, now: Stamp) -> Result<(), SourceError> {
    let submitted = &slice.file;
    if now.length < submitted.length {
        return Err(submitted.shrunk(now.length));
    }
    if now == seen {
        return Ok(());
    }
    let grown = now.length > seen.length;
    if !grown || ends_digest(file, 0, submitted.length).ok() != Some(submitted.ends) {
        return Err(submitted.changed_while_read(now.length));
    }
    match check_slice(slice, file, now) {
        Err(SourceError::Changed { .. }) => Err(submitted.changed_while_read(now.length)),
        other => other,
    }
}

/// Makes sure that the stretch has the ends that it had when it was cut. Leaves the file anywhere.
fn check_slice(slice: &FileSlice, file: &mut File, found: Stamp) -> Result<(), SourceError> {
    let found_bytes = found.length;
    if slice.server.is_some() {
        // The very server that noted the time reads it: where nothing was appended, the time says whether it was written to.
        let appended = found_bytes > slice.file.length;
        let same = appended || found.is_of(&slice.file);
        return if same { Ok(()) } else { Err(slice.file.changed(found_bytes)) };
    }
    if slice.is_whole() {
        // Its ends are those of the file.
        return Ok(());
    }
    match ends_digest(file, slice.offset, slice.length) {
        Ok(ends) if Some(ends) == slice.ends => Ok(()),
        Ok(_) => Err(slice.file.changed(found_bytes)),
        Err(error) => Err(slice.file.not_read(file, error)),
    }
}

/// One read of up to `window` bytes before `limit`; 0 only at the limit.
fn read_some(
    submitted: &FileAtSubmission,
    file: &mut File,
    position: &mut u64,
    into: &mut [u8],
    limit: u64,
    window: usize,
) -> Result<usize, SourceError> {
    let left = usize::try_from(limit.saturating_sub(*position)).unwrap_or(usize::MAX);
    let wanted = left.min(window).min(into.len());
    let Some(target) = into.get_mut(..wanted).filter(|target| !target.is_empty()) else { return Ok(0) };
    match retry(|| file.read(target)) {
        Ok(0) => Err(submitted.not_read(file, ErrorKind::UnexpectedEof.into())),
        Ok(count) => {
            *position = position.saturating_add(count as u64);
            Ok(count)
        }
        Err(error) => Err(submitted.not_read(file, error)),
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
