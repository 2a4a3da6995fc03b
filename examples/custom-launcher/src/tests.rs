use swifthook_core::{Actor, Command, History, Intake, JobFilter, JobQueue, Stage};
use tokio::sync::mpsc;

use super::*;

const MOST: Duration = Duration::from_secs(60);

/// Runs both recipes to their ends; `meanwhile` sees every moment.
async fn run(mut meanwhile: impl AsyncFnMut(&MemoryQueue, &Job, &Moment)) -> Vec<Job> {
    let (setup, queue) = (Arc::new(Setup::new().unwrap()), Arc::new(MemoryQueue::new()));
    let (tell, mut told) = mpsc::unbounded_channel();
    let runner = app(setup.clone(), queue.clone(), move |job, moment| {
        let _ = tell.send((job.clone(), moment.clone()));
    });
    let handle = runner.handle();
    let push = push(&"ab".repeat(20)).unwrap();
    queue.accept(&setup.decide(push, SystemTime::now().into())).await.unwrap();
    let both = async {
        let mut ended = 0;
        while ended < 2 {
            let (job, moment) = told.recv().await.unwrap();
            meanwhile(&queue, &job, &moment).await;
            handle.wake();
            ended += usize::from(job.state.stage.is_final());
        }
    };
    // The runner is asked to shut down when both have ended.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(runner.run(async { drop(stopped.await) }));
    tokio::time::timeout(MOST, both).await.unwrap();
    drop(stop);
    tokio::time::timeout(MOST, running).await.unwrap().unwrap();
    let mut jobs = queue.jobs(&JobFilter::default()).await.unwrap();
    jobs.sort_by(|one, other| one.change.recipe.cmp(&other.change.recipe));
    jobs
}

fn stages(jobs: &[Job]) -> Vec<(&str, Stage)> {
    jobs.iter().map(|job| (&*job.change.recipe, job.state.stage)).collect()
}

#[tokio::test(start_paused = true)]
async fn both_launchers_take_their_job_to_its_end() {
    let mut steps = 0;
    let jobs = run(async |_, _, moment| {
        if let Moment::Progressed(progress) = moment {
            steps = steps.max(progress.step.unwrap());
        }
    })
    .await;
    assert_eq!(stages(&jobs), [("callback", Stage::Succeeded), ("tasks", Stage::Succeeded)]);
    assert!(steps > 0, "a run that reports how far it is was seen on its way");
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_stopped() {
    let jobs = run(async |queue, job, moment| {
        if &*job.change.recipe == "tasks" && *moment == Moment::Submitted {
            queue.command(job.id, Command::Cancel, &Actor("ada".into())).await.unwrap();
        }
    })
    .await;
    assert_eq!(stages(&jobs), [("callback", Stage::Succeeded), ("tasks", Stage::Cancelled)]);
    let message = jobs[1].state.exit.as_ref().unwrap().message.as_deref().unwrap();
    assert!(message.starts_with("stopped at step"), "{message}");
}
