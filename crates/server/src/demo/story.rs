use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::DemoError;
use super::follow::Follower;
use super::interrupt::Interrupt;
use super::next::{removal, what_next};
use super::payload::payload;
use super::screen::{Mark, Row, Screen, Timeline};
use super::server::Server;
use super::setting::{CONFIG, PAYLOAD, RECIPE, REPOSITORY, Setting};
use super::trainer::Trainer;
use super::upstream::Pushed;
use crate::send::{Answer, Delivery};

/// Plays the demo on standard output. It is a good end only if the run succeeded and its working tree was the pushed
/// commit.
///
/// # Errors
///
/// When anything went another way.
pub fn tell() -> Result<(), DemoError> {
    let screen = Screen::stdout();
    let interrupt = Interrupt::listen().map_err(|error| DemoError::folder(Path::new("/"), error))?;
    screen.heading("swifthook demo: a push becomes a training run");
    let played = play(&screen, &interrupt);
    if matches!(played, Err(DemoError::Interrupted { .. })) {
        screen.line("");
        screen.line("  Ended: nothing of the demo runs any more, and its folder is removed.");
    }
    played
}

fn play(screen: &Screen, interrupt: &Interrupt) -> Result<(), DemoError> {
    let trainer = Trainer::find(std::env::var_os("PATH"), interrupt)?;
    if !trainer.is_toy() {
        screen.aside(&format!("{} is on the PATH: a tiny random model is made for it.", trainer.name()));
    }
    let setting = Setting::create(trainer, interrupt)?;
    introduce(screen, &setting.trainer);
    let server = Server::start(&setting)?;
    screen.line("");
    screen.line(&format!("  {REPOSITORY} is served at {}", server.url));
    let played = Scene { screen, setting: &setting, server: &server, interrupt }.play();
    match played {
        Ok(job) => {
            server.stop()?;
            what_next(screen, &setting.keep(), &job);
            Ok(())
        }
        Err(error) => Err(end(screen, interrupt, setting, server, error)),
    }
}

/// Ends all that has begun. What went another way can be looked at afterwards; what was interrupted is removed.
fn end(
    screen: &Screen,
    interrupt: &Interrupt,
    setting: Setting,
    server: Server,
    error: DemoError,
) -> DemoError {
    if interrupt.check().is_err() {
        screen.line("");
        screen.line("  Ending what runs. Once more, and it is left as it is.");
    }
    let ended = server.end_all().and_then(|()| server.stop());
    let error = match (ended, interrupt.check()) {
        (Ok(()), Err(interrupted)) => return setting.remove().err().unwrap_or(interrupted),
        (Ok(()), Ok(())) => error,
        (Err(why), _) => DemoError::unexpected(format!("{error}; and not all of it could be ended: {why}")),
    };
    let kept = setting.keep();
    screen.line("");
    screen.line(&format!(
        "  All of it is in {}, and this removes it: {}",
        kept.folder.display(),
        removal(&kept)
    ));
    error
}

fn introduce(screen: &Screen, trainer: &Trainer) {
    match trainer {
        Trainer::MsSwift(_) => {
            screen.aside(
                "All of it is real: git, HTTP, the store, the supervised run, and the training, on the CPU.",
            );
        }
        Trainer::Toy { instead_of } => {
            if let Some(why) = instead_of {
                screen.aside(&format!("The `swift` on the PATH is not used: {why}"));
            }
            screen.aside(
                "All of it is real: git, HTTP, the store, the supervised run. Only the trainer is a toy, built in,",
            );
            screen.aside("that fits a small logistic regression: ms-swift, a GPU and Python are not needed.");
        }
    }
}

struct Scene<'a> {
    screen: &'a Screen,
    setting: &'a Setting,
    server: &'a Server,
    interrupt: &'a Interrupt,
}

impl Scene<'_> {
    /// Two pushes, of which the second trains; answers its job.
    fn play(&self) -> Result<String, DemoError> {
        self.ignored_push()?;
        self.training_push()
    }

    fn ignored_push(&self) -> Result<(), DemoError> {
        let pushed = self.push("README.md", "README.md", "# Models\n\nTrained on every push.\n")?;
        self.on_timeline(&[Row::Delivery, Row::Verdict], |timeline| {
            let answer = self.deliver(timeline, &pushed)?;
            timeline.end(Row::Verdict, Mark::Ignored, &verdict(&answer, "skip")?);
            Ok(())
        })
    }

    fn training_push(&self) -> Result<String, DemoError> {
        let setting = self.setting;
        let [first, then] = setting.trainer.rates();
        let title = format!("{CONFIG}, learning_rate {first} → {then}");
        let pushed = self.push(&title, CONFIG, &setting.trainer.config(&setting.folder, then))?;
        let began = Instant::now();
        let rows = &[Row::Delivery, Row::Verdict, Row::Job, Row::Checkout, Row::Training, Row::Result];
        self.on_timeline(rows, |timeline| {
            let answer = self.deliver(timeline, &pushed)?;
            let verdict = verdict(&answer, "launch")?;
            timeline.end(Row::Verdict, Mark::Good, &format!("{verdict}: recipe {RECIPE} trains {CONFIG}"));
            let job = answer.jobs(RECIPE).into_iter().next().map(|(id, _)| id);
            let job = job.ok_or_else(|| DemoError::unexpected("the answer names no job"))?;
            timeline.end(Row::Job, Mark::Good, &format!("{job}, queued durably before the answer"));
            let (server, interrupt) = (self.server, self.interrupt);
            let head = &pushed.head;
            Follower { setting, server, timeline, job: &job, head, pushed: began, interrupt }.follow()?;
            Ok(job)
        })
    }

    fn push(&self, title: &str, path: &str, text: &str) -> Result<Pushed, DemoError> {
        self.interrupt.check()?;
        self.screen.line("");
        self.screen.heading(&format!("  git push: {title}"));
        self.setting.upstream.push(&[(path, text)], "Tune")
    }

    fn on_timeline<T>(
        &self,
        rows: &'static [Row],
        play: impl FnOnce(&Timeline<'_>) -> Result<T, DemoError>,
    ) -> Result<T, DemoError> {
        let timeline = self.screen.timeline(rows);
        let played = play(&timeline);
        timeline.close();
        played
    }

    /// Signs and posts the push, as GitHub would. The payload stays, to be sent again.
    fn deliver(&self, timeline: &Timeline<'_>, pushed: &Pushed) -> Result<Answer, DemoError> {
        timeline.begin(Row::Delivery, "signing and posting");
        let payload = payload(REPOSITORY, pushed, SystemTime::now().into());
        let kept = self.setting.folder.join(PAYLOAD);
        fs::write(&kept, &payload).map_err(|error| DemoError::folder(&kept, error))?;
        let answer = Delivery::push(payload).post(&self.server.url, self.setting.secret.as_bytes())?;
        if !answer.status.is_success() {
            return Err(DemoError::unexpected(format!("the push was refused: {answer}")));
        }
        let (status, took) = (answer.status.as_u16(), thousands(answer.took.as_micros()));
        timeline.end(
            Row::Delivery,
            Mark::Good,
            &format!("signature verified, answered {status} in {took} µs"),
        );
        Ok(answer)
    }
}

/// What the demo's recipe says of the push, if it is what it should be.
fn verdict(answer: &Answer, expected: &str) -> Result<String, DemoError> {
    let verdict = answer.verdict(RECIPE).filter(|verdict| verdict.starts_with(expected));
    verdict.ok_or_else(|| DemoError::unexpected(format!("the verdict was to be {expected}: {answer}")))
}

fn thousands(number: u128) -> String {
    match (number / 1_000, number % 1_000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}
