use std::sync::Arc;

use super::{Each, Recipe};
use crate::condition::{is_merge_queue, marked, queued};
use crate::git::RefName;
use crate::intake::RecipeVerdict;
use crate::job::{Job, JobSpec, Rerun};
use crate::policy::{HoldReason, Reason, Verdict};
use crate::push::{ChangeSet, Gap, Origin, Paths, Push};
use crate::time::Timestamp;

impl Recipe {
    /// How many jobs one push may make; with more it is held.
    pub const MAX_JOBS: usize = 256;

    /// What becomes of a push of this recipe's repository: asked at intake, and once more when a diff is known.
    ///
    /// A deleted ref, a merge queue's branch and a marked commit are skipped in this order, before the policy is
    /// asked. Where that does not skip and the recipe has `each`, it is one job per file that matches: a push with
    /// no such file is skipped (`paths`), one whose list may be short is held for a diff, one with more than
    /// [`Recipe::MAX_JOBS`] is held as a whole.
    #[must_use]
    pub fn decide(&self, push: &Push, now: Timestamp) -> RecipeVerdict {
        self.decide_up_to(Self::MAX_JOBS, push, now)
    }

    /// The same, where a person has approved so many jobs.
    #[must_use]
    pub fn decide_up_to(&self, most_jobs: usize, push: &Push, now: Timestamp) -> RecipeVerdict {
        let (verdict, jobs) = match (self.judge(push, now), &self.each) {
            (verdict @ Verdict::Skip(_), _) => (verdict, Vec::new()),
            (verdict @ Verdict::Hold(HoldReason::NeedsDiff(_)), _) => (verdict, vec![self.job(push, None)]),
            (verdict, Some(each)) => self.for_each(each, verdict, push, most_jobs),
            (verdict, None) => (verdict, vec![self.job(push, None)]),
        };
        RecipeVerdict { recipe: self.name.clone(), verdict, jobs }
    }

    /// The change of a finished job, rendered anew: what the recipe would run of it at this moment. Its policy is not asked,
    /// since a person wants this very commit. A job for all files, of a recipe that makes one for each by now, is held until
    /// the diff tells which these are.
    ///
    /// `None` for a job for one file where the recipe makes one for all by now: there is no telling which of the jobs of a
    /// push is to be the one.
    #[must_use]
    pub fn rerun(&self, job: &Job) -> Option<Rerun> {
        let config = job.spec.config.as_deref();
        let hold = match (&self.each, config) {
            (None, Some(_)) => return None,
            (Some(_), None) => Some(HoldReason::NeedsDiff(Gap::NotListed)),
            _ => None,
        };
        Some(Rerun { spec: self.job(&job.push(), config), hold })
    }

    /// Decides a push of a repository that has another name by now: whatever would train is held, as one job.
    #[must_use]
    pub(crate) fn decide_renamed(&self, push: &Push, now: Timestamp) -> RecipeVerdict {
        let decided = self.decide(push, now);
        if decided.jobs.is_empty() {
            return decided;
        }
        let hold = HoldReason::Renamed { from: self.repository.clone(), to: push.repository.clone() };
        RecipeVerdict { verdict: Verdict::Hold(hold), jobs: vec![self.job(push, None)], ..decided }
    }

    /// Tells whether a tag of this name, pushed as `push` was, would have been one of this recipe's: what the tag of `push` is
    /// compared with.
    #[must_use]
    pub fn looks_at_tag(&self, tag: &str, push: &Push, now: Timestamp) -> bool {
        let earlier = Push {
            ref_name: RefName::Tag(tag.into()),
            // Nothing is known of what it changed, so that no rule about paths says no.
            changes: ChangeSet::Incomplete(Paths::empty(), Gap::Forced),
            ..push.clone()
        };
        !matches!(self.policy.decide(&earlier, now), Verdict::Skip(_))
    }

    fn judge(&self, push: &Push, now: Timestamp) -> Verdict {
        if push.head.is_none() {
            return Verdict::Skip(Reason::new("deleted", format!("`{}` was deleted", push.ref_name)));
        }
        if !self.merge_queue && is_merge_queue(push) {
            return Verdict::Skip(queued(push));
        }
        if self.honours_skip_markers && push.skip_marker {
            return Verdict::Skip(marked());
        }
        self.policy.decide(push, now)
    }

    /// The verdict for each file: also one that holds, so that every job has its path when it goes on.
    fn for_each(
        &self,
        each: &Each,
        verdict: Verdict,
        push: &Push,
        most_jobs: usize,
    ) -> (Verdict, Vec<JobSpec>) {
        let hold = |reason| (Verdict::Hold(reason), vec![self.job(push, None)]);
        match each.matching(&push.changes) {
            Err(gap) => hold(HoldReason::NeedsDiff(gap)),
            Ok(files) if files.is_empty() => (Verdict::Skip(no_file()), Vec::new()),
            Ok(files) if files.len() > most_jobs.max(Self::MAX_JOBS) => {
                hold(HoldReason::TooManyJobs(files.len()))
            }
            Ok(files) => (verdict, files.into_iter().map(|file| self.job(push, Some(file))).collect()),
        }
    }

    fn job(&self, push: &Push, config: Option<&str>) -> JobSpec {
        let fill = |template: &super::Template| template.fill(&self.name, push, config);
        JobSpec {
            recipe: self.name.clone(),
            config: config.map(Arc::from),
            group: match &self.group {
                Some(template) => fill(template).to_string().into(),
                None => self.own_group(push, config).into(),
            },
            priority: self.priority,
            launcher: self.launcher.clone(),
            labels: self.labels.clone(),
            command: self.command.iter().map(fill).collect(),
            file: self.file.as_ref().map(|file| fill(file).to_string().into()),
            superseded: self.superseded,
            debounce: self.debounce,
            retry: self.retry.clone(),
            // That of the repository is kept once, and not with each job.
            origin: Origin { repository_id: None, renamed_from: None, ..push.origin.clone() },
        }
    }

    /// Repository, ref, recipe and path. Neither of the first two can have a colon in it, and
    /// [`Recipe::problems`] keeps it out of the third, so no two tuples give one text.
    fn own_group(&self, push: &Push, config: Option<&str>) -> String {
        let (prefix, name) = (push.ref_name.prefix(), push.ref_name.name());
        let path = config.unwrap_or_default();
        [push.repository.as_str(), ":", prefix, name, ":", &self.name, ":", path].concat()
    }
}

fn no_file() -> Reason {
    Reason::new("paths", "no changed file that still exists matches `each`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{all, branches, paths};
    use crate::id::{JobId, RepoName};
    use crate::job::State;
    use crate::policy::TriggerPolicy;
    use crate::push::{Change, ChangeSet, Paths};
    use crate::recipe::Template;
    use crate::testing::{incomplete, push};

    const NOW: Timestamp = Timestamp(1_795_514_400_000);

    fn recipe(policy: impl TriggerPolicy + 'static) -> Recipe {
        Recipe::new("train", RepoName::new("acme/models").unwrap(), policy)
    }

    fn on_main() -> Recipe {
        recipe(branches(["main"]).unwrap())
    }

    fn each_config() -> Recipe {
        let each = Each {
            paths: Some(crate::condition::PathFilter::new(["**", "!**/*_off.yaml"]).unwrap()),
            ..Each::new(["configs/sft_*.yaml"]).unwrap()
        };
        Recipe {
            each: Some(each),
            command: vec![Template::parse("train").unwrap(), Template::parse("--config={path}").unwrap()],
            ..on_main()
        }
    }

    /// `word reason [config …]`.
    fn told(recipe: &Recipe, push: &Push) -> String {
        let RecipeVerdict { verdict, jobs, .. } = recipe.decide(push, NOW);
        let configs: Vec<_> = jobs.iter().map(|job| job.config.as_deref().unwrap_or("-")).collect();
        let reason = verdict.reason().map(|reason| reason.word).unwrap_or_default();
        format!("{} {reason} {configs:?}", verdict.word())
    }

    /// Fails the test if it is asked.
    struct NeverAsked;

    impl TriggerPolicy for NeverAsked {
        fn decide(&self, push: &Push, _now: Timestamp) -> Verdict {
            panic!("asked about {push:?}")
        }
    }

    #[test]
    fn what_comes_before_the_policy_is_told_in_order_and_the_policy_not_asked() {
        let mut everything = push("refs/heads/gh-readonly-queue/main/pr-7-ff", &[]);
        everything.skip_marker = true;
        let kept = everything.clone();
        everything.head = None;
        assert_eq!(told(&recipe(NeverAsked), &everything), "skip deleted []");
        assert_eq!(told(&recipe(NeverAsked), &kept), "skip merge_queue []");
        let with_queue = Recipe { merge_queue: true, ..recipe(NeverAsked) };
        assert_eq!(told(&with_queue, &kept), "skip skip_marker []");
    }

    #[test]
    fn merge_queues_and_markers_can_be_let_through() {
        let mut push = push("refs/heads/gh-readonly-queue/main/pr-7-ff", &[]);
        push.skip_marker = true;
        let recipe = Recipe {
            merge_queue: true,
            honours_skip_markers: false,
            ..recipe(branches(["gh-readonly-queue/main/*"]).unwrap())
        };
        assert_eq!(told(&recipe, &push), r#"launch  ["-"]"#);
    }

    #[test]
    fn a_skip_makes_no_job_a_launch_and_a_hold_one() {
        let recipe = recipe(all([branches(["main"]).unwrap(), paths(["configs/**"]).unwrap()]));
        let on = |full_ref, files: &[&str]| push(full_ref, files);
        assert_eq!(told(&recipe, &on("refs/heads/dev", &["configs/a"])), "skip branch []");
        assert_eq!(told(&recipe, &on("refs/heads/main", &["src/x"])), "skip paths []");
        assert_eq!(told(&recipe, &on("refs/heads/main", &["configs/a"])), r#"launch  ["-"]"#);
        let new = incomplete(on("refs/heads/main", &["src/x"]), Gap::NewBranch);
        assert_eq!(told(&recipe, &new), r#"hold needs_diff ["-"]"#);
    }

    #[test]
    fn each_file_that_matches_and_still_exists_gets_a_job_of_its_own() {
        let recipe = each_config();
        let files = ["configs/sft_b.yaml", "src/x.py", "configs/sft_a.yaml", "configs/deep/sft_c.yaml"];
        let verdict = recipe.decide(&push("refs/heads/main", &files), NOW);
        let jobs: Vec<_> = verdict.jobs.iter().map(|job| (job.config.as_deref(), &*job.group)).collect();
        assert_eq!(
            jobs,
            [
                (Some("configs/sft_b.yaml"), "acme/models:refs/heads/main:train:configs/sft_b.yaml"),
                (Some("configs/sft_a.yaml"), "acme/models:refs/heads/main:train:configs/sft_a.yaml"),
            ]
        );
        assert_eq!(verdict.jobs[1].command[1].to_string(), "--config=configs/sft_a.yaml");
        let none = "skip paths []";
        assert_eq!(told(&recipe, &push("refs/heads/main", &["src/x.py", "configs/sft_off.yaml"])), none);
    }

    /// One side of a merge edits a config, the other deletes it, and the merge keeps one of them: whichever stands last.
    #[test]
    fn where_commits_contradict_each_other_about_a_file_git_is_asked() {
        let (present, removed) = (Change::Present, Change::Removed);
        let of = |list: &[(&str, Change)]| Push {
            changes: ChangeSet::Complete(list.iter().copied().collect()),
            ..push("refs/heads/main", &[])
        };
        let (a, b) = ("configs/sft_a.yaml", "configs/sft_b.yaml");
        for list in [[(a, present), (a, removed)], [(a, removed), (a, present)]] {
            assert_eq!(told(&each_config(), &of(&list)), r#"hold needs_diff ["-"]"#, "{list:?}");
            let more = [(b, present), list[0], list[1]];
            assert_eq!(told(&each_config(), &of(&more)), r#"hold needs_diff ["-"]"#, "{list:?}");
            let elsewhere = [("src/x", list[0].1), (b, present), ("src/x", list[1].1)];
            assert_eq!(told(&each_config(), &of(&elsewhere)), r#"launch  ["configs/sft_b.yaml"]"#);
        }
        let agreed = [(a, removed), (b, present), (a, removed), (b, present)];
        assert_eq!(told(&each_config(), &of(&agreed)), r#"launch  ["configs/sft_b.yaml"]"#);
    }

    #[test]
    fn each_needs_the_whole_list() {
        for gap in [Gap::Forced, Gap::MaybeForced, Gap::NewBranch, Gap::Caps, Gap::NotListed, Gap::Truncated]
        {
            let push = incomplete(push("refs/heads/main", &["configs/sft_a.yaml"]), gap);
            assert_eq!(told(&each_config(), &push), r#"hold needs_diff ["-"]"#, "{gap:?}");
        }
        let elsewhere = incomplete(push("refs/heads/dev", &[]), Gap::Forced);
        assert_eq!(told(&each_config(), &elsewhere), "skip branch []", "the policy comes first");
    }

    #[test]
    fn a_policy_that_holds_holds_each_file() {
        struct Ask;
        impl TriggerPolicy for Ask {
            fn decide(&self, _push: &Push, _now: Timestamp) -> Verdict {
                Verdict::Hold(HoldReason::Approval)
            }
        }
        let recipe = Recipe { each: each_config().each, ..recipe(Ask) };
        let both = push("refs/heads/main", &["configs/sft_a.yaml", "configs/sft_b.yaml"]);
        let told_of_both = r#"hold approval ["configs/sft_a.yaml", "configs/sft_b.yaml"]"#;
        assert_eq!(told(&recipe, &both), told_of_both);
        assert_eq!(told(&recipe, &incomplete(both, Gap::Caps)), r#"hold needs_diff ["-"]"#);
    }

    #[test]
    fn a_push_of_too_many_files_is_held_and_not_refused() {
        let files: Vec<_> = (0..=Recipe::MAX_JOBS).map(|i| format!("configs/sft_{i}.yaml")).collect();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let most = push("refs/heads/main", &files[1..]);
        assert_eq!(each_config().decide(&most, NOW).jobs.len(), Recipe::MAX_JOBS);
        let verdict = each_config().decide(&push("refs/heads/main", &files), NOW);
        assert_eq!(verdict.verdict, Verdict::Hold(HoldReason::TooManyJobs(257)));
        assert_eq!(verdict.jobs.len(), 1);
    }

    #[test]
    fn a_file_whose_name_is_no_text_is_matched_by_its_bytes_and_named_for_people() {
        let changes = Paths::from_raw([(&b"configs/sft_caf\xe9.yaml"[..], Change::Present)]);
        let push = Push { changes: ChangeSet::Complete(changes), ..push("refs/heads/main", &[]) };
        let verdict = each_config().decide(&push, NOW);
        assert_eq!(verdict.jobs[0].config.as_deref(), Some(r#""configs/sft_caf\351.yaml""#));
    }

    #[test]
    fn what_a_person_has_approved_is_made_and_no_more() {
        let files: Vec<_> = (0..300).map(|i| format!("configs/sft_{i}.yaml")).collect();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let of = |most| each_config().decide_up_to(most, &push("refs/heads/main", &files), NOW);
        assert_eq!(of(300).jobs.len(), 300);
        assert_eq!(of(299).verdict, Verdict::Hold(HoldReason::TooManyJobs(300)));
        assert_eq!(each_config().decide_up_to(1, &push("refs/heads/main", &files[..2]), NOW).jobs.len(), 2);
    }

    #[test]
    fn a_tag_is_one_of_a_recipes_by_its_name_whatever_it_changed() {
        let both = all([crate::condition::tags(["v*", "!v*-rc*"]).unwrap(), paths(["configs/**"]).unwrap()]);
        let recipe = recipe(both);
        let push = push("refs/tags/v2", &[]);
        for (tag, counts) in [("v1", true), ("v2-rc1", false), ("nightly", false)] {
            assert_eq!(recipe.looks_at_tag(tag, &push, NOW), counts, "{tag}");
        }
        assert!(!on_main().looks_at_tag("main", &push, NOW));
    }

    #[test]
    fn a_group_of_ones_own_is_filled_in() {
        let recipe = Recipe { group: Some(Template::parse("gpu-{branch}").unwrap()), ..on_main() };
        assert_eq!(&*recipe.decide(&push("refs/heads/main", &[]), NOW).jobs[0].group, "gpu-main");
    }

    #[test]
    fn a_change_is_rendered_anew_by_the_recipe_as_it_is_now() {
        let with = |recipe: Recipe, text: &str| Recipe {
            command: vec![Template::parse(text).unwrap()],
            priority: 5,
            ..recipe
        };
        let one = job_of(&each_config(), &["configs/sft_a.yaml"]);
        let again = with(each_config(), "new {path} {commit}").rerun(&one).unwrap();
        let told = format!("new configs/sft_a.yaml {}", one.change.head);
        assert_eq!((again.spec.command[0].to_string(), again.hold), (told, None));
        assert_eq!((again.spec.priority, again.spec.config), (5, one.spec.config.clone()));
        assert!(with(on_main(), "new").rerun(&one).is_none(), "nobody knows which one is to train for all");
        let all = job_of(&on_main(), &["src/x"]);
        assert_eq!(with(on_main(), "new").rerun(&all).unwrap().hold, None);
        let held = each_config().rerun(&all).unwrap();
        assert_eq!(held.hold, Some(HoldReason::NeedsDiff(Gap::NotListed)), "git tells which files there are");
    }

    fn job_of(recipe: &Recipe, files: &[&str]) -> Job {
        let push = push("refs/heads/main", files);
        let spec = recipe.decide(&push, NOW).jobs.remove(0);
        Job {
            id: JobId([1; 16]),
            change: crate::job::Change {
                repository: push.repository,
                ref_name: push.ref_name,
                head: push.head.unwrap(),
                recipe: spec.recipe.clone(),
                config: spec.config.clone().unwrap_or_default(),
                run: 0,
            },
            before: push.before,
            sender: push.sender,
            pushed_at: push.pushed_at,
            source: push.source,
            spec,
            state: State::queued(None, None),
            created_at: NOW,
            rerun_of: None,
            superseded_by: None,
            progress: None,
        }
    }
}
