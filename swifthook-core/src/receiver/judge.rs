use std::sync::Arc;

use bytes::Bytes;

use super::{Hook, Receiver, Refusal, Verified};
use crate::headers::{EventHint, MediaType};
use crate::intake::{Decided, RecipeVerdict};
use crate::policy::{HoldReason, Reason, Verdict};
use crate::push::{Reported, Source, Unread, form_payload};
use crate::time::Timestamp;

/// What became of a signed delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was a ping.
    Pong,
    /// There is nothing to decide: another event, or a repository that the configuration does not have.
    Ignored(Reason),
    /// A push, with a verdict for every recipe of its repository.
    Decided(Box<Decided>),
}

/// What is known of a delivery beside its body, none of it signed.
pub(super) struct Unsigned {
    pub(super) media: MediaType,
    pub(super) event: EventHint,
    pub(super) guid: Arc<str>,
}

impl Receiver {
    /// Reads and decides what was verified. The body says whether it is a push; the header only says what a body
    /// is ignored as that is none.
    pub(super) fn judge(
        &self,
        verified: &Verified,
        unsigned: Unsigned,
        now: Timestamp,
    ) -> Result<Outcome, Refusal> {
        if verified.body().is_empty() {
            return Err(Refusal::Empty);
        }
        let json = match unsigned.media {
            MediaType::Json => verified.body().clone(),
            MediaType::Form => Bytes::from(form_payload(verified.body())?),
        };
        let text = std::str::from_utf8(&json).map_err(|error| Refusal::NotJson(error.to_string()))?;
        match Reported::read(text, verified.hook().kind) {
            Ok(reported) => self.decide(verified.hook(), &json, reported, unsigned.guid, now),
            Err(Unread::NotJson(why)) => Err(Refusal::NotJson(why)),
            Err(Unread::NotAPush { why, is_ping }) => match unsigned.event {
                EventHint::Ping | EventHint::None if is_ping => Ok(Outcome::Pong),
                EventHint::Ping => Err(Refusal::NotAPing),
                EventHint::Push | EventHint::None => Err(Refusal::NotAPush(why)),
                EventHint::Other(event) => Ok(Outcome::Ignored(Reason::new(
                    "event",
                    format!("`{event}` is not looked at, only pushes are"),
                ))),
            },
        }
    }

    fn decide(
        &self,
        hook: &Hook,
        json: &Bytes,
        reported: Reported<'_>,
        guid: Arc<str>,
        now: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let name = reported.repository.to_ascii_lowercase();
        if !hook.speaks_for_lower_case(&name) {
            return Err(Refusal::Repository(reported.repository.chars().take(140).collect()));
        }
        let Some(known) = self.repositories.get(name.as_str()) else {
            let detail = format!("`{}` is not in the configuration", reported.repository);
            return Ok(Outcome::Ignored(Reason::new("repository", detail)));
        };
        let source = Source::Hook { hook: hook.id().clone(), guid };
        let push = reported.push(known.name.clone(), source, json.clone());
        let is_younger_than = |age| push.pushed_at.is_some_and(|pushed_at| now.since(pushed_at) <= age);
        let is_stale = hook.max_age.is_some_and(|max_age| push.is_stale(max_age, now));
        let decide = |recipe: &crate::Recipe| held_if(is_stale, recipe.decide(&push, now));
        Ok(Outcome::Decided(Box::new(Decided {
            version: Decided::VERSION,
            verdicts: known.recipes.iter().map(decide).collect(),
            config: self.config,
            received_at: now,
            is_redeliverable: is_younger_than(hook.redelivery),
            push,
        })))
    }
}

fn held_if(is_stale: bool, decided: RecipeVerdict) -> RecipeVerdict {
    match decided.verdict {
        Verdict::Launch { .. } if is_stale => {
            RecipeVerdict { verdict: Verdict::Hold(HoldReason::Stale), ..decided }
        }
        _ => decided,
    }
}
