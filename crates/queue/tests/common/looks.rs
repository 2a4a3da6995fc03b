//! Looks at the tips of a repository: what every store promises of them.

use swifthook_core::{
    Admitted, CommitSha, Decided, Delivery, History, HoldReason, JobFilter, JobQueue, Receipt, RefName,
    RepoName, Source, Timestamp, Verdict,
};
use swifthook_queue::{Compared, Standing, TipStore, Tips};

use crate::push::push;

/// What a look needs of a store.
pub(crate) trait Looked: JobQueue + History + TipStore {}

impl<T: JobQueue + History + TipStore> Looked for T {}

pub(crate) async fn a_look_is_recorded_with_what_it_found_or_not_at_all(store: &dyn Looked) {
    assert_eq!(store.tips(&repository()).await.unwrap(), None);
    let first = tips(1, 100);
    let begun = compared(None, &first, &[]);
    assert_eq!(store.compared(&begun).await.unwrap(), Some(vec![]));
    assert_eq!(store.compared(&begun).await.unwrap(), None, "somebody else has begun");
    assert_eq!(store.tips(&repository()).await.unwrap(), Some(first.clone()));
    let moved = tips(2, 200);
    let look = compared(Some(first), &moved, &[found(1, 2)]);
    let receipts = store.compared(&look).await.unwrap().unwrap();
    let [Some(Receipt::Stored { delivery, jobs })] = &receipts[..] else { panic!("{receipts:?}") };
    assert_eq!((jobs.len(), jobs[0].admitted), (1, Admitted::New));
    let kept = store.delivery(*delivery).await.unwrap().unwrap();
    assert_eq!((kept.source, kept.before, kept.head), (Source::Reconcile, Some(sha(1)), Some(sha(2))));
    assert_eq!(store.tips(&repository()).await.unwrap(), Some(moved));
    assert_eq!(store.compared(&look).await.unwrap(), None, "it was compared with what is no more");
    assert_eq!(count(store).await, (1, 1));
}

pub(crate) async fn what_a_delivery_told_of_is_not_found_again(store: &dyn Looked) {
    let first = tips(1, 100);
    store.compared(&compared(None, &first, &[])).await.unwrap().unwrap();
    let delivered =
        Decided { push: swifthook_core::Push { before: Some(sha(1)), ..push(2, "a").push }, ..push(2, "a") };
    store.accept(&delivered).await.unwrap();
    let moves = store.moves(&repository(), &[main(), RefName::Tag("v1".into())]).await.unwrap();
    assert_eq!((moves.len(), moves[0].len(), moves[1].len()), (2, 1, 0));
    assert_eq!((&moves[0][0].before, &moves[0][0].head), (&Some(sha(1)), &sha(2)));
    assert_eq!(first.standing(&main(), &sha(2), &moves[0]), Standing::Known);
    // It came between the look and its record.
    let look = compared(Some(first), &tips(2, 200), &[found(1, 2)]);
    assert_eq!(store.compared(&look).await.unwrap(), Some(vec![None]));
    assert_eq!(count(store).await, (1, 1), "no job and no receipt more");
}

pub(crate) async fn a_delivery_that_comes_after_a_look_is_a_duplicate(store: &dyn Looked) {
    let first = tips(1, 100);
    store.compared(&compared(None, &first, &[])).await.unwrap().unwrap();
    store.compared(&compared(Some(first), &tips(2, 200), &[found(1, 2)])).await.unwrap().unwrap();
    let late =
        Decided { push: swifthook_core::Push { before: Some(sha(1)), ..push(2, "a").push }, ..push(2, "a") };
    let Receipt::Stored { jobs, .. } = store.accept(&late).await.unwrap() else { panic!("it is no broker") };
    assert_eq!(jobs[0].admitted, Admitted::Duplicate);
    assert_eq!(count(store).await.0, 1);
}

async fn count(store: &dyn Looked) -> (usize, usize) {
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    let deliveries: Vec<Delivery> = store.deliveries(None, 100).await.unwrap();
    (jobs.len(), deliveries.len())
}

fn compared(known: Option<Tips>, tips: &Tips, found: &[Decided]) -> Compared {
    Compared { repository: repository(), known, tips: tips.clone(), found: found.to_vec() }
}

fn found(before: u32, head: u32) -> Decided {
    let mut found = push(head, "none");
    found.push.source = Source::Reconcile;
    found.push.before = Some(sha(before));
    found.verdicts[0].verdict = Verdict::Hold(HoldReason::NeedsDiff(swifthook_core::Gap::NotListed));
    found
}

fn tips(head: u32, asked_at: i64) -> Tips {
    Tips { asked_at: Timestamp(asked_at), refs: [(main(), sha(head))].into() }
}

fn main() -> RefName {
    RefName::Branch("main".into())
}

fn repository() -> RepoName {
    RepoName::new("acme/models").unwrap()
}

fn sha(number: u32) -> CommitSha {
    push(number, "a").push.head.unwrap()
}
