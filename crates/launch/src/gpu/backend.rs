use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use swifthook_core::{Gpu, Gpus, Untold};
use tokio::sync::watch;

use super::config::GpuRules;
use super::history::History;
use super::reading::Source;
use super::{nvidia_smi, nvml};

/// The GPUs of this machine, asked of NVML (`libnvidia-ml.so.1`), or else of `nvidia-smi`.
///
/// They are looked at by a thread of their own, each second while somebody wants to know, so that a driver that hangs
/// holds up nobody: whoever asks is told so after some seconds, and never by a look that is older than two.
///
/// Slices (MIG) stand in the place of their GPU. `nvidia-smi` does not tell the memory of a slice: where only the program
/// can be asked, they are shown as unusable.
pub struct GpuProbe {
    machine: Arc<str>,
    shared: Arc<Shared>,
    looks: watch::Receiver<Option<Look>>,
}

struct Shared {
    asked: Mutex<Asked>,
    news: Condvar,
}

#[derive(Default)]
struct Asked {
    /// Until when somebody wants to know.
    until: Option<Instant>,
    /// Whether nobody has looked since somebody asked.
    is_new: bool,
    is_over: bool,
}

/// What was last seen.
#[derive(Clone)]
struct Look {
    at: Instant,
    answer: Result<Arc<[Gpu]>, Arc<str>>,
    /// The minor numbers of those that tell them.
    minors: Arc<HashMap<Arc<str>, u32>>,
    /// Whether there was anybody to ask.
    has_source: bool,
}

/// Finds whom to ask, or says why there is nobody.
type Open = Box<dyn FnMut() -> Result<Box<dyn Source>, String> + Send>;

impl GpuProbe {
    /// Begins to look. Leases are written under `machine`, which has to be the same for all who see the same GPUs, as
    /// containers of one machine do.
    #[must_use]
    pub fn start(machine: &str, rules: GpuRules) -> Self {
        Self::with(machine, rules, Box::new(open))
    }

    fn with(machine: &str, rules: GpuRules, open: Open) -> Self {
        let (told, looks) = watch::channel(None);
        let shared = Arc::new(Shared { asked: Mutex::default(), news: Condvar::new() });
        let watcher = Watcher {
            shared: shared.clone(),
            told,
            history: History::new(rules),
            minors: Arc::default(),
            asked_for_minors: None,
            open,
        };
        let thread = thread::Builder::new().name("swifthook-gpus".into()).spawn(move || watcher.work());
        if let Err(error) = thread {
            tracing::error!(%error, "no thread to look at GPUs: jobs that ask for some wait");
        }
        Self { machine: machine.into(), shared, looks }
    }

    /// How they are, for whoever only wants to know it now: nobody goes on looking for that.
    ///
    /// # Errors
    ///
    /// As [`Gpus::all`].
    pub async fn peek(&self) -> Result<Vec<Gpu>, Untold> {
        self.look(Duration::ZERO).await
    }

    /// The device nodes of the GPUs, by their names in `CUDA_VISIBLE_DEVICES`. Slices are not among them.
    ///
    /// # Errors
    ///
    /// As [`Gpus::all`].
    pub async fn nodes(&self) -> Result<BTreeMap<String, Vec<String>>, Untold> {
        let look = self.fresh(Duration::ZERO).await?;
        look.answer.map_err(|why| Untold::passing(&*why))?;
        let node = |(uuid, minor): (&Arc<str>, &u32)| (uuid.to_string(), vec![format!("/dev/nvidia{minor}")]);
        Ok(look.minors.iter().map(node).collect())
    }

    async fn look(&self, and_after_that: Duration) -> Result<Vec<Gpu>, Untold> {
        match self.fresh(and_after_that).await?.answer {
            Ok(gpus) => Ok(gpus.to_vec()),
            Err(why) => Err(Untold::passing(&*why)),
        }
    }

    async fn fresh(&self, and_after_that: Duration) -> Result<Look, Untold> {
        let asked_at = Instant::now();
        let mut looks = self.looks.clone();
        let is_fresh = |look: &Option<Look>| look.as_ref().is_some_and(|look| look.at + FRESH >= asked_at);
        if !and_after_that.is_zero() || !is_fresh(&looks.borrow()) {
            self.ask(asked_at + and_after_that);
        }
        match tokio::time::timeout(PATIENCE, looks.wait_for(is_fresh)).await {
            Ok(Ok(look)) => Ok(look.clone().expect("it was waited for")),
            Ok(Err(_)) => Err(Untold::passing("nobody looks at the GPUs")),
            Err(_) => Err(Untold::passing("the driver of the GPUs does not answer")),
        }
    }

    fn ask(&self, until: Instant) {
        let mut asked = self.shared.asked();
        asked.until = asked.until.max(Some(until));
        asked.is_new = true;
        self.shared.news.notify_all();
    }
}

impl Drop for GpuProbe {
    fn drop(&mut self) {
        self.shared.asked().is_over = true;
        self.shared.news.notify_all();
    }
}

#[async_trait]
impl Gpus for GpuProbe {
    fn machine(&self) -> Arc<str> {
        self.machine.clone()
    }

    /// Until it is known, it may have some.
    fn are_there(&self) -> bool {
        self.looks.borrow().as_ref().is_none_or(|look| look.has_source)
    }

    async fn all(&self) -> Result<Vec<Gpu>, Untold> {
        self.look(AWAKE).await
    }

    /// Where nobody has looked lately somebody is asked to, once, for whoever asks next.
    fn models(&self) -> Vec<Arc<str>> {
        let look = self.looks.borrow();
        let is_old = |look: &Look| look.has_source && look.at.elapsed() > OLD;
        if look.as_ref().is_none_or(is_old) {
            self.ask(Instant::now());
        }
        let seen = look.as_ref().and_then(|look| look.answer.as_ref().ok());
        seen.into_iter().flat_map(|gpus| gpus.iter()).map(|gpu| gpu.name.clone()).collect()
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().expect("nothing panics under this lock")
    }

    /// Waits until somebody wants to know; `false` when nobody ever will again.
    fn is_wanted(&self) -> bool {
        let is_idle = |asked: &mut Asked| {
            !asked.is_over && !asked.is_new && asked.until.is_none_or(|until| until < Instant::now())
        };
        let mut asked = self.news.wait_while(self.asked(), is_idle).expect("nothing panics under this lock");
        asked.is_new = false;
        !asked.is_over
    }
}

/// The thread that looks.
struct Watcher {
    shared: Arc<Shared>,
    told: watch::Sender<Option<Look>>,
    history: History,
    /// Those that were told so far; they stay as long as the machine does not start anew.
    minors: Arc<HashMap<Arc<str>, u32>>,
    /// Time at which somebody was last asked for them: not all tell them.
    asked_for_minors: Option<Instant>,
    open: Open,
}

impl Watcher {
    fn work(mut self) {
        let mut source = self.find();
        while self.shared.is_wanted() {
            if source.is_err() {
                source = (self.open)();
            }
            let seen = match &mut source {
                Ok(found) => found.look(),
                Err(why) => Err(why.clone()),
            };
            if let (Ok(found), Ok(readings)) = (&mut source, &seen)
                && readings.iter().any(|one| !one.is_slice && !self.minors.contains_key(&one.uuid))
                && self.asked_for_minors.is_none_or(|at| at.elapsed() > OLD)
            {
                self.minors = Arc::new(found.minors());
                self.asked_for_minors = Some(Instant::now());
            }
            let (has_source, has_failed) = (source.is_ok(), seen.is_err());
            self.tell(seen, has_source);
            if has_failed {
                // A driver that was exchanged, or loaded meanwhile, is found anew.
                source = source.and_then(|_| Err("it is asked anew".to_owned()));
            }
            thread::sleep(if has_failed { AFTER_A_FAILURE } else { BETWEEN_LOOKS });
        }
    }

    /// Says once who is asked, or that there is nobody.
    fn find(&mut self) -> Result<Box<dyn Source>, String> {
        let source = (self.open)();
        match &source {
            Ok(source) => tracing::info!(by = source.name(), "GPUs are looked at"),
            Err(why) => {
                tracing::info!(why, "this machine has no GPUs that can be used; jobs that ask for some wait");
                self.tell(Err(why.clone()), false);
            }
        }
        source
    }

    fn tell(&mut self, seen: Result<Vec<super::reading::Reading>, String>, has_source: bool) {
        let at = Instant::now();
        let answer = match seen {
            Ok(readings) => Ok(self.history.judge(readings, at).into()),
            Err(why) => Err(why.into()),
        };
        let minors = self.minors.clone();
        self.told.send_replace(Some(Look { at, answer, minors, has_source }));
    }
}

fn open() -> Result<Box<dyn Source>, String> {
    let no_library = match nvml::Library::open() {
        Ok(library) => return Ok(Box::new(library)),
        Err(why) => why,
    };
    let path = std::env::var("PATH").unwrap_or_default();
    match nvidia_smi::Program::find(&path) {
        Ok(program) => Ok(Box::new(program)),
        Err(no_program) => Err(format!("{no_library}, and {no_program}")),
    }
}

/// The oldest look that is believed.
const FRESH: Duration = Duration::from_secs(2);
/// How long whoever asks waits for a look: longer than one may take.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const AFTER_A_FAILURE: Duration = Duration::from_secs(2);
/// How long looks go on when nobody asks any more: those who wait ask every few seconds.
const AWAKE: Duration = Duration::from_secs(30);
/// When what is told of models is looked at anew, though no job wants to know.
const OLD: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use swifthook_core::Standing;

    use super::super::reading::{Memory, Reading};
    use super::*;

    /// Answers as it is told, look by look; nothing here asks a driver.
    struct Scripted(mpsc::Receiver<Result<Vec<Reading>, String>>);

    impl Source for Scripted {
        fn look(&mut self) -> Result<Vec<Reading>, String> {
            self.0.recv().unwrap_or_else(|_| Err("the script is over".into()))
        }

        fn minors(&mut self) -> HashMap<Arc<str>, u32> {
            [("GPU-1".into(), 3)].into()
        }

        fn name(&self) -> &'static str {
            "a script"
        }
    }

    fn reading() -> Reading {
        Reading {
            uuid: "GPU-1".into(),
            name: "NVIDIA H200".into(),
            index: 0,
            is_slice: false,
            memory: Ok(Memory { total: 8 << 30, used: 0, free: 8 << 30 }),
            utilization: Some(0),
            processes: Vec::new(),
        }
    }

    fn rules() -> GpuRules {
        GpuRules { settle: Duration::ZERO, ..GpuRules::default() }
    }

    /// A probe whose driver is there once and sees what is said.
    fn scripted() -> (mpsc::Sender<Result<Vec<Reading>, String>>, GpuProbe) {
        let (say, said) = mpsc::channel();
        let mut sources = vec![said];
        let open: Open = Box::new(move || match sources.pop() {
            Some(said) => Ok(Box::new(Scripted(said)) as Box<dyn Source>),
            None => Err("gone".into()),
        });
        let probe = GpuProbe::with("box", rules(), open);
        (say, probe)
    }

    #[tokio::test]
    async fn whoever_asks_gets_a_look_that_is_fresh() {
        let (say, probe) = scripted();
        say.send(Ok(vec![reading()])).unwrap();
        let gpus = probe.all().await.unwrap();
        assert_eq!((&*gpus[0].uuid, &gpus[0].standing), ("GPU-1", &Standing::Idle));
        assert_eq!((probe.are_there(), &*probe.machine()), (true, "box"));
        // The same look serves whoever asks just after it.
        assert_eq!(probe.all().await.unwrap(), gpus);
    }

    #[tokio::test]
    async fn the_device_nodes_are_told_by_the_names_of_the_gpus() {
        let (say, probe) = scripted();
        say.send(Ok(vec![reading()])).unwrap();
        let nodes = probe.nodes().await.unwrap();
        assert_eq!(nodes, [("GPU-1".to_owned(), vec!["/dev/nvidia3".to_owned()])].into());
    }

    #[tokio::test]
    async fn the_models_are_told_at_once_and_looked_at_where_nobody_has_yet() {
        let (say, probe) = scripted();
        assert_eq!(probe.models(), Vec::<Arc<str>>::new());
        say.send(Ok(vec![reading(), reading()])).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while probe.models().is_empty() {
            assert!(Instant::now() < deadline, "nobody has looked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(probe.models(), ["NVIDIA H200".into(), "NVIDIA H200".into()]);
    }

    #[tokio::test]
    async fn a_driver_that_hangs_is_told_and_what_was_seen_before_is_not() {
        let (say, probe) = scripted();
        say.send(Ok(vec![reading()])).unwrap();
        probe.all().await.unwrap();
        // It says nothing more. As soon as its last word is too old, nobody is told it any more.
        let deadline = Instant::now() + Duration::from_secs(30);
        let why = loop {
            match probe.all().await {
                Ok(_) => assert!(Instant::now() < deadline, "an old look is told"),
                Err(why) => break why,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(why.to_string(), "the driver of the GPUs does not answer");
        drop(say);
    }

    #[tokio::test]
    async fn a_machine_without_a_driver_says_so_and_one_that_comes_later_is_found() {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let (say, said) = mpsc::channel();
        let mut sources = vec![said];
        let open: Open = Box::new(move || match counted.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err("there is no libnvidia-ml.so.1".into()),
            _ => Ok(Box::new(Scripted(sources.pop().expect("it is opened once"))) as Box<dyn Source>),
        });
        let probe = GpuProbe::with("box", rules(), open);
        assert_eq!(probe.all().await.unwrap_err().to_string(), "there is no libnvidia-ml.so.1");
        assert!(!probe.are_there());
        say.send(Ok(vec![reading()])).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while probe.all().await.is_err() {
            assert!(Instant::now() < deadline, "it is not found");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(probe.are_there());
    }
}
