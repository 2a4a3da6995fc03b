use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::request::Memory;
use super::{Gpu, GpuRequest};
use crate::fingerprint::Fingerprint;
use crate::job::{Job, Stage};
use crate::policy::Reason;

/// What decides how much memory a run needs on its GPUs, as far as that is known before it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Of everything that has to be equal for one run to tell of another: repository, recipe, model, tuner, how many GPUs
    /// and processes.
    pub alike: Fingerprint,
    /// How many GPUs each of its processes has; at least 1.
    pub gpus_per_process: u32,
    /// How many tokens a sample has at most, where the configuration says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// How many samples each process takes at once, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
}

/// How much memory the last runs like one needed on each of their GPUs.
///
/// It is a lower bound and no promise: it knows what the runs told of themselves
/// ([`Progress::memory_gib`](crate::Progress)) and on which GPUs some ran out, and nothing of what a context of CUDA or
/// fragmentation takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// How many runs it stands on; at least 1.
    pub runs: usize,
    /// The most that one of them told, in bytes for each GPU. Where a process has several GPUs, its sum over their number.
    pub peak: Option<u64>,
    /// Those that ran out of memory since one succeeded.
    pub ran_out: Option<RanOut>,
    /// What is larger now than in each of these runs.
    pub grown: Vec<Growth>,
}

/// Runs that ran out of the memory of their GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanOut {
    /// How many.
    pub runs: usize,
    /// The most that was too little: the memory of the smallest GPU of one of them, in bytes.
    pub on: u64,
}

/// A setting that is larger than in earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Its name, for people: `the batch size`.
    pub what: &'static str,
    /// The most that it was.
    pub from: u64,
    /// What it is.
    pub to: u64,
}

impl Workload {
    /// Whether what `earlier` needed says something of what this needs at least: it was no larger in anything, as far as
    /// that can be compared.
    fn is_told_of_by(&self, earlier: &Self) -> bool {
        let is_no_larger = |earlier: Option<u64>, now: Option<u64>| match (earlier, now) {
            (Some(earlier), Some(now)) => earlier <= now,
            (earlier, now) => earlier == now,
        };
        self.alike == earlier.alike
            && is_no_larger(earlier.max_length, self.max_length)
            && is_no_larger(earlier.batch_size, self.batch_size)
    }

    fn grown_since(&self, earlier: &[&Self]) -> Vec<Growth> {
        let grown = |what, of: fn(&Self) -> Option<u64>| {
            let from = earlier.iter().filter_map(|workload| of(workload)).max()?;
            let to = of(self).filter(|now| *now > from)?;
            Some(Growth { what, from, to })
        };
        let (length, batch) =
            (grown("`max_length`", |one| one.max_length), grown("the batch size", |one| one.batch_size));
        length.into_iter().chain(batch).collect()
    }
}

impl MemoryEstimate {
    /// How many runs are looked back at.
    pub const MOST: usize = 5;

    /// What the jobs at their end among `jobs`, the newest first, say of `workload`; `None` if nothing.
    ///
    /// A job counts that had an equal [`alike`](Workload::alike), was no larger in length of samples and batch size, and
    /// told its memory or ran out of it. The newest [`MOST`](Self::MOST) of these are looked at, and of those that ran out
    /// only what is newer than the last that succeeded: whatever was wrong before has been seen to.
    pub fn among<'j>(workload: &Workload, jobs: impl IntoIterator<Item = &'j Job>) -> Option<Self> {
        let runs: Vec<PastRun<'_>> = jobs
            .into_iter()
            .filter_map(PastRun::of)
            .filter(|run| workload.is_told_of_by(run.workload))
            .take(Self::MOST)
            .collect();
        let since_success = runs.iter().take_while(|run| !run.has_succeeded);
        let too_little: Vec<u64> = since_success.filter_map(|run| run.ran_out_on).collect();
        let ran_out = too_little.iter().max().map(|on| RanOut { runs: too_little.len(), on: *on });
        let peak = runs.iter().filter_map(|run| run.peak).max();
        let workloads: Vec<_> = runs.iter().map(|run| run.workload).collect();
        let says_something = peak.is_some() || ran_out.is_some();
        says_something.then(|| Self {
            runs: runs.len(),
            peak,
            ran_out,
            grown: workload.grown_since(&workloads),
        })
    }

    /// Why the GPUs that `request` may get, of `gpus`, may have too little memory; `None` where nothing says so. Without
    /// `gpus`, which are not known before a run begins elsewhere, it looks at the request alone.
    #[must_use]
    pub fn warning(&self, request: &GpuRequest, gpus: &[Gpu]) -> Option<Reason> {
        let limit = self.limit(request, gpus)?;
        let mut detail = format!("{}; {limit}", self.told());
        for (number, Growth { what, from, to }) in self.grown.iter().enumerate() {
            let begin = if number == 0 { "; since then " } else { ", and " };
            let _ = write!(detail, "{begin}{what} grew from {from} to {to}");
        }
        if !self.grown.is_empty() {
            detail.push_str(", so that it may need more");
        }
        Some(Reason::new(Self::WORD, detail))
    }

    /// The word of the warning.
    pub const WORD: &'static str = "gpu_memory";

    /// What is too little for it, in words.
    fn limit(&self, request: &GpuRequest, gpus: &[Gpu]) -> Option<String> {
        let asks_for = request.min_free_memory;
        let sizes = || gpus.iter().filter(|gpu| request.suits(gpu)).map(|gpu| gpu.total_memory);
        match (sizes().min(), sizes().max()) {
            (Some(least), Some(most)) if self.is_too_little(most) && least == most => {
                Some(format!("the GPUs here have {}", Memory(most)))
            }
            (_, Some(most)) if self.is_too_little(most) => {
                Some(format!("the largest GPU here has {}", Memory(most)))
            }
            _ if asks_for > 0 => self
                .is_too_little(asks_for)
                .then(|| format!("`min_free_memory` asks for {}", Memory(asks_for))),
            (Some(least), _) if self.is_too_little(least) => {
                Some(format!("a GPU here has {}, and `min_free_memory` asks for none", Memory(least)))
            }
            _ => None,
        }
    }

    fn is_too_little(&self, memory: u64) -> bool {
        self.peak.is_some_and(|peak| memory < peak) || self.ran_out.is_some_and(|out| memory <= out.on)
    }

    /// `the last 3 runs of this recipe used up to 71.2 GiB on each GPU`.
    fn told(&self) -> String {
        let runs = match self.runs {
            1 => "the last run of this recipe".to_owned(),
            many => format!("the last {many} runs of this recipe"),
        };
        let used = self.peak.map(|peak| format!("used up to {} on each GPU", Memory(peak)));
        let ran_out = self.ran_out.map(|RanOut { runs: out, on }| {
            let times = match out {
                _ if out == self.runs => String::new(),
                1 => " once".to_owned(),
                out => format!(" {out} times"),
            };
            format!("ran out of memory{times} on GPUs of {}", Memory(on))
        });
        let told: Vec<_> = used.into_iter().chain(ran_out).collect();
        format!("{runs} {}", told.join(" and "))
    }
}

/// What one ended job says.
struct PastRun<'j> {
    workload: &'j Workload,
    /// In bytes for each GPU.
    peak: Option<u64>,
    ran_out_on: Option<u64>,
    has_succeeded: bool,
}

impl<'j> PastRun<'j> {
    /// `None` of a job that has not ended, or says nothing.
    fn of(job: &'j Job) -> Option<Self> {
        let state = &job.state;
        let workload = state.workload.as_ref().filter(|_| state.stage.is_final())?;
        let each = u64::from(workload.gpus_per_process.max(1));
        let peak = state.peak_memory.map(|bytes| bytes / each);
        let has_run_out = state.exit.as_ref().is_some_and(|exit| exit.out_of_gpu_memory_after.is_some());
        let ran_out_on = state.gpus.as_ref().filter(|_| has_run_out).and_then(|grant| grant.memory);
        let says_something = peak.is_some() || ran_out_on.is_some();
        says_something.then_some(Self {
            workload,
            peak,
            ran_out_on,
            has_succeeded: state.stage == Stage::Succeeded,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Standing;

    const GIB: u64 = 1 << 30;

    fn workload() -> Workload {
        Workload {
            alike: Fingerprint([7; 32]),
            gpus_per_process: 1,
            max_length: Some(2_048),
            batch_size: Some(2),
        }
    }

    fn used(runs: usize, gib: u64) -> MemoryEstimate {
        MemoryEstimate { runs, peak: Some(gib * GIB), ran_out: None, grown: Vec::new() }
    }

    fn ran_out(runs: usize, out: usize, on: u64) -> MemoryEstimate {
        let ran_out = Some(RanOut { runs: out, on: on * GIB });
        MemoryEstimate { runs, peak: None, ran_out, grown: Vec::new() }
    }

    fn gpus(sizes: &[u64]) -> Vec<Gpu> {
        let gpu = |(index, gib): (u32, &u64)| Gpu {
            uuid: format!("GPU-{index}").into(),
            name: format!("Model {gib}").into(),
            index,
            is_slice: false,
            total_memory: gib * GIB,
            free_memory: gib * GIB,
            standing: Standing::Idle,
        };
        (0..).zip(sizes).map(gpu).collect()
    }

    fn asks(gib: u64) -> GpuRequest {
        GpuRequest { min_free_memory: gib * GIB, ..GpuRequest::of(1) }
    }

    #[test]
    fn who_may_get_too_little_is_warned_and_nobody_else() {
        let peak = MemoryEstimate { peak: Some(76_450_455_552), ..used(3, 0) };
        let used_71 = "the last 3 runs of this recipe used up to 71.2 GiB on each GPU";
        for (request, here, limit) in [
            (asks(0), &[80, 80][..], None),
            (asks(72), &[80], None),
            (asks(72), &[], None),
            (asks(0), &[], None),
            (asks(40), &[80], Some("`min_free_memory` asks for 40 GiB")),
            (asks(40), &[], Some("`min_free_memory` asks for 40 GiB")),
            (asks(40), &[48, 48], Some("the GPUs here have 48 GiB")),
            (asks(0), &[48], Some("the GPUs here have 48 GiB")),
            (asks(0), &[24, 48], Some("the largest GPU here has 48 GiB")),
            (asks(0), &[24, 80], Some("a GPU here has 24 GiB, and `min_free_memory` asks for none")),
            // What it cannot get is no reason to be warned, and neither is what only others can have.
            (asks(72), &[24, 80], None),
            (GpuRequest { names: vec!["*80*".into()], ..asks(0) }, &[24, 80], None),
        ] {
            let told = peak.warning(&request, &gpus(here)).map(|warning| warning.to_string());
            let expected = limit.map(|limit| format!("gpu_memory: {used_71}; {limit}"));
            assert_eq!(told, expected, "{request} of {here:?}");
        }
    }

    #[test]
    fn running_out_says_that_more_is_needed_than_there_was() {
        for (estimate, told) in [
            (ran_out(1, 1, 48), "the last run of this recipe ran out of memory on GPUs of 48 GiB"),
            (ran_out(3, 1, 48), "the last 3 runs of this recipe ran out of memory once on GPUs of 48 GiB"),
            (ran_out(3, 3, 48), "the last 3 runs of this recipe ran out of memory on GPUs of 48 GiB"),
            (
                MemoryEstimate { peak: Some(44 * GIB), ..ran_out(3, 2, 48) },
                "the last 3 runs of this recipe used up to 44 GiB on each GPU and ran out of memory 2 times on GPUs of 48 GiB",
            ),
        ] {
            let warning = estimate.warning(&asks(0), &gpus(&[48])).expect("there is no more than there was");
            assert_eq!(warning.detail, format!("{told}; the GPUs here have 48 GiB"));
            assert_eq!(estimate.warning(&asks(0), &gpus(&[80])), None, "nobody knows that it is too little");
            assert_eq!(estimate.warning(&asks(49), &gpus(&[80])), None);
        }
    }

    #[test]
    fn what_grew_since_is_added_to_a_warning_and_is_none_by_itself() {
        let earlier = Workload { max_length: Some(1_024), batch_size: Some(1), ..workload() };
        let grown = workload().grown_since(&[&earlier, &Workload { batch_size: Some(2), ..earlier.clone() }]);
        assert_eq!(grown, [Growth { what: "`max_length`", from: 1_024, to: 2_048 }]);
        let estimate = MemoryEstimate { grown, ..used(2, 50) };
        assert_eq!(estimate.warning(&asks(0), &gpus(&[80])), None);
        let warning = estimate.warning(&asks(0), &gpus(&[48])).expect("it does not fit");
        let told = "used up to 50 GiB on each GPU; the GPUs here have 48 GiB; since then `max_length` grew from 1024 to \
                    2048, so that it may need more";
        assert!(warning.detail.ends_with(told), "{}", warning.detail);
    }

    #[test]
    fn only_runs_that_were_no_larger_tell_of_it() {
        let now = workload();
        for (earlier, tells) in [
            (workload(), true),
            (Workload { max_length: Some(1_024), ..workload() }, true),
            (Workload { max_length: Some(4_096), ..workload() }, false),
            (Workload { max_length: None, ..workload() }, false),
            (Workload { batch_size: Some(1), ..workload() }, true),
            (Workload { batch_size: Some(4), ..workload() }, false),
            (Workload { alike: Fingerprint([8; 32]), ..workload() }, false),
        ] {
            assert_eq!(now.is_told_of_by(&earlier), tells, "{earlier:?}");
        }
    }
}
