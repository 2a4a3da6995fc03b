//! Where GitHub's deliveries come from: `allow_from = "github"`.
//!
//! The list is asked for at a start and from time to time, since it changes, and kept in the state directory, so that
//! a start does not hang on GitHub. An address is never instead of the signature.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use serde::Deserialize;
use tracing::warn;

use super::door::with_causes;
use crate::config::Config;

/// The addresses of GitHub's hooks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ranges(Arc<Shared>);

struct Shared {
    meta: Uri,
    file: PathBuf,
    known: RwLock<Vec<IpNet>>,
}

/// Where GitHub's deliveries come from could not be found out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// It could not be asked.
    #[error("`{meta}` does not say from where GitHub delivers; `allow_from` may name ranges instead")]
    Unanswered {
        /// Where it was asked.
        meta: Uri,
        /// What went wrong.
        #[source]
        source: Box<ureq::Error>,
    },
    /// What it answered is no list of ranges.
    #[error("`{meta}` answers no list of address ranges called `hooks`")]
    Strange {
        /// Where it was asked.
        meta: Uri,
        /// What is wrong with the answer.
        #[source]
        source: serde_json::Error,
    },
    /// It would let everybody in.
    #[error("`{meta}` answers a list that is empty or has a range of all addresses")]
    Everybody {
        /// Where it was asked.
        meta: Uri,
    },
}

/// What of GitHub's answer is read. See <https://docs.github.com/en/rest/meta/meta#get-github-meta-information>.
#[derive(Deserialize)]
struct Meta {
    hooks: Vec<IpNet>,
}

impl Ranges {
    pub(super) fn new(config: &Config) -> Self {
        let file = config.store.state_dir.join(FILE);
        Self(Arc::new(Shared { meta: config.server.github_meta.clone(), file, known: RwLock::default() }))
    }

    /// Whether a hook takes deliveries from there.
    pub(super) fn are_needed(config: &Config) -> bool {
        config.hooks.iter().any(|hook| hook.from_github)
    }

    /// The addresses that a configuration needs, which are none if no hook asks for them. Blocks while GitHub is
    /// asked for the first time; if it does not answer, what it said last counts.
    pub(super) fn of(&self, config: &Config) -> Result<Vec<IpNet>, RangesError> {
        if !Self::are_needed(config) {
            return Ok(Vec::new());
        }
        if self.known().is_empty()
            && let Err(error) = self.refresh()
        {
            let Some(kept) = kept(&self.0.file) else { return Err(error) };
            warn!(error = with_causes(&error), "GitHub's addresses are those of an earlier start");
            *self.0.known.write().expect("nothing panics under this lock") = kept;
        }
        Ok(self.known())
    }

    /// Asks again; whether there was something new.
    pub(super) fn refresh(&self) -> Result<bool, RangesError> {
        let asked = ask(&self.0.meta)?;
        if asked == self.known() {
            return Ok(false);
        }
        if let Err(error) = keep(&self.0.file, &asked) {
            warn!(%error, file = %self.0.file.display(), "GitHub's addresses could not be kept");
        }
        *self.0.known.write().expect("nothing panics under this lock") = asked;
        Ok(true)
    }

    fn known(&self) -> Vec<IpNet> {
        self.0.known.read().expect("nothing panics under this lock").clone()
    }
}

fn ask(meta: &Uri) -> Result<Vec<IpNet>, RangesError> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).user_agent(AGENT).build();
    let unanswered = |source| RangesError::Unanswered { meta: meta.clone(), source: Box::new(source) };
    let answer = ureq::Agent::from(agent).get(meta).call().map_err(unanswered)?;
    let text = answer.into_body().with_config().limit(LARGEST).read_to_vec().map_err(unanswered)?;
    let strange = |source| RangesError::Strange { meta: meta.clone(), source };
    let ranges = serde_json::from_slice::<Meta>(&text).map_err(strange)?.hooks;
    if is_everybody(&ranges) { Err(RangesError::Everybody { meta: meta.clone() }) } else { Ok(ranges) }
}

/// An empty list would be a hook without a list.
fn is_everybody(ranges: &[IpNet]) -> bool {
    ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0)
}

fn kept(file: &Path) -> Option<Vec<IpNet>> {
    let ranges: Vec<IpNet> = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (!is_everybody(&ranges)).then_some(ranges)
}

/// Replaced as a whole: a torn list would keep GitHub out.
fn keep(file: &Path, ranges: &[IpNet]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(&serde_json::to_vec(ranges)?)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

const FILE: &str = "github-ranges.json";
const AGENT: &str = concat!("swifthook/", env!("CARGO_PKG_VERSION"));
const PATIENCE: Duration = Duration::from_secs(10);
/// GitHub's whole answer has some 200 KB.
const LARGEST: u64 = 8 << 20;
