//! The body of a hook whose content type is a form: `payload=<percent-encoded JSON>`.

/// The field `payload` of a form, decoded
/// (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>).
pub(crate) fn payload(body: &[u8]) -> Result<Vec<u8>, FormProblem> {
    let mut payloads = body.split(|b| *b == b'&').filter_map(|field| field.strip_prefix(b"payload="));
    match (payloads.next(), payloads.next()) {
        (Some(encoded), None) => decode(encoded),
        (Some(_), Some(_)) => Err(FormProblem::Doubled),
        (None, _) => Err(FormProblem::Missing),
    }
}

/// What is wrong with a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormProblem {
    /// There is no field `payload`.
    #[error(
        "the form has no field `payload`; GitHub sends one, \
         or set the content type of the webhook to application/json"
    )]
    Missing,
    /// There are two.
    #[error("the form has more than one field `payload`")]
    Doubled,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("the field `payload` of the form is not percent-encoded")]
    Encoding,
}

fn decode(encoded: &[u8]) -> Result<Vec<u8>, FormProblem> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'%' | b'+')) {
        let (plain, special) = rest.split_at(at);
        decoded.extend_from_slice(plain);
        rest = match special {
            [b'%', high, low, after @ ..] => {
                decoded.push(digit(*high)? << 4 | digit(*low)?);
                after
            }
            [b'+', after @ ..] => {
                decoded.push(b' ');
                after
            }
            _ => return Err(FormProblem::Encoding),
        };
    }
    decoded.extend_from_slice(rest);
    Ok(decoded)
}

fn digit(hex: u8) -> Result<u8, FormProblem> {
    char::from(hex).to_digit(16).and_then(|n| u8::try_from(n).ok()).ok_or(FormProblem::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_found_and_decoded() {
        for (form, expected) in [
            ("payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D", Ok(r#"{"ref":"refs/heads/main"}"#)),
            ("a=b&payload=x%2By+z%2b%C3%BC&c", Ok("x+y z+ü")),
            ("payload=", Ok("")),
            ("", Err(FormProblem::Missing)),
            ("xpayload=1&payload", Err(FormProblem::Missing)),
            (r#"{"ref":"refs/heads/main"}"#, Err(FormProblem::Missing)),
            ("payload=1&payload=2", Err(FormProblem::Doubled)),
            ("payload=%", Err(FormProblem::Encoding)),
            ("payload=%7", Err(FormProblem::Encoding)),
            ("payload=%7g", Err(FormProblem::Encoding)),
            ("payload=%+7", Err(FormProblem::Encoding)),
        ] {
            assert_eq!(payload(form.as_bytes()), expected.map(|text| text.as_bytes().to_vec()), "{form}");
        }
    }

    #[test]
    fn every_byte_survives() {
        let bytes: Vec<u8> = (0..=255).collect();
        let encoded: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
        assert_eq!(payload(format!("payload={encoded}").as_bytes()), Ok(bytes));
    }
}
