use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Gpu, GpuRequest, Standing};
use crate::id::JobId;
use crate::launcher::RunKey;

/// GPUs of a machine that an attempt has to itself, from its start until it is known to have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuGrant {
    /// The machine, by [`Gpus::machine`](super::Gpus::machine).
    pub machine: Arc<str>,
    /// The GPUs, by [`Gpu::uuid`].
    pub uuids: Vec<Arc<str>>,
    /// The memory of the smallest of them, in bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// Who has a GPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GpuLease {
    /// The machine.
    pub machine: Arc<str>,
    /// The GPU.
    pub uuid: Arc<str>,
    /// The attempt that has it.
    pub run: RunKey,
}

/// A job that waits for GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuWaiter {
    /// The job.
    pub job: JobId,
    /// When it is its turn.
    pub turn: i64,
    /// What it asks for, as it did when it was last looked at.
    pub request: GpuRequest,
}

/// What a store knows of the GPUs of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuBook {
    /// Those that somebody has.
    pub leases: Vec<GpuLease>,
    /// The jobs that wait for GPUs and could start otherwise, in their turns.
    pub waiting: Vec<GpuWaiter>,
}

/// Why a job gets no GPUs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    request: GpuRequest,
    /// How many GPUs the machine has that would do.
    pub suitable: usize,
    /// How many of these are free.
    pub free: usize,
    leased: usize,
    in_use: usize,
    broken: usize,
    /// The older job that those which are free are kept for.
    pub kept_for: Option<JobId>,
    /// How many of those that wait come first.
    pub before: usize,
    /// Why this machine can never serve it, if so.
    unmet: Option<String>,
}

impl GpuBook {
    /// The GPUs for a job whose turn is `turn`, of those that a machine has.
    ///
    /// The oldest that waits, of those that the machine can ever serve, has the first right to what it asks for: a
    /// younger one gets only what the oldest cannot use, or what is left when it has all that it needs. So who asks for
    /// many is not starved by those who ask for few.
    ///
    /// # Errors
    ///
    /// Why there are none now.
    pub fn choose(
        &self,
        job: JobId,
        turn: i64,
        request: &GpuRequest,
        gpus: &[Gpu],
    ) -> Result<Vec<Arc<str>>, Box<Shortage>> {
        let count = request.count as usize;
        let suitable: Vec<&Gpu> = gpus.iter().filter(|gpu| request.suits(gpu)).collect();
        let free: Vec<&Gpu> = suitable.iter().copied().filter(|gpu| self.is_free(gpu, request)).collect();
        let older = || self.waiting.iter().filter(|other| (other.turn, other.job) < (turn, job));
        let first = older().find(|other| other.can_be_served(gpus));
        let (wanted, spare) = first.map_or((Vec::new(), 0), |first| self.kept_for(first, gpus));
        let is_wanted = |gpu: &Gpu| wanted.contains(&&*gpu.uuid);
        let (kept, open): (Vec<&Gpu>, Vec<&Gpu>) = free.iter().copied().partition(|gpu| is_wanted(gpu));
        // Of those that the oldest wants only what it can do without.
        let open = open.into_iter().chain(kept.into_iter().take(spare)).collect();
        let short = || Shortage {
            request: request.clone(),
            suitable: suitable.len(),
            free: free.len(),
            leased: count_of(&suitable, |gpu| self.is_leased(gpu)),
            in_use: count_of(&suitable, |gpu| {
                !self.is_leased(gpu) && !self.is_free(gpu, request) && !gpu.is_broken()
            }),
            broken: count_of(&suitable, |gpu| !self.is_leased(gpu) && gpu.is_broken()),
            kept_for: first.filter(|_| free.len() >= count).map(|first| first.job),
            before: older().count(),
            unmet: request.unmet_by(gpus),
        };
        best(open, count).ok_or_else(|| Box::new(short()))
    }

    /// What the oldest that waits has the first right to, and how many of these are left when it has what it needs.
    fn kept_for<'g>(&self, first: &GpuWaiter, gpus: &'g [Gpu]) -> (Vec<&'g str>, usize) {
        let suitable = || gpus.iter().filter(|gpu| first.request.suits(gpu));
        let free: Vec<&str> =
            suitable().filter(|gpu| self.is_free(gpu, &first.request)).map(|gpu| &*gpu.uuid).collect();
        match free.len().checked_sub(first.request.count as usize) {
            // It can start, and needs none of those that are not free.
            Some(spare) => (free, spare),
            None => (suitable().map(|gpu| &*gpu.uuid).collect(), 0),
        }
    }

    fn is_leased(&self, gpu: &Gpu) -> bool {
        self.leases.iter().any(|lease| lease.uuid == gpu.uuid)
    }

    fn is_free(&self, gpu: &Gpu, request: &GpuRequest) -> bool {
        gpu.standing == Standing::Idle && gpu.free_memory >= request.min_free_memory && !self.is_leased(gpu)
    }
}

impl GpuWaiter {
    fn can_be_served(&self, gpus: &[Gpu]) -> bool {
        let suitable = gpus.iter().filter(|gpu| self.request.suits(gpu) && !gpu.is_broken());
        suitable.count() >= self.request.count as usize
    }
}

impl Gpu {
    fn is_broken(&self) -> bool {
        matches!(self.standing, Standing::Broken(_))
    }
}

/// The smallest that do, in the order of their numbers; of one model if there are enough of one, since the slowest
/// holds up the others.
fn best(mut open: Vec<&Gpu>, count: usize) -> Option<Vec<Arc<str>>> {
    open.sort_by_key(|gpu| (gpu.free_memory >> 30, gpu.index, gpu.uuid.clone()));
    let of_one_model = |gpu: &&Gpu| count_of(&open, |other| other.name == gpu.name) >= count;
    let model = open.iter().find(|gpu| of_one_model(gpu)).map(|gpu| gpu.name.clone());
    let mut chosen: Vec<&Gpu> = open
        .into_iter()
        .filter(|gpu| model.as_ref().is_none_or(|model| gpu.name == *model))
        .take(count)
        .collect();
    chosen.sort_by_key(|gpu| (gpu.index, gpu.uuid.clone()));
    (chosen.len() == count).then(|| chosen.into_iter().map(|gpu| gpu.uuid.clone()).collect())
}

fn count_of(gpus: &[&Gpu], is_one: impl Fn(&Gpu) -> bool) -> usize {
    gpus.iter().filter(|gpu| is_one(gpu)).count()
}

impl Shortage {
    /// Whether this machine can never serve it, whoever goes.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        self.unmet.is_some()
    }
}

/// `2 GPUs with 20 GiB free: 1 of 4 is free, 2 are leased, 1 is in use, 3rd in line`.
impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.request)?;
        if let Some(why) = &self.unmet {
            return f.write_str(why);
        }
        write!(f, "{} of {} {} free", self.free, self.suitable, is(self.free))?;
        for (number, what) in [(self.leased, "leased"), (self.in_use, "in use"), (self.broken, "broken")] {
            if number > 0 {
                write!(f, ", {number} {} {what}", is(number))?;
            }
        }
        if self.kept_for.is_some() {
            write!(f, ", kept for a job that came first")?;
        }
        write!(f, ", {} in line", Ordinal(self.before + 1))
    }
}

fn is(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

struct Ordinal(usize);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match (self.0 % 10, self.0 % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        write!(f, "{}{ending}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn gpu(index: u32, name: &str) -> Gpu {
        Gpu {
            uuid: format!("GPU-{index}").into(),
            name: name.into(),
            index,
            is_slice: false,
            total_memory: 80 * GIB,
            free_memory: 80 * GIB,
            standing: Standing::Idle,
        }
    }

    fn machine(count: u32) -> Vec<Gpu> {
        (0..count).map(|index| gpu(index, "NVIDIA A100")).collect()
    }

    fn id(number: u8) -> JobId {
        JobId([number; 16])
    }

    fn leased(indices: &[u32]) -> GpuBook {
        let lease = |index: &u32| GpuLease {
            machine: "box".into(),
            uuid: format!("GPU-{index}").into(),
            run: RunKey { job: id(99), attempt: 1 },
        };
        GpuBook { leases: indices.iter().map(lease).collect(), waiting: Vec::new() }
    }

    impl GpuBook {
        fn with_waiting(mut self, requests: &[(u8, GpuRequest)]) -> Self {
            let waiter = |(number, request): &(u8, GpuRequest)| GpuWaiter {
                job: id(*number),
                turn: i64::from(*number),
                request: request.clone(),
            };
            self.waiting = requests.iter().map(waiter).collect();
            self
        }

        fn for_job(
            &self,
            number: u8,
            request: &GpuRequest,
            gpus: &[Gpu],
        ) -> Result<Vec<Arc<str>>, Box<Shortage>> {
            self.choose(id(number), i64::from(number), request, gpus)
        }
    }

    fn uuids(chosen: Result<Vec<Arc<str>>, Box<Shortage>>) -> Vec<String> {
        chosen.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_free_is_given_in_the_order_of_the_numbers() {
        let book = leased(&[0]);
        assert_eq!(uuids(book.for_job(1, &GpuRequest::of(2), &machine(4))), ["GPU-1", "GPU-2"]);
        let short = book.for_job(1, &GpuRequest::of(4), &machine(4)).unwrap_err();
        assert_eq!(short.to_string(), "4 GPUs: 3 of 4 are free, 1 is leased, 1st in line");
        assert!(!short.is_for_ever());
    }

    #[test]
    fn who_asks_for_more_than_there_is_is_told_so() {
        let short = leased(&[]).for_job(1, &GpuRequest::of(5), &machine(4)).unwrap_err();
        assert_eq!(
            (short.to_string().as_str(), short.is_for_ever()),
            ("5 GPUs: this machine has 4 such GPUs", true)
        );
        let no_such = GpuRequest { names: vec!["*H100*".into()], ..GpuRequest::of(1) };
        let short = leased(&[]).for_job(1, &no_such, &machine(4)).unwrap_err();
        assert_eq!(short.to_string(), "1 GPU of *H100*: this machine has no such GPU: it has NVIDIA A100");
    }

    #[test]
    fn what_people_use_and_what_is_broken_is_left_alone() {
        let mut gpus = machine(4);
        gpus[0].standing = Standing::InUse("30 GiB by pid 7".into());
        gpus[1].standing = Standing::Broken("it fell off the bus".into());
        gpus[2].standing = Standing::Settling;
        gpus[3].free_memory = 10 * GIB;
        let asks = GpuRequest { min_free_memory: 20 * GIB, ..GpuRequest::of(1) };
        let short = leased(&[]).for_job(1, &asks, &gpus).unwrap_err();
        assert_eq!(
            short.to_string(),
            "1 GPU with 20 GiB free: 0 of 4 are free, 3 are in use, 1 is broken, 1st in line"
        );
        assert_eq!(uuids(leased(&[]).for_job(1, &GpuRequest::of(1), &gpus)), ["GPU-3"]);
    }

    #[test]
    fn small_ones_do_not_starve_a_big_one_that_came_first() {
        let book = leased(&[0]).with_waiting(&[(1, GpuRequest::of(4)), (2, GpuRequest::of(1))]);
        let short = book.for_job(2, &GpuRequest::of(1), &machine(4)).unwrap_err();
        assert_eq!(
            short.to_string(),
            "1 GPU: 3 of 4 are free, 1 is leased, kept for a job that came first, 2nd in line"
        );
        assert_eq!(short.kept_for, Some(id(1)));
        // The big one itself is held up by nobody, and a small one that came before it neither.
        let all = leased(&[]).with_waiting(&[(1, GpuRequest::of(4)), (2, GpuRequest::of(1))]);
        assert_eq!(all.for_job(1, &GpuRequest::of(4), &machine(4)).unwrap().len(), 4);
        assert_eq!(uuids(book.for_job(0, &GpuRequest::of(1), &machine(4))), ["GPU-1"]);
    }

    #[test]
    fn small_ones_pass_where_they_cannot_delay() {
        // The first can start as it is, and there is more than it needs.
        let book = leased(&[0]).with_waiting(&[(1, GpuRequest::of(2))]);
        assert_eq!(book.for_job(2, &GpuRequest::of(1), &machine(4)).unwrap().len(), 1);
        assert!(book.for_job(2, &GpuRequest::of(2), &machine(4)).is_err());
        // What the first could never use.
        let mut gpus = machine(2);
        gpus.push(gpu(2, "Tesla T4"));
        let first = GpuRequest { names: vec!["*A100*".into()], ..GpuRequest::of(2) };
        let book = leased(&[0]).with_waiting(&[(1, first)]);
        assert_eq!(uuids(book.for_job(2, &GpuRequest::of(1), &gpus)), ["GPU-2"]);
        // Those that one with another model has are not kept for it, whatever their number.
        assert!(book.for_job(2, &GpuRequest::of(2), &gpus).is_err());
    }

    #[test]
    fn one_that_this_machine_cannot_serve_keeps_nothing_from_others() {
        let book = leased(&[]).with_waiting(&[(1, GpuRequest::of(8)), (2, GpuRequest::of(4))]);
        assert!(book.for_job(3, &GpuRequest::of(1), &machine(4)).is_err(), "kept for the second");
        let book = leased(&[]).with_waiting(&[(1, GpuRequest::of(8))]);
        assert!(book.for_job(3, &GpuRequest::of(1), &machine(4)).is_ok());
        let mut broken = machine(8);
        broken[0].standing = Standing::Broken("it has to be reset".into());
        assert!(book.for_job(3, &GpuRequest::of(1), &broken).is_ok(), "it has seven");
    }

    #[test]
    fn a_run_of_several_has_them_of_one_model_if_it_can() {
        let gpus = [gpu(0, "Tesla T4"), gpu(1, "NVIDIA A100"), gpu(2, "Tesla T4"), gpu(3, "NVIDIA A100")];
        assert_eq!(uuids(leased(&[0]).for_job(1, &GpuRequest::of(2), &gpus)), ["GPU-1", "GPU-3"]);
        assert_eq!(uuids(leased(&[0]).for_job(1, &GpuRequest::of(3), &gpus)), ["GPU-1", "GPU-2", "GPU-3"]);
    }

    #[test]
    fn the_smallest_that_does_is_given_first() {
        let mut gpus = machine(2);
        gpus[1].free_memory = 24 * GIB;
        assert_eq!(uuids(leased(&[]).for_job(1, &GpuRequest::of(1), &gpus)), ["GPU-1"]);
        let asks = GpuRequest { min_free_memory: 40 * GIB, ..GpuRequest::of(1) };
        assert_eq!(uuids(leased(&[]).for_job(1, &asks, &gpus)), ["GPU-0"]);
    }

    #[test]
    fn places_in_a_line_have_their_endings() {
        let told: Vec<_> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(|n| Ordinal(n).to_string()).into();
        assert_eq!(told, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
    }
}
