//! How a file is known again: by its size at submission and a digest of its ends.
//!
//! A copy on another server counts as the same file, so neither inode nor modification time decide; the time is kept for
//! messages. The digest covers the first and last 4 KiB of a stretch, which finds files that were replaced, rotated or
//! cut, without reading them; a change in the midst of a file that keeps its size is found only while it happens. So what
//! was found then must not be tried again, since a second reader would find nothing.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::SourceError;
use super::compression::Compression;

/// Bytes at either end of a stretch that its digest covers.
const END_BYTES: u64 = 4 * 1024;

/// A file as it was when the step was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAtSubmission {
    /// The absolute path.
    pub path: String,
    /// The size in bytes; what was appended since is not read.
    pub length: u64,
    /// Nanoseconds since 1970 of the last modification: for the audit's notes, and decides only where the server that noted it
    /// reads the file as well.
    pub modified_nanos: i64,
    /// Digest of the ends of the first `length` bytes.
    pub ends: u64,
    /// How the content is encoded, by the ending of the name.
    pub compression: Compression,
}

impl FileAtSubmission {
    /// Whether readers compare all of it, since its ends meet.
    pub(super) const fn is_all_ends(&self) -> bool {
        self.length <= 2 * END_BYTES
    }

    /// Looks at the file now.
    pub(super) fn look(path: String) -> Result<Self, SourceError> {
        let failed = |path: &str, source| SourceError::Open { path: path.to_owned(), source };
        let metadata = fs::metadata(&path).map_err(|error| failed(&path, error))?;
        if metadata.is_dir() {
            return Err(SourceError::Directory { path });
        }
        if !metadata.is_file() {
            return Err(SourceError::NotRegular { path });
        }
        let mut file = File::open(&path).map_err(|error| failed(&path, error))?;
        let metadata = file.metadata().map_err(|error| failed(&path, error))?;
        let length = metadata.len();
        let ends = match ends_digest(&mut file, 0, length) {
            Ok(ends) => ends,
            Err(source) => return Err(SourceError::Read { name: path, source }),
        };
        let compression = Compression::of(&path);
        Ok(Self { path, length, modified_nanos: modified_nanos(&metadata), ends, compression })
    }

    /// Opens the file if it still is the one of the submission; a longer one is, if its beginning is.
    pub(super) fn open(&self) -> Result<Opened, SourceError> {
        let mut opened = self.open_by_length()?;
        match ends_digest(&mut opened.file, 0, self.length) {
            Ok(ends) if ends == self.ends => Ok(opened),
            Ok(_) => Err(self.changed(opened.stamp.length)),
            Err(error) => Err(self.not_read(&opened.file, error)),
        }
    }

    /// Opens a regular file that is long enough.
    pub(super) fn open_by_length(&self) -> Result<Opened, SourceError> {
        // Looked at before it is opened: opening a pipe of that name would wait for a writer.
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(SourceError::NotRegular { path: self.path.clone() }),
            Err(error) => return Err(self.not_opened(error)),
        }
        let file = File::open(&self.path).map_err(|error| self.not_opened(error))?;
        let stamp = Stamp::of(&file).map_err(|error| self.not_opened(error))?;
        if stamp.length < self.length { Err(self.shrunk(stamp.length)) } else { Ok(Opened { file, stamp }) }
    }

    fn not_opened(&self, source: io::Error) -> SourceError {
        if source.kind() == io::ErrorKind::NotFound {
            return SourceError::Gone { path: self.path.clone(), submitted_bytes: self.length };
        }
        SourceError::Open { path: self.path.clone(), source }
    }

    /// What a failed read of `file` means: it shrank, or the disk failed.
    pub(super) fn not_read(&self, file: &File, source: io::Error) -> SourceError {
        match file.metadata() {
            Ok(metadata) if metadata.len() < self.length => self.shrunk(metadata.len()),
            _ => SourceError::Read { name: self.path.clone(), source },
        }
    }

    pub(super) fn shrunk(&self, found_bytes: u64) -> SourceError {
        SourceError::Shrunk { path: self.path.clone(), submitted_bytes: self.length, found_bytes }
    }

    pub(super) fn changed(&self, found_bytes: u64) -> SourceError {
        SourceError::Changed { path: self.path.clone(), submitted_bytes: self.length, found_bytes }
    }

    pub(super) fn changed_while_read(&self, found_bytes: u64) -> SourceError {
        SourceError::ChangedWhileRead { path: self.path.clone(), submitted_bytes: self.length, found_bytes }
    }
}

/// An open file that was found to be the right one.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) stamp: Stamp,
}

/// What tells on one host that a file was written to between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) length: u64,
    modified_nanos: i64,
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { length: metadata.len(), modified_nanos: modified_nanos(&metadata) })
    }

    /// Whether a file has the size and the time that it had at submission, on the host that noted them.
    pub(super) const fn is_of(&self, file: &FileAtSubmission) -> bool {
        self.length == file.length && self.modified_nanos == file.modified_nanos
    }
}

/// Digest of the ends of the `length` bytes from `offset`; of all of them where they are few.
///
/// # Errors
/// The file cannot be read, or ends before.
pub(super) fn ends_digest(file: &mut File, offset: u64, length: u64) -> io::Result<u64> {
    let mut ends = Vec::new();
    if length <= 2 * END_BYTES {
        append_exactly(file, offset, length, &mut ends)?;
    } else {
        append_exactly(file, offset, END_BYTES, &mut ends)?;
        append_exactly(file, offset.saturating_add(length - END_BYTES), END_BYTES, &mut ends)?;
    }
    Ok(xxh3_64_with_seed(&ends, length))
}

fn append_exactly(file: &mut File, offset: u64, length: u64, to: &mut Vec<u8>) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    let read = file.take(length).read_to_end(to)?;
    if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Nanoseconds since 1970; 0 where the system does not say.
pub(super) fn modified_nanos(metadata: &Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
