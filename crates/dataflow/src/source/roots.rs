//! The folders that a node reads splits from.

use std::path::{Path, PathBuf};

use super::SourceError;

/// Where the files of splits may lie on this node. A split's path comes from the network; nothing else of a node's disk may be
/// read through one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataRoots {
    /// Without symbolic links; none allows every path.
    roots: Option<Vec<PathBuf>>,
}

impl DataRoots {
    /// Allows every path: for nodes that one user starts on one machine.
    #[must_use]
    pub const fn unrestricted() -> Self {
        Self { roots: None }
    }

    /// Allows what lies in these folders; nothing, if there are none.
    ///
    /// # Errors
    /// [`SourceError::Open`] if a folder does not exist or cannot be read.
    pub fn under<P: AsRef<Path>>(folders: impl IntoIterator<Item = P>) -> Result<Self, SourceError> {
        let mut roots = Vec::new();
        for folder in folders {
            let folder = folder.as_ref();
            let failed = |source| SourceError::Open { path: folder.display().to_string(), source };
            roots.push(folder.canonicalize().map_err(failed)?);
        }
        Ok(Self { roots: Some(roots) })
    }

    /// Resolves `path`, with all symbolic links, and makes sure that it lies under one of the roots.
    ///
    /// # Errors
    /// [`SourceError::Open`] if there is nothing, [`SourceError::OutsideRoots`] if it lies elsewhere or is not absolute.
    pub fn check(&self, path: &Path) -> Result<PathBuf, SourceError> {
        let shown = || path.display().to_string();
        if !path.is_absolute() {
            return Err(SourceError::OutsideRoots { path: shown() });
        }
        let resolved = path.canonicalize().map_err(|source| SourceError::Open { path: shown(), source })?;
        let allowed = self.roots.as_ref().is_none_or(|roots| roots.iter().any(|root| resolved.starts_with(root)));
        if allowed { Ok(resolved) } else { Err(SourceError::OutsideRoots { path: shown() }) }
    }

    /// Whether paths are to be looked at.
    pub(super) const fn is_restricted(&self) -> bool {
        self.roots.is_some()
    }
}
