use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;

use super::{ConfigError, Outcome, Refusal};
use crate::condition::Glob;
use crate::id::RepoName;
use crate::push::Dialect;
use crate::secret::SecretSet;
use crate::signature::{Claimed, Macs, SignatureProblem};
use crate::time::Timestamp;

/// A path at which deliveries are taken: it chooses the secrets, and the secrets what may be spoken for.
///
/// Made with [`Hook::new`] and then set up field by field.
#[derive(Clone, Debug)]
pub struct Hook {
    id: Arc<str>,
    path: Arc<str>,
    secrets: SecretSet,
    repositories: Vec<RepoPattern>,
    /// The dialect of its payloads; `None` takes each for what it is by its shape.
    pub kind: Option<Dialect>,
    /// Networks from which deliveries are taken; empty is all of them. An addition to the signature, never a
    /// replacement.
    pub allow_from: Vec<IpNet>,
    /// The largest body, in bytes. GitHub sends up to 25 MB.
    pub max_body: usize,
    /// A signed push older than this is held, so that a replayed body cannot outlive its key. `None` is no limit. It does
    /// not apply where a payload has no time that is signed with it, as those of Gitea have not.
    pub max_age: Option<Duration>,
    /// How long a redelivery may train again what failed.
    pub redelivery: Duration,
}

/// A pattern of repository names, `acme/*`, in lower case. `*` stops at `/`.
#[derive(Clone, Debug)]
struct RepoPattern(Glob);

/// Proof that a body was signed with a secret of a hook. Only verification makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    body: Bytes,
    hook: Arc<Hook>,
    secret: usize,
}

impl Hook {
    /// How old a signed push may be unless a hook says otherwise: seven days.
    pub const MAX_AGE: Duration = Duration::from_secs(7 * 86_400);

    /// A hook with the defaults of a configuration file.
    ///
    /// `repositories` are patterns of the names for which it may speak.
    ///
    /// # Errors
    ///
    /// When the id is empty, the path does not begin with `/`, or there is no pattern or one that is no glob; all
    /// of that at once.
    pub fn new(id: &str, path: &str, secrets: SecretSet, repositories: &[&str]) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        if id.is_empty() {
            problems.push("a hook has an empty name".to_owned());
        }
        if !path.starts_with('/') || path.contains(['?', '#']) {
            problems.push(format!("hook `{id}`: path `{path}` is none (expected `/webhook` or the like)"));
        }
        if repositories.is_empty() {
            problems
                .push(format!("hook `{id}` may speak for no repository (expected `owner/*` or the like)"));
        }
        let mut patterns = Vec::new();
        for text in repositories {
            match RepoPattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => problems.push(format!("hook `{id}`: repositories: `{text}`: {why}")),
            }
        }
        ConfigError::unless_empty(problems)?;
        Ok(Self {
            id: id.into(),
            path: path.into(),
            secrets,
            repositories: patterns,
            kind: None,
            allow_from: Vec::new(),
            max_body: 25 * 1024 * 1024,
            max_age: Some(Self::MAX_AGE),
            redelivery: Duration::from_secs(3 * 86_400),
        })
    }

    /// Verifies a body that is already whole; `header` is the value of `X-Hub-Signature-256`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Signature`].
    pub fn verify(self: &Arc<Self>, header: Option<&[u8]>, body: Bytes) -> Result<Verified, Refusal> {
        let claimed = Claimed::parse(header.ok_or(SignatureProblem::Missing)?)?;
        let mut macs = self.macs();
        macs.update(&body);
        Ok(self.proven(macs, claimed, body)?)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The path of its deliveries.
    #[must_use]
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Whether it may speak for this repository.
    #[must_use]
    pub fn speaks_for(&self, repository: &str) -> bool {
        self.speaks_for_lower_case(&repository.to_ascii_lowercase())
    }

    pub(super) fn speaks_for_lower_case(&self, repository: &str) -> bool {
        self.repositories.iter().any(|pattern| pattern.0.is_match(repository.as_bytes()))
    }

    pub(super) fn macs(&self) -> Macs {
        Macs::start(&self.secrets)
    }

    /// The proof, if `macs`, which have seen `body`, make the claimed signature.
    pub(super) fn proven(
        self: &Arc<Self>,
        macs: Macs,
        claimed: Claimed,
        body: Bytes,
    ) -> Result<Verified, SignatureProblem> {
        let secret = macs.matching(claimed)?;
        Ok(Verified { body, hook: self.clone(), secret })
    }
}

impl Hook {
    /// The signed time of a push that is not older than pushes may be. Whatever else is signed has none, and anybody may
    /// have recorded it long ago.
    pub(super) fn pushed_at(&self, outcome: &Outcome, now: Timestamp) -> Option<Timestamp> {
        let Outcome::Decided(decided) = outcome else { return None };
        let is_young = |at: &Timestamp| self.max_age.is_none_or(|max_age| now.since(*at) <= max_age);
        decided.push.pushed_at.filter(is_young).filter(|_| decided.is_of_configured())
    }
}

impl RepoPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let is_literal = !text.contains(['*', '?', '[', '{']);
        if is_literal && RepoName::new(text).is_err() {
            return Err("neither `owner/name` nor a pattern".to_owned());
        }
        let glob = Glob::parse(&text.to_ascii_lowercase());
        Ok(Self(glob.map_err(|error| error.kind().to_string())?))
    }
}

impl Verified {
    /// The hook whose secret signed it.
    #[must_use]
    pub fn hook(&self) -> &Arc<Hook> {
        &self.hook
    }

    /// The label of the secret that signed it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.hook.secrets.secrets()[self.secret].label()
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn hook(secrets: Vec<Secret>, repositories: &[&str]) -> Result<Arc<Hook>, ConfigError> {
        Hook::new("github", "/webhook", SecretSet::new(secrets).unwrap(), repositories).map(Arc::new)
    }

    fn secret(label: &str) -> Secret {
        Secret::new(label, label.repeat(16)).unwrap()
    }

    #[test]
    fn a_hook_speaks_for_what_its_patterns_name_and_no_more() {
        let hook = hook(vec![secret("a")], &["acme/*", "Other/one"]).unwrap();
        for (repository, may) in [
            ("acme/models", true),
            ("ACME/Models", true),
            ("other/ONE", true),
            ("other/two", false),
            ("evil/models", false),
            ("acme/models/deeper", false),
            ("notacme/models", false),
            ("acme", false),
            ("", false),
        ] {
            assert_eq!(hook.speaks_for(repository), may, "{repository}");
        }
    }

    #[test]
    fn everything_wrong_with_a_hook_is_said_at_once() {
        let secrets = SecretSet::new(vec![secret("a")]).unwrap();
        let wrong = Hook::new("", "webhook", secrets, &["acme", "a/{b"]).unwrap_err();
        assert_eq!(wrong.problems().len(), 4, "{wrong}");
        assert!(hook(vec![secret("a")], &[]).is_err());
    }

    #[test]
    fn a_proof_names_the_hook_and_the_secret() {
        let hook = hook(vec![secret("old"), secret("new")], &["acme/*"]).unwrap();
        let body = Bytes::from_static(b"anything");
        let header = secret("new").sign(&body);
        let verified = hook.verify(Some(header.as_bytes()), body.clone()).unwrap();
        assert_eq!((verified.label(), verified.body()), ("new", &body));
        assert!(Arc::ptr_eq(verified.hook(), &hook));
        let refused = |header: Option<&[u8]>, body: &[u8]| {
            hook.verify(header, Bytes::copy_from_slice(body)).unwrap_err()
        };
        assert_eq!(refused(None, &body), SignatureProblem::Missing.into());
        assert_eq!(refused(Some(header.as_bytes()), b"another"), SignatureProblem::Wrong.into());
        assert_eq!(
            refused(Some(secret("gone").sign(&body).as_bytes()), &body),
            SignatureProblem::Wrong.into()
        );
    }
}
