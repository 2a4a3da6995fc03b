use crate::audit::Evidence;
use crate::broker::Way;
use crate::cluster::Mode;
use crate::done::Done;
use crate::judge::Breach;
use crate::marks::Moment;
use crate::points::{POINTS, POINTS_OF_A_BROKER};

/// The table that is printed at the end, and under it what must not be.
pub(crate) fn table(evidence: &Evidence, done: &Done, breaches: &[Breach]) -> String {
    let rows = done_to_it(done).into_iter().chain(came_of_it(evidence)).chain(broken(breaches));
    let mut text: String = rows.map(|(name, number)| format!("{name:<66} {number:>6}\n")).collect();
    text += "SIGKILL proves nothing about syncing, since the page cache survives it: for that see\n";
    text += "scripts/acceptance.d/order-of-system-calls and scripts/acceptance.d/order-on-postgresql.\n";
    for breach in breaches {
        text += &format!("BREACH: {breach:?}\n");
    }
    text
}

type Row = (String, usize);

fn done_to_it(done: &Done) -> Vec<Row> {
    let database = |mode| done.database.get(&mode).copied().unwrap_or(0);
    let broker = |way| done.broker.get(&way).copied().unwrap_or(0);
    let mut rows = vec![
        row("receivers killed", done.receivers),
        row("workers killed", done.workers),
        row("stopped for less than 3 s", done.short_stops),
        row("receivers stopped for longer than a lease", done.long_stops[0]),
        row("workers stopped for longer than a lease", done.long_stops[1]),
        row("supervisors killed", done.supervisors.len()),
        row("supervisors stopped for longer than a lease", done.supervisors_stopped),
        row("database stopped (fast)", database(Mode::Fast)),
        row("database stopped (immediate)", database(Mode::Immediate)),
        row("processes of the database killed", done.backends),
        row("broker stopped", broker(Way::StopApp)),
        row("broker killed", broker(Way::Kill)),
        row("processes that gave up without database or broker, and came again", done.gave_up),
    ];
    for point in POINTS.into_iter().chain(POINTS_OF_A_BROKER) {
        let [killed, stopped] = done.points.get(point).copied().unwrap_or_default();
        rows.push((format!("  killed at `{point}`"), killed));
        rows.push((format!("  stopped at `{point}` for longer than a lease"), stopped));
    }
    rows.retain(|(_, number)| *number > 0);
    rows
}

fn came_of_it(evidence: &Evidence) -> Vec<Row> {
    let sent = &evidence.sent;
    let in_state = |state: &str| evidence.jobs.iter().filter(|job| job.state == state).count();
    let adopted = evidence.jobs.iter().flat_map(|job| job.attempts.iter().flatten());
    vec![
        row("pushes sent", sent.pushes),
        row("  answered 202", sent.accepted),
        row("  answered 503, not stored", sent.not_stored),
        row("  without an answer", sent.unanswered),
        row("jobs", evidence.jobs.len()),
        row("  succeeded", in_state("succeeded")),
        row("  failed, their supervisors killed", in_state("failed")),
        row("  quarantined after three crashes", in_state("quarantined")),
        row("attempts", evidence.jobs.iter().map(|job| job.attempts.len()).sum()),
        row("  taken over from a worker that was lost", adopted.filter(|word| *word == "taken_over").count()),
        row("runs begun", evidence.marks.iter().filter(|mark| mark.what == Moment::Begin).count()),
    ]
}

fn broken(breaches: &[Breach]) -> Vec<Row> {
    let count = |is_it: fn(&Breach) -> bool| breaches.iter().filter(|breach| is_it(breach)).count();
    vec![
        row("lost", count(|breach| matches!(breach, Breach::Lost(_)))),
        row("run twice", count(|breach| matches!(breach, Breach::Twice(_)))),
        row("stuck", count(|breach| matches!(breach, Breach::Stuck(_)))),
        row("store untrue", count(|breach| matches!(breach, Breach::Untrue(_)))),
    ]
}

fn row(name: &str, number: usize) -> Row {
    (name.to_owned(), number)
}
