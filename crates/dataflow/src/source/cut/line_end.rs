//! Finds the place in a file where a window lets a stretch end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use memchr::memrchr;

use super::super::blocks::LINE_BYTES_MAX;
use super::super::{FileAtSubmission, SourceError, TypedWindow};

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The first line start at or behind `nominal` where the window ends; the end of the file where there is none.
///
/// Held in memory are two lines and a buffer, however long the window is. `nominal` lies within the file, and not at its start.
///
/// # Errors
/// The file is not the one of the submission, cannot be read, or has a line of more than [`LINE_BYTES_MAX`].
pub(super) fn allowed_end(
    file: &FileAtSubmission,
    nominal: u64,
    window: &TypedWindow<[u8]>,
) -> Result<u64, SourceError> {
    let mut opened = file.open()?.file;
    let found = match line_start(&mut opened, nominal.saturating_sub(1)) {
        Ok(Some(start)) => first_end(&mut opened, start, file.length, window),
        other => other,
    };
    match found {
        Ok(Some(end)) => Ok(end),
        Ok(None) => Err(SourceError::LineTooLong { name: file.path.clone(), limit_bytes: LINE_BYTES_MAX as u64 }),
        Err(error) => Err(file.not_read(&opened, error)),
    }
}

/// Where the line begins that holds the byte `at`; none if that is too far away.
fn line_start(file: &mut File, at: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; READ_BYTES];
    let mut end = at;
    while end > 0 {
        if at - end > LINE_BYTES_MAX as u64 {
            return Ok(None);
        }
        let begin = end.saturating_sub(READ_BYTES as u64);
        let count = usize::try_from(end - begin).unwrap_or(READ_BYTES);
        let Some(block) = buffer.get_mut(..count) else { return Ok(None) };
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(block)?;
        if let Some(newline) = memrchr(b'\n', block) {
            return Ok(Some(begin + newline as u64 + 1));
        }
        end = begin;
    }
    Ok(Some(0))
}

/// The first border behind the line that begins at `start` where the window ends; none where a line is too long.
fn first_end(file: &mut File, start: u64, length: u64, window: &TypedWindow<[u8]>) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(start))?;
    let mut lines = BufReader::with_capacity(READ_BYTES, file).take(0);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut end = start;
    loop {
        if end >= length {
            return Ok(Some(length));
        }
        after.clear();
        lines.set_limit((length - end).min(LINE_BYTES_MAX as u64));
        let count = lines.read_until(b'\n', &mut after)? as u64;
        let whole = after.pop_if(|last| *last == b'\n').is_some() || end + count == length;
        if !whole {
            return if count < LINE_BYTES_MAX as u64 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
        }
        if end > start && window.ends_between(&before, &after) {
            return Ok(Some(end));
        }
        end += count;
        std::mem::swap(&mut before, &mut after);
    }
}
