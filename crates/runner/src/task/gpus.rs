use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Event, Gpu, GpuGrant, GpuRequest, Problem, TrainingLauncher};

use super::launch::told;
use super::{End, Task};
use crate::guard::guarded;
use crate::observer::Moment;

/// What came of a look for GPUs.
enum Found {
    Free(GpuGrant),
    /// None now: the earliest next look, and why.
    None(Duration, String),
}

impl Task {
    /// Begins the attempt with GPUs of its own, or puts the job off; `false` then. Where another worker of this machine
    /// is faster, it looks again.
    pub(super) async fn start_on_gpus(
        &mut self,
        launcher: &dyn TrainingLauncher,
        request: &GpuRequest,
    ) -> Result<bool, End> {
        for _ in 0..TRIES {
            match self.look_for_gpus(request).await? {
                Found::Free(grant) => {
                    if self.start(launcher, Some(grant)).await? {
                        return Ok(true);
                    }
                }
                Found::None(wait, why) => return self.wait_for_gpus(request, wait, why).await,
            }
        }
        self.wait_for_gpus(request, SOON, format!("{request}: others were faster")).await
    }

    /// Whether there are GPUs for the job at the moment; it is put off if not.
    pub(super) async fn finds_gpus(&mut self, request: &GpuRequest) -> Result<bool, End> {
        match self.look_for_gpus(request).await? {
            Found::Free(_) => Ok(true),
            Found::None(wait, why) => self.wait_for_gpus(request, wait, why).await,
        }
    }

    async fn wait_for_gpus(
        &mut self,
        request: &GpuRequest,
        wait: Duration,
        why: String,
    ) -> Result<bool, End> {
        let event = Event::NoGpus { until: self.now().after(wait), request: request.clone(), why };
        self.apply(event).await?;
        self.tell(&Moment::PutOff);
        Ok(false)
    }

    async fn look_for_gpus(&self, request: &GpuRequest) -> Result<Found, End> {
        let options = &self.shared.options;
        let gpus = match self.unless_left(guarded(async { options.gpus.all().await })).await? {
            Ok(gpus) if gpus.is_empty() => {
                return Ok(Found::None(self.until_others_looked(), format!("{request}: {NONE_HERE}")));
            }
            Ok(gpus) => gpus,
            Err(untold) => {
                let wait = untold.retry_after().unwrap_or_else(|| self.until_others_looked());
                return Ok(Found::None(wait, format!("{request}: {}", told(&untold))));
            }
        };
        let machine = options.gpus.machine();
        let book = match self.shared.store.gpus(&machine, &options.worker(0)).await {
            Ok(book) => book,
            Err(error) => return Ok(Found::None(LATER, format!("{request}: {}", told(&error)))),
        };
        Ok(match book.choose(self.job.id, self.job.turn(), request, &gpus) {
            Ok(uuids) => Found::Free(GpuGrant { machine, memory: smallest(&uuids, &gpus), uuids }),
            Err(short) if short.is_for_ever() => Found::None(LATER, short.to_string()),
            Err(short) if short.before == 0 => Found::None(SOON, short.to_string()),
            Err(short) => Found::None(NEXT, short.to_string()),
        })
    }

    /// Those without GPUs do not keep a job from those with some, who may look at it at once.
    fn until_others_looked(&self) -> Duration {
        if self.shared.options.gpus.are_there() { LATER } else { Duration::ZERO }
    }
}

/// The memory of the smallest of them.
fn smallest(uuids: &[Arc<str>], gpus: &[Gpu]) -> Option<u64> {
    gpus.iter().filter(|gpu| uuids.contains(&gpu.uuid)).map(|gpu| gpu.total_memory).min()
}

/// How often a start is tried whose GPUs are taken by others in between.
const TRIES: usize = 5;
/// When the first in line looks again.
const SOON: Duration = Duration::from_secs(5);
/// When the others do.
const NEXT: Duration = Duration::from_secs(15);
/// When one looks again that cannot be served here.
const LATER: Duration = Duration::from_secs(30);
const NONE_HERE: &str = "this machine has no GPU";
