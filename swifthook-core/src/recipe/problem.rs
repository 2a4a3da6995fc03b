use super::{Field, Recipe, Template};

/// What is wrong with a recipe, found before any push comes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeProblem {
    /// Its name has characters that would be ambiguous in group names.
    #[error("not a name for a recipe: `{0}` (letters, digits, `-`, `_` and `.`)")]
    Name(String),
    /// A template has a field that only a recipe with `each` fills.
    #[error("`{template}` of recipe `{recipe}` has `{{{field}}}`, which only a recipe with `each` knows")]
    NeedsEach {
        /// The recipe.
        recipe: String,
        /// Where the template stands: `command` or `group`.
        template: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A group names a field that only the run knows.
    #[error("`group` of recipe `{recipe}` has `{{{field}}}`, which is known only when the job runs")]
    KnownTooLate {
        /// The recipe.
        recipe: String,
        /// The field's name.
        field: &'static str,
    },
}

impl Recipe {
    /// Everything that is wrong with it; empty if nothing is.
    #[must_use]
    pub fn problems(&self) -> Vec<RecipeProblem> {
        let recipe = || self.name.to_string();
        let mut problems = Vec::new();
        if !is_name(&self.name) {
            problems.push(RecipeProblem::Name(recipe()));
        }
        let needs_each = |template, field: Field| RecipeProblem::NeedsEach {
            recipe: recipe(),
            template,
            field: field.name(),
        };
        if self.each.is_none() {
            let of_files =
                |template: &Template| template.fields().filter(|field| field.needs_each()).collect();
            let in_command = self.command.iter().flat_map::<Vec<_>, _>(of_files);
            problems.extend(in_command.map(|field| needs_each("command", field)));
            let in_group = self.group.iter().flat_map::<Vec<_>, _>(of_files);
            problems.extend(in_group.map(|field| needs_each("group", field)));
        }
        let in_group = self.group.iter().flat_map(Template::fields).filter(|field| field.is_late());
        problems.extend(
            in_group.map(|field| RecipeProblem::KnownTooLate { recipe: recipe(), field: field.name() }),
        );
        problems
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::branches;
    use crate::id::RepoName;
    use crate::recipe::Each;

    fn recipe(name: &str, command: &str, group: &str) -> Recipe {
        let repository = RepoName::new("acme/models").unwrap();
        Recipe {
            command: vec![Template::parse(command).unwrap()],
            group: Some(Template::parse(group).unwrap()),
            ..Recipe::new(name, repository, branches(["main"]).unwrap())
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let recipe = recipe("a:b", "--config={path}", "{stem}-{job}");
        let told: Vec<_> = recipe.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "not a name for a recipe: `a:b` (letters, digits, `-`, `_` and `.`)",
                "`command` of recipe `a:b` has `{path}`, which only a recipe with `each` knows",
                "`group` of recipe `a:b` has `{stem}`, which only a recipe with `each` knows",
                "`group` of recipe `a:b` has `{job}`, which is known only when the job runs",
            ]
        );
    }

    #[test]
    fn with_each_a_file_has_a_path() {
        let recipe = recipe("sft-qwen3_v1.2", "--config={path} {run_dir}", "{ref}/{stem}");
        let recipe = Recipe { each: Some(Each::new(["configs/*"]).unwrap()), ..recipe };
        assert_eq!(recipe.problems(), []);
    }

    #[test]
    fn a_receiver_is_not_built_with_a_recipe_that_has_problems() {
        let secrets = crate::SecretSet::one("correct horse battery staple").unwrap();
        let error = crate::Receiver::builder()
            .hook("github", "/webhook", secrets, &["acme/*"])
            .add_recipe(recipe("sft", "--config={path}", "{ref}"))
            .build()
            .unwrap_err();
        let told = "`command` of recipe `sft` has `{path}`, which only a recipe with `each` knows";
        assert_eq!(error.problems(), [told]);
    }
}
