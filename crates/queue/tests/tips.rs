//! Every store keeps where refs stood, and takes what a look found once.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "common/looks.rs"]
mod looks;
#[path = "common/push.rs"]
mod push;

use swifthook_queue::{MemoryQueue, Options, SqliteQueue};

macro_rules! looks {
    ($($name:ident)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                looks::$name(&MemoryQueue::new()).await;
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("swifthook.db");
                looks::$name(&SqliteQueue::open(&file, Options::default()).unwrap()).await;
                drop(SqliteQueue::open(&file, Options::default()).expect("what was kept can be read"));
            }
        )+
    };
}

looks! {
    a_look_is_recorded_with_what_it_found_or_not_at_all
    what_a_delivery_told_of_is_not_found_again
    a_delivery_that_comes_after_a_look_is_a_duplicate
}
