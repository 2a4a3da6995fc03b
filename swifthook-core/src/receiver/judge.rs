use std::sync::Arc;

use bytes::Bytes;

use super::begin::Repository;
use super::{Hook, Receiver, Refusal, Verified};
use crate::headers::{EventHint, MediaType};
use crate::id::RepoName;
use crate::intake::{Decided, RecipeVerdict};
use crate::policy::{HoldReason, Reason, Verdict};
use crate::push::{Reported, Source, Unread, form_payload, is_of_one_name};
use crate::time::Timestamp;

/// What became of a signed delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was a ping.
    Pong,
    /// There is nothing to decide: another event, or a repository whose name is none.
    Ignored(Reason),
    /// A push, with a verdict for every recipe of its repository: with none where the configuration does not have it.
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
        let may_speak = hook.speaks_for_lower_case(&name);
        let known = self.repositories.get(name.as_str()).filter(|_| may_speak);
        let id = reported.origin.repository_id;
        let Some(known) = known else {
            let renamed = id.and_then(|id| self.renamed(hook, id));
            let is_of_one_name = || std::str::from_utf8(json).is_ok_and(is_of_one_name);
            return match renamed.filter(|_| is_of_one_name()) {
                Some(earlier) => self.decide_otherwise(hook, json, reported, guid, Some(earlier), now),
                None if may_speak => self.decide_otherwise(hook, json, reported, guid, None, now),
                None => Err(Refusal::Repository(reported.repository.chars().take(140).collect())),
            };
        };
        if let Some(id) = id {
            self.identities.learn(hook.id(), id, &known.name);
        }
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

impl Receiver {
    /// The repository of the configuration that had this number when it was pushed to by way of this hook.
    fn renamed(&self, hook: &Hook, id: u64) -> Option<&Repository> {
        let names = self.identities.names(hook.id(), id);
        let mut names = names.iter().filter(|name| hook.speaks_for(name.as_str()));
        names.find_map(|name| self.repositories.get(name.as_str().to_ascii_lowercase().as_str()))
    }

    /// A push of a repository that the configuration does not have by its name: nothing trains, and it stands in the list
    /// of deliveries. Where it had another name, its recipes are held for a person.
    fn decide_otherwise(
        &self,
        hook: &Hook,
        json: &Bytes,
        reported: Reported<'_>,
        guid: Arc<str>,
        earlier: Option<&Repository>,
        now: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let Ok(name) = RepoName::new(&reported.repository) else {
            let detail = format!("`{}` is not in the configuration", reported.repository);
            return Ok(Outcome::Ignored(Reason::new("repository", detail)));
        };
        let source = Source::Hook { hook: hook.id().clone(), guid };
        let mut push = reported.push(name, source, json.clone());
        push.origin.renamed_from = earlier.map(|earlier| earlier.name.clone());
        let recipes = earlier.map_or(&[][..], |earlier| &earlier.recipes);
        Ok(Outcome::Decided(Box::new(Decided {
            version: Decided::VERSION,
            verdicts: recipes.iter().map(|recipe| recipe.decide_renamed(&push, now)).collect(),
            config: self.config,
            received_at: now,
            is_redeliverable: false,
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
