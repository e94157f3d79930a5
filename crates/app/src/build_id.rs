//! The build: a digest of the executable, equal for equal builds.

use std::fs::File;
use std::io::{self, Read};

use xxhash_rust::xxh3::Xxh3;

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// The digest of this process's executable.
///
/// # Errors
/// The executable cannot be read.
pub fn build_id() -> io::Result<u128> {
    // The link leads to the very file that runs, even where another one has taken its path since.
    let file = match File::open("/proc/self/exe") {
        Ok(file) => file,
        Err(_) => File::open(std::env::current_exe()?)?,
    };
    digest(file)
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
    fn a_process_has_one_build() {
        assert_eq!(build_id().unwrap(), build_id().unwrap());
    }
}
