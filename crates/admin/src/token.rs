//! Bearer tokens by role, derived from the cluster's secret, so that a leaked read token only reads.

use std::fmt;
use std::str::FromStr;

use elastic_flow_queue::CallerRole;
use elastic_flow_wire::Secret;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// What a token allows; each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// To look: every `GET`.
    Read,
    /// To submit, cancel and replay steps as well.
    Submit,
    /// Everything: to drain workers as well.
    Admin,
}

impl Role {
    /// All of them, weakest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Submit, Self::Admin];

    /// Its name, as in `token read`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }

    /// As what its holder speaks to the master.
    pub(crate) const fn caller(self) -> CallerRole {
        match self {
            Self::Read => CallerRole::Read,
            Self::Submit => CallerRole::Submit,
            Self::Admin => CallerRole::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("there is no role {text:?}: it is read, submit or admin"))
    }
}

/// A bearer token: 64 hexadecimal digits. It is neither shown by `Debug` nor kept in memory after its drop.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token of `role` under `secret`: HKDF-SHA256 with `elastic-flow token v1 <role>` as its purpose.
    #[must_use]
    pub fn derive(secret: &Secret, role: Role) -> Self {
        let info = format!("elastic-flow token v1 {role}");
        Self(hex(&*secret.derive_key(&[], info.as_bytes())))
    }

    /// Its text, for the `Authorization` header and for `token`.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// The tokens of all roles, as a server checks them: those of the key in force, and during a rotation those of the old key.
#[derive(Debug, Clone)]
pub struct Tokens {
    newest: [(Role, Token); 3],
    old: Option<[(Role, Token); 3]>,
}

/// A token that a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) role: Role,
    /// Whether it is derived from the old key.
    pub(crate) old: bool,
}

impl Tokens {
    /// Derives all of them.
    #[must_use]
    pub fn derive(secret: &Secret) -> Self {
        Self { newest: of_all_roles(secret), old: None }
    }

    /// Takes those of the key before as well.
    #[must_use]
    pub fn with_old(self, old: Option<&Secret>) -> Self {
        Self { old: old.map(of_all_roles), ..self }
    }

    /// What a presented token is. Compares with every token in constant time, whichever matches.
    pub(crate) fn known(&self, presented: &str) -> Option<Known> {
        let mut found = None;
        let old = self.old.iter().flatten().map(|it| (it, true));
        for ((role, token), old) in old.chain(self.newest.iter().map(|it| (it, false))) {
            let equal: Choice = presented.as_bytes().ct_eq(token.expose().as_bytes());
            if bool::from(equal) {
                found = Some(Known { role: *role, old });
            }
        }
        found
    }
}

fn of_all_roles(secret: &Secret) -> [(Role, Token); 3] {
    Role::ALL.map(|role| (role, Token::derive(secret, role)))
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    use fmt::Write as _;
    // As large as it becomes, so that no copy of a part is left behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(fill: u8) -> Secret {
        Secret::from_bytes([fill; 32])
    }

    #[test]
    fn a_token_belongs_to_one_role_and_one_secret() {
        let tokens = Tokens::derive(&secret(7));
        for role in Role::ALL {
            assert_eq!(tokens.known(Token::derive(&secret(7), role).expose()), Some(Known { role, old: false }));
            assert_eq!(tokens.known(Token::derive(&secret(8), role).expose()), None);
        }
        assert_eq!(tokens.known(""), None);
    }

    #[test]
    fn both_keys_tokens_are_known_during_a_rotation() {
        let tokens = Tokens::derive(&secret(8)).with_old(Some(&secret(7)));
        for role in Role::ALL {
            assert_eq!(tokens.known(Token::derive(&secret(8), role).expose()), Some(Known { role, old: false }));
            assert_eq!(tokens.known(Token::derive(&secret(7), role).expose()), Some(Known { role, old: true }));
            assert_eq!(tokens.known(Token::derive(&secret(6), role).expose()), None);
        }
        let same = Tokens::derive(&secret(7)).with_old(Some(&secret(7)));
        let known = same.known(Token::derive(&secret(7), Role::Read).expose());
        assert_eq!(known, Some(Known { role: Role::Read, old: false }), "a key that is named twice is not old");
    }

    #[test]
    fn a_cut_or_lengthened_token_is_none() {
        let tokens = Tokens::derive(&secret(7));
        let token = Token::derive(&secret(7), Role::Read);
        assert_eq!(tokens.known(&token.expose()[..63]), None);
        assert_eq!(tokens.known(&format!("{}0", token.expose())), None);
    }

    #[test]
    fn debug_does_not_show_a_token() {
        let token = Token::derive(&secret(7), Role::Admin);
        assert!(!format!("{token:?} {:?}", Tokens::derive(&secret(7))).contains(token.expose()));
    }

    #[test]
    fn roles_include_the_weaker_ones() {
        assert!(Role::Admin > Role::Submit && Role::Submit > Role::Read);
        assert_eq!("submit".parse(), Ok(Role::Submit));
        assert!("root".parse::<Role>().unwrap_err().contains("read, submit or admin"));
    }
}
