//! Which payload names are valid.

use crate::error::StoreError;

/// Most bytes of a payload's name: with a suffix and a temporary one it stays below the 255 of common filesystems.
pub const PAYLOAD_NAME_BYTES_MAX: usize = 128;

/// Whether `name` may name a payload: `[A-Za-z0-9._-]{1,128}`, but neither `.` nor `..`.
///
/// # Examples
/// ```
/// assert!(elastic_flow_store::is_valid_name("result"));
/// assert!(!elastic_flow_store::is_valid_name("../etc/passwd"));
/// ```
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=PAYLOAD_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(in_alphabet) && name != "." && name != ".."
}

/// Refuses a name that [`is_valid_name`] does not take.
///
/// # Errors
/// [`StoreError::Invalid`] with the name and the rule.
pub fn check_name(url: &str, name: &str) -> Result<(), StoreError> {
    if is_valid_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(PAYLOAD_NAME_BYTES_MAX).collect();
    Err(StoreError::Invalid {
        url: url.to_owned(),
        detail: format!(
            "payload name {shown:?} is not valid; use 1 to {PAYLOAD_NAME_BYTES_MAX} of A-Z, a-z, 0-9, '.', '_' and '-', \
             and neither \".\" nor \"..\""
        ),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rule_holds_at_its_edges() {
        for name in ["a", "...", ".hidden", "A-Z_0.9", &"x".repeat(128)] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a\\b", "a b", "a\0", "ä", "a\n", "~", &"x".repeat(129)] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_name_is_always_one_plain_path_component(name in "\\PC{0,140}") {
            if is_valid_name(&name) {
                let path = std::path::Path::new(&name);
                prop_assert_eq!(path.components().count(), 1);
                prop_assert_eq!(path.file_name(), Some(std::ffi::OsStr::new(&name)));
            } else {
                prop_assert!(check_name("memory", &name).is_err());
            }
        }
    }
}
