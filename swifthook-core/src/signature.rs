//! The signature of a body: HMAC-SHA256, `X-Hub-Signature-256: sha256=<64 lower-case hexadecimal digits>`
//! (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>).

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::SecretSet;

/// A keyed hash under way. It zeroes itself when it is dropped.
pub(crate) type Mac = Hmac<Sha256>;

/// HMAC-SHA256 of `body`: the bare function, for keys of any length.
///
/// It checks nothing; to verify a delivery use [`Receiver`](crate::Receiver) or
/// [`Hook::verify`](crate::Hook::verify).
#[must_use]
pub fn hmac_sha256(key: &[u8], body: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(body).finalize().into_bytes().into()
}

/// The signature that a delivery claims to have, of the right form but not yet checked.
#[derive(Clone, Copy)]
pub(crate) struct Claimed([u8; 32]);

/// What is wrong with a signature. It never tells which signature would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureProblem {
    /// There is no `X-Hub-Signature-256`: the hook has no secret.
    #[error("there is no X-Hub-Signature-256 header; set a secret in the settings of the webhook")]
    Missing,
    /// There is only the SHA-1 signature, which is not enough.
    #[error("there is only an X-Hub-Signature header (SHA-1); X-Hub-Signature-256 is needed")]
    Sha1Only,
    /// There are several, and whichever was checked, another reader might believe the other.
    #[error("there is more than one X-Hub-Signature-256 header")]
    Doubled,
    /// It holds bytes that no signature has.
    #[error("the X-Hub-Signature-256 header is not text")]
    NotText,
    /// It does not begin with `sha256=`.
    #[error("the X-Hub-Signature-256 header does not begin with `sha256=`")]
    Prefix,
    /// It does not have 64 digits.
    #[error("the X-Hub-Signature-256 header does not have 64 digits after `sha256=`")]
    Length,
    /// It has upper-case digits, which GitHub never sends.
    #[error("the X-Hub-Signature-256 header has upper-case digits; it is written in lower case")]
    UpperCase,
    /// It has other characters than hexadecimal digits.
    #[error("the X-Hub-Signature-256 header has characters that are no hexadecimal digits")]
    NotHex,
    /// None of the hook's secrets makes it.
    #[error("the signature is not that of this body by any secret of this hook")]
    Wrong,
}

impl Claimed {
    /// The bytes, to tell one that was found to be right from others.
    pub(crate) fn digest(self) -> [u8; 32] {
        self.0
    }

    pub(crate) fn parse(header: &[u8]) -> Result<Self, SignatureProblem> {
        if !header.is_ascii() {
            return Err(SignatureProblem::NotText);
        }
        let digits = header.strip_prefix(b"sha256=").ok_or(SignatureProblem::Prefix)?;
        if digits.len() != 64 {
            return Err(SignatureProblem::Length);
        }
        let mut bytes = [0; 32];
        match base16ct::lower::decode(digits, &mut bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) if digits.iter().all(u8::is_ascii_hexdigit) => Err(SignatureProblem::UpperCase),
            Err(_) => Err(SignatureProblem::NotHex),
        }
    }
}

/// The running hashes of one body, one for each secret of its hook.
pub(crate) struct Macs(Vec<Mac>);

impl Macs {
    pub(crate) fn start(secrets: &SecretSet) -> Self {
        Self(secrets.secrets().iter().map(|secret| secret.mac()).collect())
    }

    /// Every hash sees a block before the next block is touched, so that it is read from memory once.
    pub(crate) fn update(&mut self, chunk: &[u8]) {
        for block in chunk.chunks(BLOCK) {
            self.0.iter_mut().for_each(|mac| mac.update(block));
        }
    }

    /// Which of the secrets made the claimed signature. All are compared, each in constant time, so that the time
    /// it takes tells nothing.
    pub(crate) fn matching(self, claimed: Claimed) -> Result<usize, SignatureProblem> {
        let mut found = None;
        for (i, mac) in self.0.into_iter().enumerate() {
            let is_same = bool::from(mac.finalize().into_bytes().as_slice().ct_eq(&claimed.0));
            found = found.or(is_same.then_some(i));
        }
        found.ok_or(SignatureProblem::Wrong)
    }
}

pub(crate) fn keyed(key: &[u8]) -> Mac {
    Mac::new_from_slice(key).expect("HMAC takes keys of any length")
}

pub(crate) fn header(mac: Mac, body: &[u8]) -> String {
    let digest = mac.chain_update(body).finalize().into_bytes();
    format!("sha256={}", base16ct::lower::encode_string(&digest))
}

const BLOCK: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const EVERYBODY: &str = "It's a Secret to Everybody";

    #[test]
    fn the_published_vectors_come_out() {
        for (key, body, hex) in [
            (EVERYBODY, "Hello, World!", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
            (EVERYBODY, "", "66a0c074deaa0f489ead6537e0d32f9a344b90bbeda705b6ed45ecd3b413fb40"),
            (
                EVERYBODY,
                r#"{"ref":"refs/heads/main"}"#,
                "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2",
            ),
            (
                EVERYBODY,
                "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D",
                "720493f557150a271b7cfdd9904c5fe4697f30c44588f8b452d36abc47b8796c",
            ),
            (
                "mysecret",
                r#"{"foo":"bar"}"#,
                "4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3",
            ),
        ] {
            let digest = hmac_sha256(key.as_bytes(), body.as_bytes());
            assert_eq!(base16ct::lower::encode_string(&digest), hex, "{body}");
        }
    }

    #[test]
    fn each_way_to_be_malformed_is_told_apart() {
        let digits = "ab".repeat(32);
        for (header, problem) in [
            (digits.clone(), SignatureProblem::Prefix),
            (String::new(), SignatureProblem::Prefix),
            (format!("sha1={digits}"), SignatureProblem::Prefix),
            (format!("SHA256={digits}"), SignatureProblem::Prefix),
            (format!(" sha256={digits}"), SignatureProblem::Prefix),
            ("sha256=".into(), SignatureProblem::Length),
            ("sha256=7571".into(), SignatureProblem::Length),
            (format!("sha256={digits}0"), SignatureProblem::Length),
            (format!("sha256={}", digits.to_uppercase()), SignatureProblem::UpperCase),
            (format!("sha256={}", "zz".repeat(32)), SignatureProblem::NotHex),
            (format!("sha256={}\u{fc}", &digits[2..]), SignatureProblem::NotText),
        ] {
            assert_eq!(Claimed::parse(header.as_bytes()).err(), Some(problem), "{header}");
        }
        assert!(Claimed::parse(format!("sha256={digits}").as_bytes()).is_ok());
    }

    #[test]
    fn the_secret_that_matched_is_known_and_the_others_do_not() {
        let secrets: Vec<_> =
            ["a", "b", "c"].map(|label| Secret::new(label, label.repeat(16)).unwrap()).into();
        let set = SecretSet::new(secrets.clone()).unwrap();
        for (i, secret) in secrets.iter().enumerate() {
            let claimed = Claimed::parse(secret.sign(b"body").as_bytes()).unwrap();
            for (body, expected) in [(b"body", Ok(i)), (b"Body", Err(SignatureProblem::Wrong))] {
                let mut macs = Macs::start(&set);
                macs.update(&body[..1]);
                macs.update(&body[1..]);
                assert_eq!(macs.matching(claimed), expected);
            }
        }
    }
}
