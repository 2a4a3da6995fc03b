use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::git::{CommitSha, RefName};
use crate::id::JobId;
use crate::push::Push;

/// Text with fields, for argv items and names: `--config={path}`.
///
/// `{name}` is a field; `{{` and `}}` stand for single braces around a word that is none; any other brace is
/// itself, so JSON and brace globs need no escaping. Each template fills exactly one argument: what a field holds
/// is neither split nor interpreted, whatever characters it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Arc<[Part]>);

/// A template filled at intake. Only what the run itself decides is still open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Argument(Arc<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Text(String),
    Field(Field),
}

/// What a template can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Field {
    /// `{repository}`: `acme/models`.
    Repository,
    /// `{ref}`: `refs/heads/main`.
    Ref,
    /// `{branch}`: its name; empty for a tag.
    Branch,
    /// `{tag}`: its name; empty for a branch.
    Tag,
    /// `{commit}`: all digits.
    Commit,
    /// `{short_commit}`: the first twelve.
    ShortCommit,
    /// `{path}`: the changed file of a recipe with `each`.
    Path,
    /// `{stem}`: the last part of `{path}` without its ending.
    Stem,
    /// `{recipe}`: the recipe's name.
    Recipe,
    /// `{job}`: the job's id; known when it runs.
    Job,
    /// `{run_dir}`: the directory of this attempt; known when it runs.
    RunDir,
    /// `{output_dir}`: where the run writes its result; known when it runs.
    OutputDir,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// When it names a field that does not exist.
    pub fn parse(text: &str) -> Result<Self, UnknownField> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                literal.push_str(&rest[..1]);
                rest = after;
            } else if let Some((word, after)) = field_word(rest) {
                let field = Field::named(word).ok_or_else(|| UnknownField(word.to_owned()))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Field(field));
                rest = after;
            } else {
                literal.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts.into()))
    }

    /// The fields it has, in order.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.0.iter().filter_map(|part| match part {
            Part::Field(field) => Some(*field),
            Part::Text(_) => None,
        })
    }

    /// Fills what is known at intake.
    #[must_use]
    pub fn fill(&self, recipe: &str, push: &Push, path: Option<&str>) -> Argument {
        if self.fields().all(Field::is_late) {
            return Argument(self.0.clone());
        }
        let mut parts = Vec::with_capacity(self.0.len());
        let mut text = String::new();
        for part in &*self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field(field) if field.is_late() => {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Field(*field));
                }
                Part::Field(field) => field.add_to(&mut text, recipe, push, path),
            }
        }
        parts.push(Part::Text(text));
        parts.retain(|part| *part != Part::Text(String::new()));
        Argument(parts.into())
    }
}

impl Argument {
    /// An argument that is complete already.
    pub fn text(text: impl Into<String>) -> Self {
        Self([Part::Text(text.into())].into())
    }

    /// Fills what the run decides.
    #[must_use]
    pub fn finish(&self, job: JobId, run_dir: &str, output_dir: &str) -> String {
        let mut whole = String::new();
        for part in &*self.0 {
            match part {
                Part::Text(text) => whole.push_str(text),
                Part::Field(Field::Job) => whole.push_str(&job.to_string()),
                Part::Field(Field::RunDir) => whole.push_str(run_dir),
                Part::Field(Field::OutputDir) => whole.push_str(output_dir),
                // `fill` leaves no other field open.
                Part::Field(_) => {}
            }
        }
        whole
    }
}

impl fmt::Display for Template {
    /// Its text, with fields by their names; for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

impl fmt::Display for Argument {
    /// What is known of it, with open fields by their names; for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Field(field) => write!(f, "{{{}}}", field.name()),
        }
    }
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 12] = [
        Self::Repository,
        Self::Ref,
        Self::Branch,
        Self::Tag,
        Self::Commit,
        Self::ShortCommit,
        Self::Path,
        Self::Stem,
        Self::Recipe,
        Self::Job,
        Self::RunDir,
        Self::OutputDir,
    ];

    /// Its name between the braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Ref => "ref",
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Commit => "commit",
            Self::ShortCommit => "short_commit",
            Self::Path => "path",
            Self::Stem => "stem",
            Self::Recipe => "recipe",
            Self::Job => "job",
            Self::RunDir => "run_dir",
            Self::OutputDir => "output_dir",
        }
    }

    /// Whether only the run knows it.
    #[must_use]
    pub fn is_late(self) -> bool {
        matches!(self, Self::Job | Self::RunDir | Self::OutputDir)
    }

    /// Whether only a recipe with `each` has it.
    #[must_use]
    pub fn needs_each(self) -> bool {
        matches!(self, Self::Path | Self::Stem)
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == word)
    }

    /// Adds what it is of that push; nothing for what only the run knows.
    fn add_to(self, text: &mut String, recipe: &str, push: &Push, path: Option<&str>) {
        let path = path.unwrap_or_default();
        let part = match (self, &push.ref_name) {
            (Self::Repository, _) => push.repository.as_str(),
            (Self::Ref, name) => {
                text.push_str(name.prefix());
                name.name()
            }
            (Self::Branch, RefName::Branch(name)) | (Self::Tag, RefName::Tag(name)) => name,
            (Self::Commit, _) => push.head.as_ref().map_or("", CommitSha::as_str),
            (Self::ShortCommit, _) => push.head.as_ref().map_or("", CommitSha::short),
            (Self::Path, _) => path,
            (Self::Stem, _) => stem(path),
            (Self::Recipe, _) => recipe,
            (Self::Branch | Self::Tag | Self::Job | Self::RunDir | Self::OutputDir, _) => "",
        };
        text.push_str(part);
    }
}

/// The word of a field at the start of `text`, and what follows its closing brace.
fn field_word(text: &str) -> Option<(&str, &str)> {
    let (word, after) = text.strip_prefix('{')?.split_once('}')?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then_some((word, after))
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// A template names a field that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no field is called `{{{0}}}` (there are {all}; write `{{{{{0}}}}}` for the text itself)", all = all_fields())]
pub struct UnknownField(String);

fn all_fields() -> String {
    Field::ALL.map(|field| format!("{{{}}}", field.name())).join(" ")
}

/// The argument vector of a command, filled at intake.
pub type Argv = Arc<[Argument]>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::{ChangeSet, Paths, Source};

    fn push(branch: &str) -> Push {
        Push {
            repository: crate::RepoName::new("acme/models").unwrap(),
            ref_name: RefName::Branch(branch.into()),
            before: None,
            head: crate::CommitSha::parse(&"ab".repeat(20)).unwrap(),
            skip_marker: false,
            sender: None,
            pushed_at: None,
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Person,
            origin: Default::default(),
        }
    }

    #[test]
    fn each_field_fills_and_nothing_is_interpreted() {
        let filled = |text: &str| {
            let argument = Template::parse(text).unwrap().fill(
                "sft",
                &push("$(touch pwned) {job}"),
                Some("configs/a.b.yaml"),
            );
            argument.finish(JobId([0; 16]), "/runs/1", "/runs/1/output")
        };
        assert_eq!(filled("--config={path}"), "--config=configs/a.b.yaml");
        assert_eq!(filled("{stem}-{short_commit}"), "a.b-abababababab");
        assert_eq!(
            filled("{branch}"),
            "$(touch pwned) {job}",
            "a branch that looks like a field is only text"
        );
        assert_eq!(filled("{ref}|{tag}|{recipe}"), "refs/heads/$(touch pwned) {job}||sft");
        assert_eq!(filled("{output_dir} in {run_dir}"), "/runs/1/output in /runs/1");
        assert_eq!(filled(r#"{"lr": 1}"#), r#"{"lr": 1}"#, "JSON needs no escaping");
        assert_eq!(filled("a.{yaml,json} {{job}} {}"), "a.{yaml,json} {job} {}");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn a_field_that_does_not_exist_is_named() {
        let error = Template::parse("--x={brnch}").unwrap_err().to_string();
        assert!(error.contains("`{brnch}`") && error.contains("{branch}"), "{error}");
    }
}
