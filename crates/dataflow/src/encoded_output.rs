//! A program's output as bytes that lose nothing, for a process that has the same type.
//!
//! ```text
//! +-----------+--------+----------------+-------------+------------------------------+
//! | "EFOUT"   | format | length of type | type's name | body: the value, in the wire |
//! | 5 bytes   | u8 = 1 | u16, little    | UTF-8       | codec                        |
//! +-----------+--------+----------------+-------------+------------------------------+
//! ```

use std::any::type_name;
use std::io;

use elastic_flow_wire::{CodecError, Sink, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the bytes begin with.
const MAGIC: &[u8; 5] = b"EFOUT";
/// Version of the layout.
const FORMAT: u8 = 1;
/// The longest name of a type that is sent whole.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// Why bytes are not an output of the type that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// They do not begin as an output does.
    #[error("these {0} bytes are no encoded output: another format was asked for, or they were cut short")]
    Head(usize),
    /// Written by another version.
    #[error("the output is encoded in format {0}, this build reads format {FORMAT}: use the build of the master")]
    Format(u8),
    /// It is of another type.
    #[error("the output is a {found}, and a {expected} is asked for: use the program that the step was submitted with")]
    Type {
        /// The type that is asked for.
        expected: String,
        /// The type that it is.
        found: String,
    },
    /// The value does not decode: the type has that name, and other fields.
    #[error(
        "the output does not decode as {name}, which another build may define otherwise: use the build of the master"
    )]
    Value {
        /// The type's name.
        name: String,
        /// Why not.
        source: CodecError,
    },
}

/// Writes `value` with the name of its type, streamed.
pub(crate) fn write_encoded<O: Serialize>(value: &O, out: &mut dyn io::Write) -> io::Result<()> {
    let name = type_name::<O>();
    let length = u16::try_from(name.len()).map_err(|_| {
        io::Error::other(format!(
            "the name of the output's type is longer than {NAME_BYTES_MAX} bytes: give it a short one"
        ))
    })?;
    out.write_all(MAGIC)?;
    out.write_all(&[FORMAT])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(name.as_bytes())?;
    let mut body = Stream { out, failed: None };
    let encoded = encode(value, &mut body);
    if let Some(error) = body.failed {
        return Err(error);
    }
    encoded.map_err(io::Error::other)
}

/// Reads an output that [`StepOutput::encode`](crate::seam::StepOutput::encode) wrote.
///
/// # Errors
/// The bytes are of another type, or are not whole. A type of the same name that another build defines otherwise is refused where its
/// encoding shows it.
pub fn read_encoded<O: DeserializeOwned>(bytes: &[u8]) -> Result<O, OutputError> {
    let head = || OutputError::Head(bytes.len());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(head)?;
    let (format, rest) = rest.split_first().ok_or_else(head)?;
    if *format != FORMAT {
        return Err(OutputError::Format(*format));
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(head)?;
    let (found, body) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or_else(head)?;
    let name = type_name::<O>();
    if found != name.as_bytes() {
        let found = String::from_utf8_lossy(found).into_owned();
        return Err(OutputError::Type { expected: name.to_owned(), found });
    }
    decode(body).map_err(|source| OutputError::Value { name: name.to_owned(), source })
}

/// Hands the encoding on as it comes. Its first error ends the writing; what follows is dropped.
struct Stream<'a> {
    out: &'a mut dyn io::Write,
    failed: Option<io::Error>,
}

impl Sink for Stream<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(bytes).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn encoded<O: Serialize>(value: &O) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_encoded(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_json_would_lose_comes_back() {
        let value: BTreeMap<(u64, Option<Vec<u8>>), f64> =
            [((u64::MAX, None), f64::NAN), ((1, Some(vec![0, 255])), f64::NEG_INFINITY)].into();
        let back: BTreeMap<(u64, Option<Vec<u8>>), f64> = read_encoded(&encoded(&value)).unwrap();
        assert!(back[&(u64::MAX, None)].is_nan());
        assert_eq!(back[&(1, Some(vec![0, 255]))], f64::NEG_INFINITY);
    }

    #[test]
    fn another_type_is_refused_by_name_though_its_bytes_would_do() {
        let error = read_encoded::<i64>(&encoded(&7_u64)).unwrap_err();
        assert_eq!(error, OutputError::Type { expected: "i64".to_owned(), found: "u64".to_owned() });
    }

    #[test]
    fn no_part_and_nothing_longer_is_read_and_nothing_panics() {
        let bytes = encoded(&vec!["a".to_owned(), "bc".to_owned()]);
        for end in 0..bytes.len() {
            assert!(read_encoded::<Vec<String>>(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(read_encoded::<Vec<String>>(&[&bytes[..], b"x"].concat()).is_err());
        let mut newer = bytes;
        newer[MAGIC.len()] = 2;
        assert_eq!(read_encoded::<Vec<String>>(&newer), Err(OutputError::Format(2)));
    }

    #[test]
    fn an_error_of_the_writer_ends_the_writing() {
        struct Full(usize);
        impl io::Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = write_encoded(&vec![1_u64; 100], &mut Full(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
