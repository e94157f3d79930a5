//! Which store is meant, as data; nothing is opened here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::StoreError;

/// Most bytes of a registered backend's name.
const BACKEND_NAME_BYTES_MAX: usize = 64;

/// Which store is meant: `memory`, `fs:DIR`, `rocksdb:DIR`, or `NAME` or `NAME:ARG` of a registered backend.
///
/// # Examples
/// ```
/// use elastic_flow_store::StoreUrl;
///
/// let url: StoreUrl = "fs:/var/lib/flow".parse()?;
/// assert_eq!(url, StoreUrl::Fs("/var/lib/flow".into()));
/// assert_eq!(url.to_string(), "fs:/var/lib/flow");
/// # Ok::<(), elastic_flow_store::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// Kept in memory, gone with the process.
    Memory,
    /// The filesystem store in this folder.
    Fs(PathBuf),
    /// The RocksDB store in this folder.
    Rocksdb(PathBuf),
    /// A backend that was registered under a name.
    Registered {
        /// The backend's name: `[a-z][a-z0-9-]*`.
        name: String,
        /// What follows the first colon; empty where there is none.
        argument: String,
    },
}

impl FromStr for StoreUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let invalid = |detail: &str| StoreError::Invalid { url: text.to_owned(), detail: detail.to_owned() };
        let (scheme, argument) = match text.split_once(':') {
            Some((scheme, argument)) => (scheme, Some(argument)),
            None => (text, None),
        };
        match (scheme, argument) {
            ("memory", None) => Ok(Self::Memory),
            ("memory", Some(_)) => Err(invalid("a memory store takes no argument; write \"memory\"")),
            ("fs" | "rocksdb", None | Some("")) => {
                Err(invalid("this store needs a folder; write \"fs:DIR\" or \"rocksdb:DIR\""))
            }
            ("fs" | "rocksdb", Some(dir)) if dir.contains('\0') => {
                Err(invalid("a folder's name cannot hold a zero byte"))
            }
            ("fs", Some(dir)) => Ok(Self::Fs(dir.into())),
            ("rocksdb", Some(dir)) => Ok(Self::Rocksdb(dir.into())),
            (name, argument) if is_backend_name(name) => {
                Ok(Self::Registered { name: name.to_owned(), argument: argument.unwrap_or_default().to_owned() })
            }
            _ => Err(invalid(
                "not a store; write \"memory\", \"fs:DIR\", \"rocksdb:DIR\", or the name of a registered store, which is \
                 of a-z, 0-9 and '-', begins with a letter, and may be followed by ':' and its argument",
            )),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Fs(dir) => write!(f, "fs:{}", dir.display()),
            Self::Rocksdb(dir) => write!(f, "rocksdb:{}", dir.display()),
            Self::Registered { name, argument } if argument.is_empty() => f.write_str(name),
            Self::Registered { name, argument } => write!(f, "{name}:{argument}"),
        }
    }
}

fn is_backend_name(name: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= BACKEND_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(in_alphabet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_is_read_as_what_it_says() {
        let registered =
            |name: &str, argument: &str| StoreUrl::Registered { name: name.into(), argument: argument.into() };
        for (text, url) in [
            ("memory", StoreUrl::Memory),
            ("fs:state", StoreUrl::Fs("state".into())),
            ("fs:/a:b", StoreUrl::Fs("/a:b".into())),
            ("rocksdb:/r", StoreUrl::Rocksdb("/r".into())),
            ("s3:bucket/key:1", registered("s3", "bucket/key:1")),
            ("mine", registered("mine", "")),
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap(), url);
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_store_is_refused_with_the_text_and_a_remedy() {
        for text in
            ["", ":", "fs", "fs:", "rocksdb", "rocksdb:", "memory:", "memory:x", "/var/lib", "Fs:/x", "1:x", "fs:\0"]
        {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert!(matches!(&error, StoreError::Invalid { url, .. } if url == text), "{error}");
        }
        assert!("fs".parse::<StoreUrl>().unwrap_err().to_string().contains("fs:DIR"));
    }

    proptest! {
        #[test]
        fn what_is_read_prints_as_what_reads_the_same(text in "(memory|fs|rocksdb|[a-z-]{1,5})?:?\\PC{0,20}") {
            if let Ok(url) = text.parse::<StoreUrl>() {
                prop_assert_eq!(url.to_string().parse::<StoreUrl>().unwrap(), url);
            }
        }
    }
}
