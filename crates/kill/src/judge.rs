//! Compares what was promised, what the store says, and what ran.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::{Evidence, Job};
use crate::marks::Moment;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A reply promised it, and it is not there.
    Lost(String),
    /// An attempt, or a change, ran more than once.
    Twice(String),
    /// It came to no end, or left something that runs.
    Stuck(String),
    /// What the store says is not what happened.
    Untrue(String),
}

pub(crate) fn breaches(evidence: &Evidence) -> Vec<Breach> {
    [lost(evidence), repeated(evidence), stuck(evidence), untrue(evidence), overlapping(evidence)].concat()
}

fn lost(evidence: &Evidence) -> Vec<Breach> {
    let ids: BTreeMap<&str, &str> = evidence.jobs.iter().map(|job| (&*job.id, &*job.commit)).collect();
    let commits: BTreeSet<&str> = evidence.jobs.iter().map(|job| &*job.commit).collect();
    let is_kept = |(commit, job): &&(String, Option<String>)| match job {
        Some(job) => ids.get(&**job) == Some(&&**commit),
        None => commits.contains(&**commit),
    };
    let broken = evidence.sent.promises.iter().filter(|promise| !is_kept(promise));
    broken.map(|promise| Breach::Lost(format!("{promise:?} was answered and has no job"))).collect()
}

fn repeated(evidence: &Evidence) -> Vec<Breach> {
    let (mut seen, mut breaches) = (BTreeSet::new(), Vec::new());
    for mark in &evidence.marks {
        if !seen.insert((&mark.job, mark.attempt, mark.what)) {
            breaches.push(Breach::Twice(format!("{mark:?} is there more than once")));
        }
    }
    let (mut changes, mut trained) = (BTreeMap::new(), BTreeMap::new());
    for job in &evidence.jobs {
        if !job.attempts.is_empty()
            && !job.is_rerun
            && let Some(other) = trained.insert(&job.commit, &job.id)
        {
            breaches.push(Breach::Twice(format!("{} and {other} trained one commit", job.id)));
        }
        if let Some(other) = changes.insert((&job.commit, job.run), &job.id) {
            breaches.push(Breach::Twice(format!("{} and {other} are of one change", job.id)));
        }
    }
    breaches
}

fn stuck(evidence: &Evidence) -> Vec<Breach> {
    let open = evidence.jobs.iter().filter(|job| !job.is_final());
    let open = open.map(|job| format!("{} is {}: {:?}", job.id, job.state, job.attempts));
    let alive = evidence.alive.iter().map(|run| format!("a process of {run} is alive"));
    let busy = evidence.busy.iter().map(|worker| format!("{worker} has a slot taken, and nothing runs"));
    open.chain(alive).chain(busy).map(Breach::Stuck).collect()
}

fn untrue(evidence: &Evidence) -> Vec<Breach> {
    let mut breaches: Vec<_> = evidence.sent.wrong.iter().map(|reply| format!("a reply: {reply}")).collect();
    let mut marks: BTreeMap<(&str, u64), (usize, usize)> = BTreeMap::new();
    let commits: BTreeMap<&str, &str> = evidence.jobs.iter().map(|job| (&*job.id, &*job.commit)).collect();
    for mark in &evidence.marks {
        let (begins, ends) = marks.entry((&mark.job, mark.attempt)).or_default();
        *begins += usize::from(mark.what == Moment::Begin);
        *ends += usize::from(mark.what == Moment::End);
        if commits.get(&*mark.job).copied() != evidence.commits.get(mark.number).map(|commit| &**commit) {
            breaches.push(format!("{mark:?} is of another commit than its job"));
        }
    }
    for job in &evidence.jobs {
        if !evidence.sent.commits.contains(&job.commit) {
            breaches.push(format!("{} is of a commit that was never pushed", job.id));
        }
        for (attempt, words) in (1..).zip(&job.attempts) {
            let ran = marks.remove(&(&*job.id, attempt)).unwrap_or_default();
            let was_killed = evidence.killed.contains(&format!("{}-{attempt}", job.id));
            if let Some(why) = contradiction(job, words, ran, was_killed) {
                breaches.push(format!("{}-{attempt} {why}: {ran:?} {words:?}", job.id));
            }
        }
        if !is_a_good_end(job, evidence) {
            breaches.push(format!("{} is {} ({}): {:?}", job.id, job.state, job.reason, job.attempts));
        }
    }
    breaches.extend(marks.keys().map(|(job, attempt)| format!("{job}-{attempt} ran, and no store knows it")));
    breaches.into_iter().map(Breach::Untrue).collect()
}

/// What is wrong with an attempt of which the store says `words` and whose marks are `(begins, ends)`.
fn contradiction(job: &Job, words: &[String], ran: (usize, usize), was_killed: bool) -> Option<&'static str> {
    let has = |word: &str| words.iter().any(|other| other == word);
    if (has("never_ran") || has("refused")) && ran != (0, 0) {
        return Some("ran, and the store says that it never did");
    }
    if has("vanished") && !was_killed {
        return Some("vanished, and nobody killed its supervisor");
    }
    if (has("ended") || has("succeeded")) && job.state != "quarantined" && ran != (1, 1) {
        return Some("ended, and did not run exactly once");
    }
    None
}

/// All runs succeed, unless nothing is to run for a push. Only a job whose supervisors were killed each time, or that saw three crashes in a row, need not.
fn is_a_good_end(job: &Job, evidence: &Evidence) -> bool {
    match &*job.state {
        "succeeded" | "quarantined" => true,
        // A push that moved nothing, or whose commit another push trained.
        "cancelled" => job.attempts.is_empty() && job.reason == "skipped_after_diff",
        "superseded" => job.attempts.is_empty(),
        "failed" => evidence.killed.contains(&format!("{}-{}", job.id, job.attempts.len())),
        _ => !job.is_final(),
    }
}

/// One run of a group at a time, and so of a job: what a run found alive when it began, and a run that ends after
/// another of its group has begun.
fn overlapping(evidence: &Evidence) -> Vec<Breach> {
    let groups: BTreeMap<&str, &str> = evidence.jobs.iter().map(|job| (&*job.id, &*job.group)).collect();
    let (mut begun, mut breaches) = (BTreeMap::new(), Vec::new());
    for mark in &evidence.marks {
        let run = (&*mark.job, mark.attempt);
        let group = groups.get(&*mark.job).copied().unwrap_or(&mark.job);
        let other = begun.get(group);
        match mark.what {
            Moment::Begin => {
                begun.insert(group, run);
            }
            Moment::End if other == Some(&run) => {}
            Moment::End | Moment::Overlap => {
                breaches.push(Breach::Twice(format!("{run:?} and {other:?} of group {group} ran at once")));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Sent;
    use crate::marks::Mark;

    #[test]
    fn a_promise_that_was_kept_and_ran_once_is_no_breach() {
        assert_eq!(breaches(&good()), []);
    }

    #[test]
    fn whatever_must_not_be_is_seen() {
        let cases: [Case; 19] = [
            ("Lost", |it| it.sent.promises.push(("c0".into(), Some("other".into())))),
            ("Lost", |it| it.sent.promises.push(("c1".into(), None))),
            ("Twice", |it| it.marks.extend(it.marks.clone())),
            ("Twice", |it| it.jobs.push(Job { id: "k".into(), ..it.jobs[0].clone() })),
            ("Twice", |it| {
                it.jobs.push(Job { id: "k".into(), run: 1, ..it.jobs[0].clone() });
                it.marks.insert(1, mark("k", Moment::Begin));
            }),
            ("Twice", |it| it.marks.insert(0, mark("j", Moment::Overlap))),
            // Two receivers that took one change, and a run that two workers began.
            ("Twice", |it| it.jobs.push(Job { id: "k".into(), group: "h".into(), ..it.jobs[0].clone() })),
            ("Twice", |it| it.marks.insert(1, mark("j", Moment::Begin))),
            ("Twice", |it| it.jobs.push(Job { id: "k".into(), run: 1, ..it.jobs[0].clone() })),
            ("Untrue", |it| it.jobs[0].state = "superseded".into()),
            ("Stuck", |it| it.jobs[0].state = "running".into()),
            ("Stuck", |it| it.busy.push("host-1".into())),
            ("Stuck", |it| it.alive.push("j-1".into())),
            ("Untrue", |it| it.marks.clear()),
            ("Untrue", |it| it.marks[0].number = 1),
            ("Untrue", |it| it.jobs[0].attempts[0][1] = "never_ran".into()),
            ("Untrue", |it| it.jobs[0].attempts[0][1] = "vanished".into()),
            ("Untrue", |it| it.marks.truncate(1)),
            ("Untrue", |it| it.sent.commits.clear()),
        ];
        for (number, (kind, break_it)) in cases.into_iter().enumerate() {
            let mut evidence = good();
            break_it(&mut evidence);
            let found = format!("{:?}", breaches(&evidence));
            assert!(found.contains(kind), "case {number}: {found}");
        }
    }

    /// The kind of breach, and what brings it about.
    type Case = (&'static str, fn(&mut Evidence));

    fn good() -> Evidence {
        let words = ["started", "submitted", "ended", "succeeded"].map(str::to_owned);
        let job = Job {
            id: "j".into(),
            state: "succeeded".into(),
            group: "g".into(),
            commit: "c0".into(),
            attempts: vec![words.to_vec()],
            ..Job::default()
        };
        let mut sent = Sent::default();
        sent.promises.push(("c0".into(), Some("j".into())));
        sent.commits.push("c0".into());
        Evidence {
            sent,
            jobs: vec![job],
            marks: vec![mark("j", Moment::Begin), mark("j", Moment::End)],
            commits: vec!["c0".into(), "c1".into()],
            ..Evidence::default()
        }
    }

    fn mark(job: &str, what: Moment) -> Mark {
        Mark { job: job.into(), attempt: 1, what, number: 0 }
    }
}
