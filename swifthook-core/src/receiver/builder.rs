use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::begin::{Repository, bare};
use super::proofs::Proofs;
use super::{Hook, Limits, Receiver};
use crate::id::RepoName;
use crate::intake::ConfigDigest;
use crate::policy::TriggerPolicy;
use crate::recipe::Recipe;
use crate::secret::SecretSet;
use crate::time::Timestamp;

/// Puts a [`Receiver`] together. What is wrong is told by [`Builder::build`], all of it at once.
#[derive(Default)]
pub struct Builder {
    hooks: Vec<Hook>,
    recipes: Vec<Recipe>,
    pulled: Vec<RepoName>,
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    config: ConfigDigest,
    started_at: Option<Timestamp>,
    problems: Vec<String>,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.join("; "))]
pub struct ConfigError {
    problems: Vec<String>,
}

impl Builder {
    /// Adds a hook with default settings: its name, its path, its secrets, and patterns of the repositories for
    /// which it may speak.
    #[must_use]
    pub fn hook(mut self, id: &str, path: &str, secrets: SecretSet, repositories: &[&str]) -> Self {
        match Hook::new(id, path, secrets, repositories) {
            Ok(hook) => self.hooks.push(hook),
            Err(error) => self.problems.extend(error.problems),
        }
        self
    }

    /// Adds a recipe with default settings.
    #[must_use]
    pub fn recipe(mut self, name: &str, repository: &str, policy: impl TriggerPolicy + 'static) -> Self {
        match RepoName::new(repository) {
            Ok(repository) => self.recipes.push(Recipe::new(name, repository, policy)),
            Err(error) => self.problems.push(format!("recipe `{name}`: {error}")),
        }
        self
    }

    /// Adds a hook.
    #[must_use]
    pub fn add_hook(mut self, hook: Hook) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Adds a recipe.
    #[must_use]
    pub fn add_recipe(mut self, recipe: Recipe) -> Self {
        self.recipes.push(recipe);
        self
    }

    /// Says that pushes of a repository are looked for ([`Receiver::found`]), so that it needs no hook.
    #[must_use]
    pub fn pulled(mut self, repository: RepoName) -> Self {
        self.pulled.push(repository);
        self
    }

    /// Sets what requests may take.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the networks of proxies whose `X-Forwarded-For` is believed.
    #[must_use]
    pub fn trusted_proxies(self, trusted_proxies: Vec<IpNet>) -> Self {
        Self { trusted_proxies, ..self }
    }

    /// Sets the digest of the configuration, which every decision carries.
    #[must_use]
    pub fn config(self, config: ConfigDigest) -> Self {
        Self { config, ..self }
    }

    /// Sets the time since which deliveries are taken, for [`Reputation`](super::Reputation): who sends a push that was
    /// made before may have recorded it. Without it that is the time of the first delivery.
    #[must_use]
    pub fn started_at(self, started_at: Timestamp) -> Self {
        Self { started_at: Some(started_at), ..self }
    }

    /// The receiver.
    ///
    /// # Errors
    ///
    /// When a hook or a recipe is malformed, two have one name, two hooks one path, a repository is spelled in two
    /// ways, or there is no hook that may speak for the repository of a recipe
    /// and it is not [pulled](Self::pulled).
    pub fn build(mut self) -> Result<Receiver, ConfigError> {
        self.check_hooks();
        self.check_recipes();
        ConfigError::unless_empty(self.problems)?;
        let mut repositories: HashMap<Box<str>, Repository> = HashMap::new();
        for recipe in self.recipes {
            let key = recipe.repository.as_str().to_ascii_lowercase().into();
            let repository = repositories.entry(key).or_insert_with(|| Repository::new(&recipe.repository));
            repository.recipes.push(recipe);
        }
        let ids = self.hooks.iter().map(|hook| hook.id().clone());
        let proofs = Proofs::new(ids, self.started_at);
        Ok(Receiver {
            hooks: self.hooks.into_iter().map(|hook| (bare(hook.path()).into(), Arc::new(hook))).collect(),
            repositories,
            limits: self.limits,
            trusted_proxies: self.trusted_proxies,
            config: self.config,
            in_flight: Default::default(),
            identities: Default::default(),
            proofs,
        })
    }

    fn check_hooks(&mut self) {
        if self.hooks.is_empty() && self.pulled.is_empty() && self.problems.is_empty() {
            self.problems.push("there is no hook".to_owned());
        }
        for (i, hook) in self.hooks.iter().enumerate() {
            let earlier = &self.hooks[..i];
            if earlier.iter().any(|other| other.id() == hook.id()) {
                self.problems.push(format!("two hooks are named `{}`", hook.id()));
            }
            if earlier.iter().any(|other| bare(other.path()) == bare(hook.path())) {
                self.problems.push(format!("two hooks have the path `{}`", hook.path()));
            }
        }
    }

    fn check_recipes(&mut self) {
        let hooks_are_known = self.problems.is_empty();
        for (i, recipe) in self.recipes.iter().enumerate() {
            let (name, repository, earlier) = (&recipe.name, &recipe.repository, &self.recipes[..i]);
            self.problems.extend(recipe.problems().iter().map(ToString::to_string));
            if earlier.iter().any(|other| other.name == *name) {
                self.problems.push(format!("two recipes are named `{name}`"));
            }
            let respelled = |other: &&Recipe| {
                other.repository != *repository && other.repository.is_named(repository.as_str())
            };
            if let Some(other) = earlier.iter().find(respelled) {
                let spelled = &other.repository;
                self.problems.push(format!("`{repository}` and `{spelled}` are one repository"));
            }
            let is_pulled = self.pulled.iter().any(|pulled| pulled.is_named(repository.as_str()));
            if hooks_are_known
                && !is_pulled
                && !self.hooks.iter().any(|hook| hook.speaks_for(repository.as_str()))
            {
                self.problems.push(format!("recipe `{name}`: no hook may speak for `{repository}`"));
            }
        }
    }
}

impl ConfigError {
    /// Each thing that is wrong, as a sentence of its own.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    pub(super) fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Verdict;
    use crate::push::Push;

    struct Always;

    impl TriggerPolicy for Always {
        fn decide(&self, _push: &Push, _now: Timestamp) -> Verdict {
            Verdict::launch()
        }
    }

    fn secrets() -> SecretSet {
        SecretSet::one("correct horse battery staple").unwrap()
    }

    #[test]
    fn everything_wrong_with_a_configuration_is_said_at_once() {
        let wrong = Receiver::builder()
            .hook("a", "/a", secrets(), &["acme/*"])
            .hook("a", "/a", secrets(), &["acme/*"])
            .hook("b", "b", secrets(), &[])
            .recipe("one", "acme/models", Always)
            .recipe("one", "Acme/models", Always)
            .recipe("two", "nothing", Always)
            .recipe("three/four", "acme/other", Always)
            .build()
            .unwrap_err();
        let expected = [
            "hook `b`: path `b` is none",
            "hook `b` may speak for no repository",
            "recipe `two`: not a repository name: `nothing`",
            "two hooks are named `a`",
            "two hooks have the path `/a`",
            "two recipes are named `one`",
            "`Acme/models` and `acme/models` are one repository",
            "not a name for a recipe: `three/four`",
        ];
        assert_eq!(wrong.problems().len(), expected.len(), "{wrong}");
        for (problem, beginning) in wrong.problems().iter().zip(expected) {
            assert!(problem.starts_with(beginning), "{problem}");
        }
    }

    #[test]
    fn a_recipe_that_no_hook_can_reach_is_a_mistake() {
        let hook = |builder: Builder| builder.hook("a", "/a", secrets(), &["acme/*"]);
        let unreachable =
            hook(Receiver::builder()).recipe("one", "other/models", Always).build().unwrap_err();
        assert_eq!(unreachable.problems(), ["recipe `one`: no hook may speak for `other/models`"]);
        assert!(hook(Receiver::builder()).recipe("one", "acme/models", Always).build().is_ok());
        assert_eq!(Receiver::builder().build().unwrap_err().problems(), ["there is no hook"]);
        let pulled = RepoName::new("Other/Models").unwrap();
        let receiver = Receiver::builder().pulled(pulled.clone()).recipe("one", "other/models", Always);
        assert!(receiver.build().is_ok(), "nobody announces what is looked for");
        let one_of_two =
            Receiver::builder().pulled(pulled).recipe("one", "acme/models", Always).build().unwrap_err();
        assert_eq!(one_of_two.problems(), ["recipe `one`: no hook may speak for `acme/models`"]);
    }
}
