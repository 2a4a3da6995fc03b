use serde::Deserialize;

use super::reach::{Error, Reach};

/// The id that begins with `text`, of the jobs or deliveries at `path`, or whose GUID does. Whole ids and GUIDs are the
/// server's to tell apart.
pub(super) fn whole(reach: &Reach, what: &'static str, path: &str, text: &str) -> Result<String, Error> {
    let wanted = text.to_ascii_lowercase();
    let is_hex = wanted.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_hex || wanted.is_empty() {
        return Err(Error::NoSuch { what, text: text.to_owned() });
    }
    if wanted.len() == FULL {
        return Ok(wanted);
    }
    let mut candidates = Vec::new();
    let mut cursor = String::new();
    for _ in 0..MOST_PAGES {
        let page: Page = reach.read(&format!("{path}?limit={PAGE}{cursor}"))?;
        let found = page.jobs.into_iter().chain(page.deliveries);
        candidates.extend(found.filter(|item| item.begins_with(&wanted)).map(|item| item.id));
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    match &candidates[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::NoSuch { what, text: text.to_owned() }),
        several => Err(Error::Ambiguous {
            text: text.to_owned(),
            candidates: several.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
        }),
    }
}

/// As much of an id as a table shows: the time to the millisecond, and what tells apart those of one moment.
pub(super) fn short(id: &str) -> &str {
    id.get(..18).unwrap_or(id)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    jobs: Vec<Item>,
    #[serde(default)]
    deliveries: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    /// `X-GitHub-Delivery`, which GitHub shows to people.
    #[serde(default)]
    guid: Option<String>,
}

impl Item {
    fn begins_with(&self, wanted: &str) -> bool {
        let guid = self.guid.as_ref().map(|guid| guid.to_ascii_lowercase());
        self.id.starts_with(wanted) || guid.is_some_and(|guid| guid.starts_with(wanted))
    }
}

const FULL: usize = 36;
const PAGE: usize = 500;
const MOST_PAGES: usize = 20;
