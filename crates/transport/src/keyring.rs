//! The keys that a node's endpoint uses, replaceable while it runs.

use std::sync::{Arc, PoisonError, RwLock};

use elastic_flow_wire::{KeySet, Keys};

/// A node's keys. Clones share them: what one of them is given, all handshakes use from then on. Links that are up keep the frame
/// keys of their own handshake, and are not disturbed.
#[derive(Debug, Clone)]
pub struct Keyring(Arc<RwLock<Arc<KeySet>>>);

impl Keyring {
    /// With these keys at first.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other keys into force.
    pub fn replace(&self, keys: KeySet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl From<Keys> for Keyring {
    fn from(keys: Keys) -> Self {
        Self::new(keys.into())
    }
}

impl From<KeySet> for Keyring {
    fn from(keys: KeySet) -> Self {
        Self::new(keys)
    }
}
