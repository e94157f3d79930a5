//! The keys of a node: which files they are in, and how they are replaced while the node runs.
//!
//! A cluster's key is replaced without a moment of refused connections: while both are named, a node takes the new one and the old
//! one, and proves the newest that the other side takes, too. So servers may learn of the new key in any order, and of the end of the
//! old one in any order, as long as the second round begins when the first is over.

use std::path::PathBuf;

use elastic_flow_transport::Keyring;
use elastic_flow_wire::{KeySet, Secret, with_causes};

use crate::config::{Config, SecurityConfig, Sources};
use crate::exit_code::Failure;
use crate::exposure;
use crate::key_file::{self, KeyFileError};
use crate::paths::UserFolders;

/// A cluster's secret, and whether somebody gave it on purpose.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// The one in force.
    pub(crate) secret: Secret,
    /// The one before it, as long as it is still taken.
    pub(crate) old: Option<Secret>,
    pub(crate) given: bool,
}

impl Key {
    /// A secret that is this cluster's own, and nobody's before.
    pub(crate) fn fresh(secret: Secret) -> Self {
        Self { secret, old: None, given: false }
    }

    /// The key of this cluster: the file named on purpose, else the user's own; that is made if it is absent and `make` says so.
    ///
    /// # Errors
    /// A file is absent, can be used by others, or holds no key.
    pub(crate) fn load(security: &SecurityConfig, folders: &UserFolders, make: bool) -> Result<Self, KeyFileError> {
        let secret = match &security.key_file {
            Some(path) => key_file::read(path)?,
            None => {
                let path = folders.key_file().ok_or(KeyFileError::NoPlace)?;
                if make { key_file::read_or_create(&path)? } else { key_file::read(&path)? }
            }
        };
        let old = security.old_key_file.as_deref().map(key_file::read).transpose()?;
        Ok(Self { secret, old, given: security.key_file.is_some() })
    }

    /// What the nodes of `cluster` derive from it.
    pub(crate) fn set(&self, cluster: &str) -> KeySet {
        KeySet::derive(&self.secret, self.old.as_ref(), cluster)
    }

    /// The tokens that the HTTP face takes.
    #[cfg(feature = "admin")]
    pub(crate) fn tokens(&self) -> elastic_flow_admin::Tokens {
        elastic_flow_admin::Tokens::derive(&self.secret).with_old(self.old.as_ref())
    }
}

/// Reads the keys of a running node anew.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    sources: Sources,
    folders: UserFolders,
    /// As the node started.
    before: Config,
    /// The addresses that it uses, with what they are called in a refusal.
    addresses: Vec<(&'static str, String)>,
    ring: Keyring,
}

impl Reload {
    pub(crate) fn new(
        sources: &Sources,
        folders: &UserFolders,
        before: &Config,
        addresses: Vec<(&'static str, String)>,
        ring: Keyring,
    ) -> Self {
        Self { sources: sources.clone(), folders: folders.clone(), before: before.clone(), addresses, ring }
    }

    /// Reads the configuration and the key files that it names now, and puts the keys into force. If anything is wrong, that is
    /// logged, and the keys in force stay.
    ///
    /// # Cancel safety
    /// Safe to drop: the keys are then replaced, or are not.
    pub(crate) async fn run(&self) -> Option<Key> {
        let (reload, ring) = (self.clone(), self.ring.clone());
        // It reads files, and may ask a name server.
        let read = tokio::task::spawn_blocking(move || reload.read()).await;
        let read = read.unwrap_or_else(|error| Err(Failure::failed(format!("the keys could not be read: {error}"))));
        match read {
            Ok(key) => {
                let set = key.set(&self.before.cluster);
                let (newest, old) = set.ids();
                let old = old.map_or_else(|| "none".to_owned(), |id| id.to_string());
                tracing::info!(key = %newest, %old, "the keys were read anew");
                ring.replace(set);
                Some(key)
            }
            Err(failure) => {
                tracing::error!(error = %failure, "the keys were not read anew: those in force stay");
                None
            }
        }
    }

    fn read(&self) -> Result<Key, Failure> {
        let config = self.sources.load().map_err(|errors| Failure::usage(errors.to_string()))?;
        let key = Key::load(&config.security, &self.folders, false);
        let key = key.map_err(|error| Failure::usage(with_causes(&error)))?;
        for (what, address) in &self.addresses {
            exposure::check(what, address, key.given, &self.before.security)?;
        }
        let paths = |security: &SecurityConfig| -> [Option<PathBuf>; 2] {
            [security.key_file.clone(), security.old_key_file.clone()]
        };
        let [key_file, old_key_file] = paths(&config.security);
        let security = SecurityConfig { key_file, old_key_file, ..self.before.security.clone() };
        if config != (Config { security, ..self.before.clone() }) {
            tracing::warn!(
                "of the configuration, the keys alone are read anew: what else has changed in it takes a restart"
            );
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Node {
        folder: tempfile::TempDir,
        reload: Reload,
        ring: Keyring,
    }

    fn configure(folder: &Path, text: &str) {
        std::fs::write(folder.join("conf.toml"), text.replace("DIR", &folder.display().to_string())).expect("a file");
    }

    fn new_key(folder: &Path, name: &str) -> Secret {
        key_file::create(&folder.join(name)).expect("a key")
    }

    const ONE: &str = "[security]\nkey_file = \"DIR/one\"\n";
    const BOTH: &str = "[security]\nkey_file = \"DIR/two\"\nold_key_file = \"DIR/one\"\n";

    fn node(addresses: Vec<(&'static str, String)>) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        new_key(folder.path(), "one");
        configure(folder.path(), ONE);
        let sources = Sources { file: Some(folder.path().join("conf.toml")), ..Sources::default() };
        let config = sources.load().expect("it is right");
        let key = Key::load(&config.security, &UserFolders::default(), true).expect("a key");
        let ring = Keyring::new(key.set("default"));
        let reload = Reload::new(&sources, &UserFolders::default(), &config, addresses, ring.clone());
        Node { folder, reload, ring }
    }

    #[tokio::test]
    async fn the_files_that_the_configuration_names_now_are_read() {
        let node = node(Vec::new());
        let first = node.ring.keys().ids().0;
        let second = new_key(node.folder.path(), "two");
        configure(node.folder.path(), BOTH);
        let key = node.reload.run().await.expect("it is read");
        assert_eq!(*key.secret.reveal_hex(), *second.reveal_hex());
        let (newest, old) = node.ring.keys().ids();
        assert_eq!((newest != first, old), (true, Some(first)));
        configure(node.folder.path(), "[security]\nkey_file = \"DIR/two\"\n");
        node.reload.run().await.expect("it is read");
        assert_eq!(node.ring.keys().ids(), (newest, None));
    }

    #[tokio::test]
    async fn whatever_is_wrong_leaves_the_keys_as_they_are() {
        let node = node(vec![("--listen", "10.0.0.1:7117".to_owned())]);
        let first = node.ring.keys().ids();
        new_key(node.folder.path(), "two");
        for wrong in [
            "[security]\nkey_file = \"DIR/absent\"\n",
            "[security]\nkey_file = \"DIR/one\"\nold_key_file = \"DIR/absent\"\n",
            "[security]\nkey_file = \"DIR/conf.toml\"\n",
            "[security]\nkey_fil = \"DIR/two\"\n",
            "nonsense",
            // Beyond this machine, and it was not started with leave to speak plainly there.
            BOTH,
        ] {
            configure(node.folder.path(), wrong);
            assert!(node.reload.run().await.is_none(), "{wrong}");
            assert_eq!(node.ring.keys().ids(), first, "{wrong}");
        }
    }

    #[test]
    fn a_key_of_ones_own_is_made_at_a_start_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().as_os_str().to_owned();
        let folders = UserFolders::from_environment(|name| (name == "HOME").then(|| home.clone()));
        let security = SecurityConfig::default();
        assert!(matches!(Key::load(&security, &folders, false), Err(KeyFileError::Read { .. })));
        let made = Key::load(&security, &folders, true).expect("it is made");
        let found = Key::load(&security, &folders, false).expect("it is found");
        assert_eq!((*made.secret.reveal_hex() == *found.secret.reveal_hex(), found.given), (true, false));
    }
}
