//! Two keys at a time, so that a cluster's key can be replaced while it runs.
//!
//! A listener says by their ids which keys it takes; whoever connects proves the newest one that both of them hold. So no
//! connection is refused during a rotation, in whatever order the nodes learn of the new key, as long as each keeps the old one
//! until all of them have the new one.

use crate::hello::Role;
use crate::secret::{KeyId, KeyMismatch, Keys, Proof, Secret, Side, Transcript};

/// The keys of a node: the one in force, and during a rotation the one before it.
#[derive(Debug, Clone)]
pub struct KeySet {
    newest: Keys,
    old: Option<Keys>,
}

impl From<Keys> for KeySet {
    fn from(newest: Keys) -> Self {
        Self { newest, old: None }
    }
}

impl KeySet {
    /// The keys of the cluster named `cluster`. An old secret that equals the new one is none.
    #[must_use]
    pub fn derive(newest: &Secret, old: Option<&Secret>, cluster: &str) -> Self {
        let newest = Keys::derive(newest, cluster);
        let old = old.map(|secret| Keys::derive(secret, cluster)).filter(|old| old.id() != newest.id());
        Self { newest, old }
    }

    /// The one in force.
    #[must_use]
    pub const fn newest(&self) -> &Keys {
        &self.newest
    }

    /// The one before it, while it is still taken.
    #[must_use]
    pub const fn old(&self) -> Option<&Keys> {
        self.old.as_ref()
    }

    /// What a listener says that it takes: the newest key, then the old one.
    #[must_use]
    pub fn ids(&self) -> (KeyId, Option<KeyId>) {
        (self.newest.id(), self.old.as_ref().map(Keys::id))
    }

    /// The newest key that a listener of these ids takes as well. Where there is none, the newest: the listener refuses it by name.
    #[must_use]
    pub fn shared_with(&self, (newest, old): (KeyId, Option<KeyId>)) -> &Keys {
        let taken = |keys: &&Keys| keys.id() == newest || Some(keys.id()) == old;
        [Some(&self.newest), self.old.as_ref()].into_iter().flatten().find(taken).unwrap_or(&self.newest)
    }

    /// The keys that a proof shows, and whether they are the old ones. Both are always looked at, so that time tells nothing.
    ///
    /// # Errors
    /// [`KeyMismatch`] if it shows neither.
    pub fn proven(
        &self,
        role: Role,
        side: Side,
        transcript: &Transcript,
        proof: &Proof,
    ) -> Result<(&Keys, bool), KeyMismatch> {
        let shows = |keys: &Keys| keys.role(role.key_role()).verify(side, transcript, proof).is_ok();
        let newest = shows(&self.newest);
        let old = self.old.as_ref().filter(|keys| shows(keys));
        match (newest, old) {
            (true, _) => Ok((&self.newest, false)),
            (false, Some(old)) => Ok((old, true)),
            (false, None) => Err(KeyMismatch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::from_bytes([byte; 32])
    }

    fn set(newest: u8, old: Option<u8>) -> KeySet {
        KeySet::derive(&secret(newest), old.map(secret).as_ref(), "logs")
    }

    fn id(byte: u8) -> KeyId {
        Keys::derive(&secret(byte), "logs").id()
    }

    #[test]
    fn the_newest_key_that_both_hold_is_proven() {
        for (client, listener, proven) in [
            ((1, None), (1, None), 1),
            ((2, Some(1)), (1, None), 1),
            ((1, None), (2, Some(1)), 1),
            ((2, Some(1)), (2, Some(1)), 2),
            ((2, None), (2, Some(1)), 2),
            ((2, Some(1)), (2, None), 2),
            // Nothing in common: the listener is to refuse it.
            ((2, Some(1)), (3, None), 2),
        ] {
            let listener = set(listener.0, listener.1);
            assert_eq!(set(client.0, client.1).shared_with(listener.ids()).id(), id(proven), "{client:?}");
        }
    }

    #[test]
    fn a_proof_tells_which_key_it_shows_and_a_third_one_shows_none() {
        let transcript = Transcript::new(b"hello", b"challenge", b"");
        let proof =
            |byte| Keys::derive(&secret(byte), "logs").role(Role::Worker.key_role()).proof(Side::Client, &transcript);
        let both = set(2, Some(1));
        let shown = |set: &KeySet, byte| {
            let proven = set.proven(Role::Worker, Side::Client, &transcript, &proof(byte));
            proven.map(|(keys, old)| (keys.id(), old))
        };
        assert_eq!(shown(&both, 2), Ok((id(2), false)));
        assert_eq!(shown(&both, 1), Ok((id(1), true)));
        assert_eq!(shown(&both, 3), Err(KeyMismatch));
        assert_eq!(shown(&set(2, None), 1), Err(KeyMismatch));
        let of_a_client = both.proven(Role::Client, Side::Client, &transcript, &proof(2)).map(|it| it.1);
        assert_eq!(of_a_client, Err(KeyMismatch), "a worker's proof is no client's");
    }

    #[test]
    fn an_id_differs_by_key_and_cluster_and_the_same_key_twice_is_one() {
        assert_ne!(id(1), id(2));
        assert_ne!(Keys::derive(&secret(1), "shop").id(), id(1));
        assert_eq!(set(1, Some(1)).ids(), (id(1), None));
        assert_eq!(KeyId(0x1f).to_string(), "0000001f");
    }
}
