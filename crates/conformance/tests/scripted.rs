//! The launcher of simulated worlds keeps the promises that real ones keep.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use swifthook_conformance::launcher::{Ground, Plan};
use swifthook_conformance::world::{Course, Ending, ScriptedLauncher};
use swifthook_core::{Retry, RunKey, RunSpec, State, Timestamp, TrainingLauncher};

struct Cluster {
    launcher: Arc<ScriptedLauncher>,
    now: Arc<AtomicI64>,
    plans: Arc<Mutex<BTreeMap<RunKey, Plan>>>,
}

impl Cluster {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(1_795_514_400_000));
        let (clock, plans) = (now.clone(), Arc::<Mutex<BTreeMap<RunKey, Plan>>>::default());
        let launcher = ScriptedLauncher::new(Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))));
        let planned = plans.clone();
        launcher.plan(move |key| {
            let course = Course { steps: 0, obeys_after: Duration::from_millis(20), ..Course::default() };
            let lasts = Duration::from_millis(50);
            match planned.lock().expect("nothing panics under this lock").get(key) {
                Some(Plan::Exits(code)) => Course { lasts, ending: Ending::Exits(*code), ..course },
                Some(Plan::Killed(signal)) => Course { lasts, ending: Ending::Killed(*signal), ..course },
                _ => Course { lasts: Duration::from_secs(600), ..course },
            }
        });
        Self { launcher: Arc::new(launcher), now, plans }
    }
}

impl Ground for Cluster {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        self.launcher.clone()
    }

    fn run(&self, key: &RunKey, plan: Plan) -> RunSpec {
        self.plans.lock().expect("nothing panics under this lock").insert(*key, plan);
        let change = json!({
            "repository": "acme/models", "ref_name": { "branch": "main" }, "head": "a".repeat(40),
            "recipe": "test", "config": "", "run": 0,
        });
        let spec = json!({
            "recipe": "test", "config": null, "group": key.to_string(), "priority": 0, "launcher": "scripted",
            "labels": [], "command": [], "superseded": "keep", "debounce": null, "retry": Retry::default(),
        });
        let job = json!({
            "id": key.job, "change": change, "before": null, "sender": null, "pushed_at": null,
            "source": "person", "spec": spec, "state": State::queued(None, None), "created_at": 0,
            "rerun_of": null, "superseded_by": null, "progress": null,
        });
        RunSpec {
            job: Arc::new(serde_json::from_value(job).expect("it is a job")),
            argv: vec!["train".into()],
            env: BTreeMap::new(),
            run_dir: "/runs/1".into(),
            working_dir: "/runs/1/tree".into(),
            checkout: None,
            output_dir: "/runs/1/output".into(),
            timeout: None,
            grace: Duration::from_secs(20),
            limits: swifthook_core::RunLimits::default(),
            enclosure: swifthook_core::Enclosure::default(),
            shape: swifthook_core::RunShape::default(),
        }
    }

    fn begun(&self, key: &RunKey) -> usize {
        self.launcher.runs().iter().filter(|run| run.key == *key).count()
    }

    fn log(&self, _key: &RunKey) -> Option<String> {
        None
    }

    fn cut_off(&self) {
        self.launcher.lose_sight_for(Duration::from_secs(60));
    }

    fn reconnect(&self) {}

    async fn pass(&self, time: Duration) {
        self.now.fetch_add(i64::try_from(time.as_millis()).expect("it is short"), Ordering::SeqCst);
    }
}

swifthook_conformance::launcher_contract!(Cluster::new());
