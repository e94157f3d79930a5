//! The build: a digest of the executable, equal for equal builds.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use xxhash_rust::xxh3::Xxh3;

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// An executable file as the system knows it: while these are equal, so is the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity([i128; 5]);

impl FileIdentity {
    /// That of this process's executable.
    ///
    /// # Errors
    /// The executable cannot be looked at.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let metadata = open()?.metadata()?;
        Ok(Self([
            metadata.dev().into(),
            metadata.ino().into(),
            metadata.len().into(),
            metadata.mtime().into(),
            metadata.mtime_nsec().into(),
        ]))
    }
}

/// A build with the file it was computed from, as one process tells it to another: `BUILD DEV INODE BYTES SECONDS NANOSECONDS`.
pub(crate) fn to_line(build: u128, file: FileIdentity) -> String {
    let [device, inode, bytes, seconds, nanos] = file.0;
    format!("{build:032x} {device} {inode} {bytes} {seconds} {nanos}")
}

/// The build that a line tells, if it was computed from `file`.
pub(crate) fn from_line(line: &str, file: FileIdentity) -> Option<u128> {
    let build = u128::from_str_radix(line.split(' ').next()?, 16).ok()?;
    (line == to_line(build, file)).then_some(build)
}

/// The digest of this process's executable.
///
/// # Errors
/// The executable cannot be read.
pub fn build_id() -> io::Result<u128> {
    digest(open()?)
}

/// The link leads to the very file that runs, even where another one has taken its path since.
fn open() -> io::Result<File> {
    match File::open("/proc/self/exe") {
        Ok(file) => Ok(file),
        Err(_) => File::open(std::env::current_exe()?),
    }
}

fn digest(mut input: impl Read) -> io::Result<u128> {
    let mut hash = Xxh3::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match input.read(&mut block) {
            Ok(0) => return Ok(hash.digest128()),
            Ok(length) => hash.update(block.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_whole_content() {
        let content: Vec<u8> = (0..BLOCK_BYTES * 2 + 7).map(|index| u8::try_from(index % 251).unwrap()).collect();
        assert_eq!(digest(content.as_slice()).unwrap(), xxhash_rust::xxh3::xxh3_128(&content));
        let mut other = content.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_ne!(digest(other.as_slice()).unwrap(), digest(content.as_slice()).unwrap());
    }

    #[test]
    fn a_told_build_is_taken_for_the_same_file_alone() {
        let file = FileIdentity::of_this_process().unwrap();
        let line = to_line(u128::MAX - 1, file);
        assert_eq!(from_line(&line, file), Some(u128::MAX - 1));
        let mut other = file;
        other.0[1] += 1;
        assert_eq!(from_line(&line, other), None);
        assert_eq!(from_line("", file), None);
        assert_eq!(from_line(&format!("{line} 1"), file), None);
    }
}
