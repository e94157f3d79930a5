//! The user's own folders, by the XDG base directories.

use std::ffi::OsString;
use std::path::PathBuf;

/// Our folder within each of them.
const FOLDER: &str = "elastic-flow";

/// The user's folders; made from the environment, so that tests need not change it.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserFolders {
    home: Option<PathBuf>,
    config: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl UserFolders {
    /// From `HOME`, `XDG_CONFIG_HOME` and `XDG_STATE_HOME`. Relative ones are ignored, as the standard says.
    pub(crate) fn from_environment(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self { home: folder("HOME"), config: folder("XDG_CONFIG_HOME"), state: folder("XDG_STATE_HOME") }
    }

    /// Where the key file of this user lies.
    pub(crate) fn key_file(&self) -> Option<PathBuf> {
        let base = self.config.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")))?;
        Some(base.join(FOLDER).join("key"))
    }

    /// Where a cluster's master keeps its store.
    pub(crate) fn store(&self, cluster: &str) -> Option<PathBuf> {
        let base = self.state.clone().or_else(|| self.home.as_ref().map(|home| home.join(".local/state")))?;
        Some(base.join(FOLDER).join(cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(pairs: &[(&str, &str)]) -> UserFolders {
        UserFolders::from_environment(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()))
    }

    #[test]
    fn xdg_comes_before_home_and_relative_ones_are_ignored() {
        let both = folders(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "rel")]);
        assert_eq!(both.key_file(), Some("/c/elastic-flow/key".into()));
        assert_eq!(both.store("logs"), Some("/h/.local/state/elastic-flow/logs".into()));
        assert_eq!(folders(&[("HOME", "/h")]).key_file(), Some("/h/.config/elastic-flow/key".into()));
        assert_eq!(folders(&[]).key_file(), None);
    }
}
