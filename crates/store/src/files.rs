//! The file operations of a backend, behind a seam, so that each of them can be made to fail.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The operations by which a backend changes files. Reading is not among them: it leaves nothing half done.
///
/// Every call is a write point of [`crate::FaultFiles`], except [`FileOps::open_append`]. Folders are made with mode 0700 and
/// files with 0600 where the system has modes.
pub trait FileOps: Send + Sync + Debug {
    /// Makes a folder, and says whether it was not there before. Its parent must exist.
    ///
    /// # Errors
    /// The operating system says no.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;

    /// Creates a file that must not exist yet, for writing.
    ///
    /// # Errors
    /// The operating system says no, or there is one.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Opens a file that exists, to write at its end.
    ///
    /// # Errors
    /// The operating system says no.
    fn open_append(&self, path: &Path) -> io::Result<File>;

    /// Writes all of `bytes` to `file`, whose path is `path`.
    ///
    /// # Errors
    /// The operating system says no; a part may be written then.
    fn write(&self, path: &Path, file: &File, bytes: &[u8]) -> io::Result<()>;

    /// Cuts `file` to its first `bytes`.
    ///
    /// # Errors
    /// The operating system says no.
    fn truncate(&self, path: &Path, file: &File, bytes: u64) -> io::Result<()>;

    /// Waits until the file's content is on the disk.
    ///
    /// # Errors
    /// It may not be there, and a second attempt would tell nothing.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Renames a file within its folder, replacing the one that has the new name.
    ///
    /// # Errors
    /// The operating system says no.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the folder's names are on the disk.
    ///
    /// # Errors
    /// They may not be there, and a second attempt would tell nothing.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The operating system says no, or there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// The operating system says no, it is not empty, or there is none.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// Makes a folder, and those above it that are missing, and waits until their names are on the disk. One that is there is
/// fine.
///
/// # Errors
/// The operating system says no.
pub fn create_dirs(files: &dyn FileOps, path: &Path) -> io::Result<()> {
    let with_above: Vec<&Path> = path.ancestors().map(here_if_empty).collect();
    let missing = with_above.iter().take_while(|folder| !folder.is_dir()).count();
    for folder in with_above.iter().take(missing).rev() {
        files.create_dir(folder)?;
    }
    // The names of the folders just made stand in those above them, up to the first that was there.
    with_above.iter().skip(1).take(missing).try_for_each(|folder| files.sync_dir(folder))
}

/// The folder above a relative path of one component is the current one.
fn here_if_empty(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The operations of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

impl FileOps for RealFiles {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    fn write(&self, _path: &Path, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn truncate(&self, _path: &Path, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    fn sync(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}
