//! Where the cluster's secret comes from: a file that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use elastic_flow_wire::{Secret, SecretError};
use zeroize::{Zeroize, Zeroizing};

/// Most bytes of a key file that are read: 64 digits, and room for white space.
const KEY_FILE_BYTES_MAX: u64 = 256;
/// Bytes of a fresh secret.
const SECRET_BYTES: usize = 32;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot make the key file {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("the key file {} can be used by others (mode {mode:03o}): run chmod 600 on it, or make a new key if it may be known", path.display())]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("the key file {} belongs to user {owner}, but this process runs as user {user}: use a key file of its own", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// It is not a file.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Its content is no key.
    #[error("the key file {} holds no key", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: SecretError,
    },
    /// There is a file already.
    #[error("{} exists already: a key in use is not overwritten", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// No place is known for the user's key.
    #[error(
        "no key file is named, and neither HOME nor XDG_CONFIG_HOME says where this user's own would be: name one in security.key_file or ELASTIC_FLOW_KEY_FILE"
    )]
    NoPlace,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a key: {0}")]
    Random(String),
}

/// Reads a key file.
///
/// # Errors
/// It is absent, belongs to somebody else, others can read or write it, or it holds no key.
pub fn read(path: &Path) -> Result<Secret, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen { path: path.to_owned(), mode });
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner, user });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Secret::parse(&text).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
}

/// Makes a key file with a fresh random key, mode 0600, whole or not at all.
///
/// # Errors
/// There is one already, or it cannot be written.
pub fn create(path: &Path) -> Result<Secret, KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let secret = random_secret()?;
    // Linked into place when it is whole: two processes that start at once agree on one of the two keys.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = folder.join(name);
    let written = write_draft(&draft, &secret).and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft).ok();
    match written {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Reads the key file, or makes it at the first start.
///
/// # Errors
/// As [`read`] and [`create`].
pub fn read_or_create(path: &Path) -> Result<Secret, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => match create(path) {
            Err(KeyFileError::Exists { .. }) => read(path),
            made => made,
        },
        read => read,
    }
}

/// A fresh random secret.
///
/// # Errors
/// The system gives no random numbers.
pub fn random_secret() -> Result<Secret, KeyFileError> {
    let mut bytes = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| KeyFileError::Random(error.to_string()))?;
    let secret = Secret::from_bytes(bytes);
    bytes.zeroize();
    Ok(secret)
}

fn write_draft(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.reveal_hex().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_first_start_makes_a_key_that_the_next_finds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/key");
        let made = read_or_create(&path).expect("it is made");
        let found = read_or_create(&path).expect("it is found");
        assert_eq!(*made.reveal_hex(), *found.reveal_hex());
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn two_keys_differ_and_one_in_use_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let first = create(&path).expect("it is made");
        assert!(matches!(create(&path), Err(KeyFileError::Exists { .. })));
        assert_eq!(*read(&path).expect("it is read").reveal_hex(), *first.reveal_hex());
        let second = create(&folder.path().join("other")).expect("it is made");
        assert_ne!(*second.reveal_hex(), *first.reveal_hex());
    }

    #[test]
    fn wider_modes_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        create(&path).expect("it is made");
        for open in [0o640, 0o604, 0o620, 0o777, 0o610] {
            set_mode(&path, open);
            let error = read(&path).expect_err("it is open");
            assert!(matches!(error, KeyFileError::TooOpen { mode, .. } if mode == open), "{error}");
            assert!(error.to_string().contains("chmod 600"));
        }
        set_mode(&path, 0o400);
        assert!(read(&path).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let weak = "ab".repeat(32);
        for content in ["", "marker-secret", weak.as_str()] {
            std::fs::write(&path, content).expect("it is written");
            set_mode(&path, 0o600);
            let error = read(&path).expect_err("it is no key");
            assert!(matches!(error, KeyFileError::Content { .. }));
            assert!(content.is_empty() || !format!("{error} {error:?}").contains(content));
        }
        assert!(matches!(read(folder.path()), Err(KeyFileError::NotAFile { .. } | KeyFileError::Read { .. })));
        assert!(matches!(read(&folder.path().join("absent")), Err(KeyFileError::Read { .. })));
    }

    #[test]
    fn another_owners_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        create(&path).expect("it is made");
        // Only a privileged user can give a file away; elsewhere the refusal cannot be provoked.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            assert!(matches!(read(&path), Err(KeyFileError::Owner { owner: 12_345, .. })));
        }
    }
}
