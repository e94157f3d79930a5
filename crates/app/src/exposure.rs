//! What lies beyond this machine takes a key given on purpose.

use std::net::ToSocketAddrs;

use crate::config::SecurityConfig;
use crate::exit_code::Failure;

/// Refuses an address beyond loopback unless a key was given on purpose and plain text is allowed there. `what` names it in the
/// refusal. Says whether it lies beyond. Blocks: it may ask a name server.
///
/// # Errors
/// The refusal.
pub(crate) fn check(what: &str, address: &str, key_given: bool, security: &SecurityConfig) -> Result<bool, Failure> {
    match address.to_socket_addrs() {
        Ok(resolved) if resolved.clone().all(|address| address.ip().is_loopback()) => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Err(Failure::usage(format!("{what} {address} is not an address: write host:port")));
        }
        // A name that nobody knows yet is not this machine's.
        Err(_) => {}
    }
    if !key_given {
        return Err(Failure::usage(format!(
            "{what} {address} lies beyond this machine, which takes a key given on purpose: make one with `key new FILE`, copy it \
             to every server, and name it in security.key_file or ELASTIC_FLOW_KEY_FILE"
        )));
    }
    if !security.insecure_plaintext {
        return Err(Failure::usage(format!(
            "{what} {address} lies beyond this machine, and this version does not encrypt: stay on 127.0.0.1, or set \
             security.insecure_plaintext = true if that network is trusted (every frame is still authenticated)"
        )));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_free_and_beyond_takes_a_key_and_a_word() {
        let plain = SecurityConfig { insecure_plaintext: true, ..SecurityConfig::default() };
        let strict = SecurityConfig::default();
        assert_eq!(check("--listen", "127.0.0.1:7117", false, &strict), Ok(false));
        assert_eq!(check("--listen", "0.0.0.0:7117", true, &plain), Ok(true));
        for (given, security, why) in [(false, &plain, "key new FILE"), (true, &strict, "insecure_plaintext")] {
            let refused = check("--listen", "10.0.0.1:7117", given, security).expect_err("it is refused");
            assert!(refused.to_string().contains(why), "{refused}");
        }
        let wrong = check("--listen", "yam1", true, &plain).expect_err("it has no port");
        assert!(wrong.to_string().contains("host:port"), "{wrong}");
    }
}
