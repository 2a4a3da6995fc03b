use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use swifthook_benches::payload::{Size, push};

/// Requests that are ready to be written to a socket: pushes in GitHub's shape, every body different and signed.
pub(crate) struct Requests(Vec<Vec<u8>>);

impl Requests {
    /// `count` pushes to `main` of [`REPOSITORY`], each with a head of its own from `first` on.
    pub(crate) fn pushes(size: Size, first: usize, count: usize) -> Self {
        Self::pushes_to(&[REPOSITORY.to_owned()], size, first, count)
    }

    /// The same to the `main` of several repositories in turn.
    pub(crate) fn pushes_to(repositories: &[String], size: Size, first: usize, count: usize) -> Self {
        let templates: Vec<_> =
            repositories.iter().map(|repository| Template::new(repository, size)).collect();
        let one = |number: usize| signed(&templates[number % templates.len()].body(number), number);
        Self((first..first + count).map(one).collect())
    }

    /// One push whose head is a commit that exists.
    pub(crate) fn push_of(repository: &str, before: &str, head: &str) -> Self {
        let body = serde_json::to_vec(&push(repository, before, head, Size::SMALL)).expect("a value is JSON");
        Self(vec![signed(&body, 0)])
    }

    /// One push of at least `bytes`.
    pub(crate) fn large(bytes: usize) -> Self {
        let of = |commits| Size { commits, files: 100 };
        let [one, two] = [1, 2].map(|commits| Template::new(REPOSITORY, of(commits)).0.len());
        let size = of(1 + bytes.saturating_sub(one).div_ceil(two - one));
        let body = serde_json::to_vec(&push(REPOSITORY, BEFORE, HEAD, size)).expect("a value is JSON");
        Self(vec![signed(&body, 0)])
    }

    /// Round and round.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.0[index % self.0.len()]
    }
}

/// A body in which the head, wherever it stands, is to be written over.
struct Template(Vec<u8>, Vec<usize>);

impl Template {
    fn new(repository: &str, size: Size) -> Self {
        let text = serde_json::to_string(&push(repository, BEFORE, HEAD, size)).expect("a value is JSON");
        let places = text.match_indices(HEAD).map(|(place, _)| place).collect();
        Self(text.into_bytes(), places)
    }

    fn body(&self, number: usize) -> Vec<u8> {
        let mut body = self.0.clone();
        let head = format!("{:040x}", number + 1);
        for &place in &self.1 {
            body[place..place + head.len()].copy_from_slice(head.as_bytes());
        }
        body
    }
}

fn signed(body: &[u8], number: usize) -> Vec<u8> {
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("an HMAC takes keys of any length");
    hmac.update(body);
    let signature = base16ct::lower::encode_string(&hmac.finalize().into_bytes());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: GitHub-Hookshot/2f9bb2e\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nX-GitHub-Event: push\r\n\
         X-GitHub-Delivery: 00000000-0000-4000-8000-{number:012x}\r\nX-GitHub-Hook-ID: 1\r\n\
         X-Hub-Signature-256: sha256={signature}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) const REPOSITORY: &str = "acme/models";
pub(crate) const SECRET: &str = "correct horse battery staple 2026";
const BEFORE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const HEAD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn bodies_have_the_sizes_that_are_told_and_differ() {
        for (size, bytes) in [(Size::SMALL, 7_700), (Size::TWENTY_BY_TEN, 29_000)] {
            let template = Template::new(REPOSITORY, size);
            let length = template.body(0).len();
            assert!(length.abs_diff(bytes) < bytes / 30, "{length} and not {bytes}");
            assert_ne!(template.body(0), template.body(1));
            assert!(serde_json::from_slice::<Value>(&template.body(7)).is_ok());
        }
    }

    #[test]
    fn a_large_push_is_at_least_as_large_as_asked_for() {
        let length = Requests::large(2_000_000).get(0).len();
        assert!((2_000_000..2_400_000).contains(&length), "{length}");
    }
}
