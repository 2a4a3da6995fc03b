use crate::audit::Evidence;
use crate::driver::Done;
use crate::judge::Breach;

/// The table that is printed at the end, and under it what must not be.
pub(crate) fn table(evidence: &Evidence, done: &Done, breaches: &[Breach]) -> String {
    let sent = &evidence.sent;
    let in_state = |state: &str| evidence.jobs.iter().filter(|job| job.state == state).count();
    let count = |is_it: fn(&Breach) -> bool| breaches.iter().filter(|breach| is_it(breach)).count();
    let rows = [
        ("server killed", done.kills),
        ("server stopped and continued", done.stops),
        ("supervisors killed", done.supervisors.len()),
        ("pushes sent", sent.pushes),
        ("  answered 202", sent.accepted),
        ("  answered 503, not stored", sent.not_stored),
        ("  without an answer", sent.unanswered),
        ("jobs", evidence.jobs.len()),
        ("  succeeded", in_state("succeeded")),
        ("  failed, their supervisors killed", in_state("failed")),
        ("  quarantined after three crashes", in_state("quarantined")),
        ("attempts", evidence.jobs.iter().map(|job| job.attempts.len()).sum()),
        ("runs begun", evidence.marks.iter().filter(|mark| mark.is_begin).count()),
        ("lost", count(|breach| matches!(breach, Breach::Lost(_)))),
        ("run twice", count(|breach| matches!(breach, Breach::Twice(_)))),
        ("stuck", count(|breach| matches!(breach, Breach::Stuck(_)))),
        ("store untrue", count(|breach| matches!(breach, Breach::Untrue(_)))),
    ];
    let mut text: String = rows.iter().map(|(name, number)| format!("{name:<34} {number:>6}\n")).collect();
    text += "SIGKILL proves nothing about syncing, since the page cache survives it: for that see\n";
    text += "scripts/acceptance.d/order-of-system-calls.\n";
    for breach in breaches {
        text += &format!("BREACH: {breach:?}\n");
    }
    text
}
