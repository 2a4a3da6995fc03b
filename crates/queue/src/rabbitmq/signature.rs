//! Messages are signed so that a stranger with access to the broker cannot have anything run.

use subtle::ConstantTimeEq;
use swifthook_core::Secret;

/// The signature of a message, by the first of the keys.
pub(super) fn sign(keys: &[Secret], message: &[u8]) -> Option<String> {
    Some(keys.first()?.sign(&signed(message)))
}

/// Whether a signature is by one of the keys; without keys every message is good.
pub(super) fn is_good(keys: &[Secret], message: &[u8], signature: Option<&[u8]>) -> bool {
    if keys.is_empty() {
        return true;
    }
    let (signature, signed) = (signature.unwrap_or_default(), signed(message));
    keys.iter().any(|key| key.sign(&signed).as_bytes().ct_eq(signature).into())
}

/// With its purpose in front: a secret that also signs something else signs no message so.
fn signed(message: &[u8]) -> Vec<u8> {
    [PURPOSE, message].concat()
}

const PURPOSE: &[u8] = b"swifthook message 1\n";
/// The header that carries it.
pub(super) const HEADER: &str = "x-swifthook-signature";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_by_each_of_the_keys_and_for_that_message_alone() {
        let key = |text: &str| Secret::new(text, format!("sixteen bytes of {text}")).unwrap();
        let (old, new) = (key("old"), key("new"));
        let by_old = sign(std::slice::from_ref(&old), b"message").unwrap();
        let both = [new.clone(), old];
        assert!(is_good(&both, b"message", Some(by_old.as_bytes())));
        assert!(!is_good(&both, b"massage", Some(by_old.as_bytes())));
        assert!(!is_good(&[new], b"message", Some(by_old.as_bytes())));
        assert!(!is_good(&both, b"message", None));
        assert!(!is_good(&both, b"message", Some(b"")));
        assert!(is_good(&[], b"message", None));
        // What signs a delivery to a hook signs no message.
        assert!(!is_good(&both, b"message", Some(both[0].sign(b"message").as_bytes())));
    }
}
