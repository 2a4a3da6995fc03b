//! `swifthook reconcile`.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use swifthook_core::RepoName;

use super::CommonArguments;
use super::delivery_text::sentences;
use super::environment::variable;
use super::reach::{Error, Reach, ReachArguments};
use super::screen::{harmless, json_line, print};
use crate::api::{FoundView, LookView, ReconcileView, choose_repositories};
use crate::config::Config;
use crate::serve::{StartError, reconcile_once};

/// Which repositories to look at.
#[derive(Debug, clap::Args)]
pub struct ReconcileArguments {
    #[command(flatten)]
    reach: ReachArguments,
    /// Only say what would be enqueued.
    #[arg(long)]
    dry_run: bool,
    /// Repositories, by their configured names; all that recipes look at if there are none.
    #[arg(value_name = "REPOSITORY")]
    repositories: Vec<String>,
}

pub(super) fn run(common: &CommonArguments, arguments: &ReconcileArguments) -> ExitCode {
    match text(common, arguments) {
        Ok((text, is_whole)) => {
            let printed = print(&text);
            if is_whole { printed } else { ExitCode::FAILURE }
        }
        Err(error) => error.tell(),
    }
}

/// What to print, and whether all of them could be looked at.
fn text(common: &CommonArguments, arguments: &ReconcileArguments) -> Result<(Vec<u8>, bool), Error> {
    let body = match Reach::only_server(common, &arguments.reach)? {
        Some(server) => asked(&server, arguments)?,
        None => looked(common, arguments)?,
    };
    let view: ReconcileView = serde_json::from_slice(&body).map_err(Error::Strange)?;
    let is_whole = view.repositories.iter().all(|look| look.error.is_none());
    let text = if arguments.reach.json { json_line(&body) } else { told(&view).into_bytes() };
    Ok((text, is_whole))
}

fn asked(server: &Reach, arguments: &ReconcileArguments) -> Result<Vec<u8>, Error> {
    let body = serde_json::json!({ "dry_run": arguments.dry_run, "repositories": arguments.repositories });
    let body = body.to_string().into_bytes();
    let reply = server.call_within(PATIENCE, Method::POST, "/api/v1/reconcile", body)?;
    if reply.status.is_success() { Ok(reply.body) } else { Err(Error::refused(&reply)) }
}

/// Where no server runs, this process looks itself.
fn looked(common: &CommonArguments, arguments: &ReconcileArguments) -> Result<Vec<u8>, Error> {
    let config = Config::load(&common.config, &variable)?;
    let of_recipes = config.recipes.iter().map(|recipe| recipe.repository.clone()).collect();
    let chosen = choose_repositories(of_recipes, &arguments.repositories).map_err(Error::Refused)?;
    let wanted = |known: Vec<RepoName>| known.into_iter().filter(|name| chosen.contains(name)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::NobodyThere(StartError::Runtime(error)))?;
    let looking = reconcile_once(&config, wanted, arguments.dry_run);
    let repositories = runtime.block_on(looking).map_err(Error::NobodyThere)?;
    let view = ReconcileView { dry_run: arguments.dry_run, repositories };
    Ok(serde_json::to_vec(&view).expect("a view is plain JSON"))
}

fn told(view: &ReconcileView) -> String {
    let mut text = String::new();
    for look in &view.repositories {
        let _ = writeln!(text, "{}: {}", harmless(&look.repository), in_short(look, view.dry_run));
        look.found.iter().for_each(|found| text.push_str(&whole(found)));
    }
    if view.repositories.is_empty() {
        text.push_str("No recipe looks at a repository.\n");
    }
    if view.dry_run {
        text.push_str("Nothing was done.\n");
    }
    text
}

fn in_short(look: &LookView, is_dry: bool) -> String {
    let refs = look.refs.unwrap_or_default();
    match (&look.error, look.first, look.found.len()) {
        (Some(error), ..) => harmless(error),
        (None, true, _) if is_dry => {
            format!("never looked at before; {refs} branches and tags would be recorded")
        }
        (None, true, _) => format!("looked at for the first time; {refs} branches and tags are recorded"),
        (None, false, 0) => "nothing was missed".to_owned(),
        (None, false, 1) => "1 push that no delivery told of".to_owned(),
        (None, false, count) => format!("{count} pushes that no delivery told of"),
    }
}

fn whole(found: &FoundView) -> String {
    let short = |commit: &str| commit.chars().take(12).collect::<String>();
    let from = found.before.as_deref().map_or_else(|| "new".to_owned(), short);
    let mut text = format!("  {} {from} -> {}\n", harmless(&found.ref_name), short(&found.commit));
    for line in sentences(&found.verdicts).lines() {
        let _ = writeln!(text, "    {line}");
    }
    for job in &found.jobs {
        let known = if job.new { "new" } else { "known already" };
        let job_of = job.id.map_or_else(|| "a job".to_owned(), |id| format!("job {id}"));
        let _ = writeln!(text, "    {job_of} ({}, {known})", job.state);
    }
    text
}

/// A server that keeps a repository may take its time, and there may be many.
const PATIENCE: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::VerdictView;

    #[test]
    fn what_a_look_brought_is_told() {
        let look = |name: &str| LookView {
            repository: format!("acme/{name}"),
            first: false,
            refs: None,
            error: None,
            found: Vec::new(),
        };
        let found = FoundView {
            ref_name: "refs/heads/main".to_owned(),
            before: None,
            commit: "b".repeat(40),
            delivery: None,
            verdicts: vec![VerdictView {
                recipe: "sft".into(),
                verdict: "hold".to_owned(),
                reason: Some("needs_diff".to_owned()),
                detail: Some("the payload does not list what changed".to_owned()),
                duplicate: false,
            }],
            jobs: Vec::new(),
        };
        let view = ReconcileView {
            dry_run: true,
            repositories: vec![
                look("quiet"),
                LookView { first: true, refs: Some(3), ..look("new") },
                LookView { error: Some("away\u{1b}[2J".to_owned()), ..look("away") },
                LookView { found: vec![found], ..look("models") },
            ],
        };
        insta::assert_snapshot!(told(&view));
    }
}
