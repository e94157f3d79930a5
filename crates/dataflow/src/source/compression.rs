//! Which files are compressed, and how they are decoded.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Compressed bytes that are read at a time.
const INPUT_BYTES: usize = 128 * 1024;

/// How a file's content is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`, one or several members.
    Gzip,
    /// `.zst`, one or several frames.
    Zstd,
    /// `.bz2`, one or several streams.
    Bzip2,
}

impl Compression {
    /// Goes by the ending of the name, in either case.
    pub(super) fn of(path: &str) -> Self {
        let ending = Path::new(path).extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            Some("bz2") => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// The name of the format and of its tool.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "plain text",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// A streaming decoder over the first `length` bytes of `file`, which stands at its beginning.
    pub(super) fn decoder(self, file: File, length: u64) -> io::Result<Box<dyn Read + Send>> {
        let input = BufReader::with_capacity(INPUT_BYTES, file.take(length));
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        })
    }
}
