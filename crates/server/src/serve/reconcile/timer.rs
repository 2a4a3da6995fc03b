use std::collections::{HashMap, HashSet};
use std::time::Duration;

use swifthook_core::{RepoName, Source};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tracing::{info, warn};

use super::super::reload::Handle;
use super::super::with_causes;
use super::look::Reconciler;
use crate::config::Config;

/// Looks at each repository at the start and then in its time, until it is told to stop.
pub(in crate::serve) async fn watch(
    reconciler: Reconciler,
    handle: Handle,
    stopped: impl Future<Output = ()>,
) {
    let mut timer = Timer::default();
    let looking = async {
        loop {
            let now = Instant::now();
            timer.follow(rhythms(&handle.config()));
            for (repository, source) in timer.due(now) {
                timer.begin(&reconciler, repository, source);
            }
            let next = timer.next(now);
            tokio::select! {
                Some(looked) = timer.looks.join_next_with_id() => match looked {
                    Ok((look, error)) => timer.done(look, error, Instant::now()),
                    Err(panicked) => timer.done(panicked.id(), Some(panicked.to_string()), Instant::now()),
                },
                () = tokio::time::sleep_until(next) => {}
            }
        }
    };
    tokio::select! {
        () = looking => {}
        () = stopped => {}
    }
}

/// How often a repository is looked at, and in whose name.
type Rhythm = (Duration, Source);

/// The repositories of recipes that are looked at.
fn rhythms(config: &Config) -> HashMap<RepoName, Rhythm> {
    let is_trained =
        |name: &RepoName| config.recipes.iter().any(|recipe| recipe.repository.is_named(name.as_str()));
    let rhythm = |pull: Option<Duration>| match pull {
        Some(every) => Some((every, Source::Pull)),
        None => config.server.reconcile.map(|every| (every, Source::Reconcile)),
    };
    let all = config.repositories.iter().filter(|repository| is_trained(&repository.name));
    all.filter_map(|repository| Some((repository.name.clone(), rhythm(repository.pull)?))).collect()
}

/// What is looked at when.
#[derive(Default)]
struct Timer {
    rhythms: HashMap<RepoName, Rhythm>,
    /// When each was looked at last, whether anything came of it or not.
    last: HashMap<RepoName, Instant>,
    under_way: HashMap<Id, RepoName>,
    failing: HashSet<RepoName>,
    /// Each answers why nothing came of it, if so.
    looks: JoinSet<Option<String>>,
}

impl Timer {
    fn follow(&mut self, rhythms: HashMap<RepoName, Rhythm>) {
        self.last.retain(|repository, _| rhythms.contains_key(repository));
        self.failing.retain(|repository| rhythms.contains_key(repository));
        self.rhythms = rhythms;
    }

    fn due(&self, now: Instant) -> Vec<(RepoName, Source)> {
        let is_due = |repository: &&RepoName| {
            !self.is_under_way(repository) && self.at(repository).is_none_or(|at| at <= now)
        };
        let due = self.rhythms.keys().filter(is_due);
        due.map(|repository| (repository.clone(), self.rhythms[repository].1.clone())).collect()
    }

    fn begin(&mut self, reconciler: &Reconciler, repository: RepoName, source: Source) {
        let (reconciler, of) = (reconciler.clone(), repository.clone());
        let look = self.looks.spawn(async move {
            reconciler.look(&of, &source, false).await.err().map(|error| with_causes(&error))
        });
        self.under_way.insert(look.id(), repository);
    }

    /// Of those that cannot be looked at, only the first failure and the end of them are told.
    fn done(&mut self, look: Id, error: Option<String>, now: Instant) {
        if let Some(repository) = self.under_way.remove(&look) {
            self.looked(&repository, error, now);
        }
    }

    fn looked(&mut self, repository: &RepoName, error: Option<String>, now: Instant) {
        self.last.insert(repository.clone(), now);
        match error {
            Some(error) if self.failing.insert(repository.clone()) => {
                warn!(%repository, error, "cannot look for pushes that were not delivered; trying again");
            }
            None if self.failing.remove(repository) => {
                info!(%repository, "can look for pushes that were not delivered again");
            }
            _ => {}
        }
    }

    fn is_under_way(&self, repository: &RepoName) -> bool {
        self.under_way.values().any(|of| of == repository)
    }

    /// When a repository is to be looked at; `None` for at once.
    fn at(&self, repository: &RepoName) -> Option<Instant> {
        let (every, _) = self.rhythms.get(repository)?;
        // What is pushed while a network is away is found soon after it is back.
        let every = if self.failing.contains(repository) { (*every).min(TRY_AGAIN) } else { *every };
        Some(*self.last.get(repository)? + every)
    }

    /// When to look again whether something is due: a new configuration is followed soon.
    fn next(&self, now: Instant) -> Instant {
        let waiting = self.rhythms.keys().filter(|repository| !self.is_under_way(repository));
        let first = waiting.filter_map(|repository| self.at(repository)).min();
        first.map_or(now + FOLLOW, |at| at.min(now + FOLLOW))
    }
}

/// How soon one that failed is looked at again.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// How soon a new configuration is followed.
const FOLLOW: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_repository_is_looked_at_at_the_start_and_then_in_its_time() {
        let start = Instant::now();
        let mut timer = Timer::default();
        timer.follow(rhythms());
        assert_eq!(due(&timer, start), ["acme/a", "acme/b"]);
        let look = timer.looks.spawn(async { None }).id();
        timer.under_way.insert(look, name("a"));
        assert_eq!(due(&timer, start + DAY), ["acme/b"], "never twice at once");
        timer.done(look, None, start);
        timer.looked(&name("b"), None, start);
        assert_eq!(due(&timer, start + Duration::from_secs(59)), [""; 0]);
        assert_eq!(due(&timer, start + Duration::from_secs(60)), ["acme/a"]);
        assert_eq!(due(&timer, start + Duration::from_secs(600)), ["acme/a", "acme/b"]);
        assert_eq!(timer.next(start), start + FOLLOW);
    }

    #[test]
    fn one_that_cannot_be_reached_is_tried_again_soon() {
        let start = Instant::now();
        let mut timer = Timer::default();
        timer.follow(rhythms());
        timer.looked(&name("a"), None, start);
        timer.looked(&name("b"), Some("away".to_owned()), start);
        assert_eq!(due(&timer, start + Duration::from_secs(60)), ["acme/a", "acme/b"]);
        timer.looked(&name("b"), None, start);
        assert_eq!(due(&timer, start + Duration::from_secs(60)), ["acme/a"]);
    }

    fn due(timer: &Timer, now: Instant) -> Vec<String> {
        let mut due: Vec<_> = timer.due(now).into_iter().map(|(name, _)| name.to_string()).collect();
        due.sort();
        due
    }

    fn rhythms() -> HashMap<RepoName, Rhythm> {
        [
            (name("a"), (Duration::from_secs(60), Source::Pull)),
            (name("b"), (Duration::from_secs(600), Source::Reconcile)),
        ]
        .into()
    }

    fn name(part: &str) -> RepoName {
        RepoName::new(&format!("acme/{part}")).unwrap()
    }

    const DAY: Duration = Duration::from_secs(86_400);
}
