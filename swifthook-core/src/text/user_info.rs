use std::borrow::Cow;

/// `text` with `…` in the place of names, passwords and tokens in the addresses that it names.
///
/// For what git, a driver or a library says: such a text names the address it was given, with whatever stands in it.
/// Addresses are found by their form (`scheme://…@`, `user:password@host`, `?query`), so that it takes too much
/// rather than too little. What is known to be an address goes through [`address_without_user_info`].
///
/// # Examples
///
/// ```
/// use swifthook_core::text::without_user_info;
///
/// let said = "unable to access 'https://x:ghp_1@git.example/a/b/': 403";
/// assert_eq!(without_user_info(said), "unable to access 'https://…@git.example/a/b/': 403");
/// ```
#[must_use]
pub fn without_user_info(text: &str) -> Cow<'_, str> {
    if !text.contains('@') && !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(|letter: char| !is_gap(letter)).unwrap_or(rest.len());
        shown.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = end_of_word(rest);
        match rest[..end].find("://").filter(|_| has_split_user_info(&rest[..end])) {
            // A password with a space in it: it goes on to the next `@` of the line.
            Some(scheme) => {
                let line = rest.find('\n').unwrap_or(rest.len());
                let to = rest[end..line].find('@').map_or(end, |at| end + at);
                shown.push_str(&rest[..scheme + 3]);
                shown.push('…');
                rest = &rest[to..];
                let end = end_of_word(rest);
                shown.push_str(&without_query(&rest[..end]));
                rest = &rest[end..];
            }
            None => {
                shown.push_str(&word(&rest[..end]));
                rest = &rest[end..];
            }
        }
    }
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

/// `address`, the whole of which is meant to be an address, without whatever may be a name, a password or a token in
/// it, also where it is misspelt. Users of ssh and of databases stay where there is no password, and `git`, which
/// everybody is.
#[must_use]
pub fn address_without_user_info(address: &str) -> String {
    let at = last_at(address);
    let start = after_scheme(&address[..at.map_or(address.len(), |(at, _)| at)]);
    let (scheme, rest) = address.split_at(start);
    let shown = match at {
        Some((at, _)) if is_public(scheme, &address[start..at]) => rest.to_owned(),
        Some((_, after)) => format!("…@{}", &address[after..]),
        None if !scheme.trim().is_empty() && has_odd_port(rest) => {
            let host = rest.split(':').next().unwrap_or_default();
            format!("{host}:…")
        }
        None => rest.to_owned(),
    };
    let end = shown.find(['?', '#']).unwrap_or(shown.len());
    let more = if end < shown.len() { "?…" } else { "" };
    format!("{scheme}{}{more}", &shown[..end])
}

/// A word of a text, without a gap in it.
fn word(word: &str) -> Cow<'_, str> {
    let Some((at, after)) = last_at(word) else { return without_query(word) };
    let (before, host) = (&word[..at], &word[after..]);
    // `registry:5000/name@sha256:…` is an image.
    let is_digest = ["sha256:", "sha512:"].iter().any(|name| host.starts_with(name));
    let start = match scheme_end(before) {
        Some(end) => end,
        None if before.contains(':') && !is_digest => {
            before.find(|letter: char| !OPENING.contains(&letter)).unwrap_or(at)
        }
        None => return without_query(word),
    };
    match &word[start..at] {
        "" | "…" => without_query(word),
        user if is_public(&word[..start], user) => without_query(word),
        _ => format!("{}…@{}", &word[..start], without_query(host)).into(),
    }
}

/// Returns `true` of a name that lets nobody in by itself: of a user of ssh or of a database, without a password. Of
/// `https` it may be a token.
fn is_public(scheme: &str, user: &str) -> bool {
    let has_names = ["ssh://", "postgres://", "postgresql://"].iter().any(|name| scheme.ends_with(name));
    user == "git" || (has_names && !user.contains([':', '%', '@']))
}

/// A query may have a token in it, and says nothing to people.
fn without_query(word: &str) -> Cow<'_, str> {
    let from = word.find("://").map_or(0, |at| at + 3);
    match word[from..].find('?').map(|at| from + at) {
        Some(at) if from > 0 || word[..at].contains('/') => {
            let end = word[at..].find(CLOSING).map_or(word.len(), |end| at + end);
            format!("{}?…{}", &word[..at], &word[end..]).into()
        }
        _ => word.into(),
    }
}

/// The last `@`, or an escaped one, and where it ends.
fn last_at(text: &str) -> Option<(usize, usize)> {
    let escaped = text.rfind("%40").map(|at| (at, at + 3));
    text.rfind('@').map(|at| (at, at + 1)).max(escaped)
}

/// Position at which what follows a scheme begins, however it is misspelt: `https://`, `https:/`, `//`, `git+https://`.
fn after_scheme(address: &str) -> usize {
    let blank = address.len() - address.trim_start().len();
    scheme_end(address).unwrap_or(blank)
}

fn scheme_end(text: &str) -> Option<usize> {
    let at = match text.find(":/") {
        Some(at) => at + 1,
        None => {
            text.find("//").filter(|at| text[..*at].chars().all(|c| OPENING.contains(&c) || is_gap(c)))?
        }
    };
    Some(at + text[at..].len() - text[at..].trim_start_matches('/').len())
}

/// Returns `true` of `https://name:word`, whose password goes on behind a gap.
fn has_split_user_info(word: &str) -> bool {
    let Some(at) = word.find("://") else { return false };
    last_at(word).is_none() && has_odd_port(&word[at + 3..])
}

/// Returns `true` where what should be a port is none.
fn has_odd_port(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').and_then(|(_, port)| port.strip_prefix(':')),
        None => authority.split_once(':').map(|(_, port)| port),
    };
    port.is_some_and(|port| {
        let port = port.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        !port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn end_of_word(text: &str) -> usize {
    text.find(is_gap).unwrap_or(text.len())
}

fn is_gap(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control()
}

const OPENING: [char; 8] = ['"', '\'', '`', '<', '(', '[', '{', '='];
const CLOSING: [char; 9] = ['"', '\'', '`', '>', ')', ']', '}', ',', '\\'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_taken_out_of_what_a_program_says() {
        for (said, shown) in [
            (
                "fatal: unable to access 'https://x:S3CRET@h.example/a/': 403",
                "fatal: unable to access 'https://…@h.example/a/': 403",
            ),
            ("could not read Password for 'https://S3CRET@h'", "could not read Password for 'https://…@h'"),
            ("Unsupported proxy syntax in 'u:S3CRET@proxy:x'", "Unsupported proxy syntax in '…@proxy:x'"),
            ("postgres://ada:S3C/RET@db/swifthook", "postgres://…@db/swifthook"),
            ("amqp://ada:S3CRET%40x@broker:5672/%2f", "amqp://…@broker:5672/%2f"),
            ("at https://x:S3C RET@h/a there", "at https://…@h/a there"),
            ("htps:/x:S3CRET@h, //S3CRET@h", "htps:/…@h, //…@h"),
            ("https://x:S3CRET%40h/a", "https://…@h/a"),
            ("ssh://S3CRET:x@h/p and u:S3CRET@h:p", "ssh://…@h/p and …@h:p"),
            ("<https://h/a?private_token=S3CRET>", "<https://h/a?…>"),
            ("https://x:S3CRET", "https://…"),
        ] {
            assert_eq!(without_user_info(said), shown);
            assert!(!shown.contains("S3C") && !shown.contains("RET@"), "{shown}");
            assert_eq!(without_user_info(shown), shown, "once is enough");
        }
    }

    #[test]
    fn what_lets_nobody_in_stays() {
        for said in [
            "git@git.example: Permission denied (publickey).",
            "https://[::1]:8080/a at http://127.0.0.1:80: refused",
            "registry:5000/ms-swift@sha256:ab and Ada <ada@example.org>",
            "ssh://git@h/p, https://h:443, is it?",
            "postgres://swifthook@127.0.0.1/swifthook",
            "a: b",
            "see https://git.example: it moved",
            "",
        ] {
            assert!(matches!(without_user_info(said), Cow::Borrowed(same) if same == said), "{said}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_lets_somebody_in_however_it_is_misspelt() {
        for (address, shown) in [
            ("htps://x:S3CRET@h/a.git", "htps://…@h/a.git"),
            ("HTTPS://x:S3CRET@h/a.git", "HTTPS://…@h/a.git"),
            ("git+https://S3CRET@h/a", "git+https://…@h/a"),
            (" https://x:S3CRET@h/a", " https://…@h/a"),
            ("https://x:S3 C@RET@h/a", "https://…@h/a"),
            ("https:x:S3CRET@h/a", "…@h/a"),
            ("x:S3CRET@h:a", "…@h:a"),
            ("S3CRET@h/a", "…@h/a"),
            ("https://x:S3CRET%40h/a", "https://…@h/a"),
            ("https://x:S3CRET", "https://x:…"),
            ("https://h/a?token=S3CRET#x", "https://h/a?…"),
            ("git@h:a/b.git", "git@h:a/b.git"),
            ("ssh://git@h:22/a", "ssh://git@h:22/a"),
            ("https://h:8443/a", "https://h:8443/a"),
            ("models.git", "models.git"),
            ("ext::sh -c whoami", "ext::sh -c whoami"),
            ("ssh://deploy@h/a", "ssh://deploy@h/a"),
            ("", ""),
        ] {
            assert_eq!(address_without_user_info(address), shown);
        }
    }
}
