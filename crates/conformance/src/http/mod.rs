//! The list of an HTTP adapter, over real sockets.
//!
//! Every check gets a function that serves on a listener, starts a fresh server with it, and talks to it in raw
//! bytes. Wherever a request is one that core can be asked about directly, the reply is also compared with what
//! core alone says, byte for byte: adapters that pass give the same replies to the same deliveries.
//!
//! [`http_list!`](crate::http_list) makes a test of each check, and leaves none out:
//!
//! ```
//! use std::sync::Arc;
//!
//! use swifthook_conformance::http::Serving;
//! use swifthook_core::{Current, Intake};
//! use tokio::net::TcpListener;
//!
//! # mod my_adapter {
//! #     use super::*;
//! #     pub async fn serve(_: TcpListener, _: Arc<Current>, _: Arc<dyn Intake>) {}
//! # }
//! fn serve(listener: TcpListener, receiver: Arc<Current>, intake: Arc<dyn Intake>) -> Serving {
//!     Box::pin(my_adapter::serve(listener, receiver, intake))
//! }
//!
//! swifthook_conformance::http_list!(serve);
//! # fn main() {}
//! ```
//!
//! The hooks of the list are at `/webhook` and `/other`; the server must take deliveries at both, and know the
//! addresses of its peers.

mod bodies;
mod cases;
mod faults;
mod pushes;
mod signatures;
mod site;
mod slow;

use std::pin::Pin;
use std::sync::Arc;

use swifthook_core::{Current, Intake};
use tokio::net::TcpListener;

/// What is tested: serves on a listener until it is dropped.
pub type Serve = fn(TcpListener, Arc<Current>, Arc<dyn Intake>) -> Serving;

/// A server at work.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Publishes the checks, and makes [`http_list!`](crate::http_list) of the same names: a check that is not named
/// here is dead code, and the compiler says so.
macro_rules! list {
    ($dollar:tt $($module:ident { $($check:ident)* })*) => {
        $(pub use $module::{$($check),*};)*

        /// A test for each check of [`http`](crate::http), given a [`Serve`](crate::http::Serve).
        #[macro_export]
        macro_rules! http_list {
            ($dollar serve:expr) => {
                $($(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $check() {
                        $dollar crate::http::$check($dollar serve).await;
                    }
                )*)*
            };
        }
    };
}

list! { $
    cases {
        every_case_has_its_answer
        every_sample_of_another_repository_is_refused
        the_published_vectors_are_verified
    }
    signatures {
        a_delivery_without_a_signature_is_refused
        a_wrong_signature_is_refused
        a_doubled_signature_is_refused
        a_malformed_signature_is_refused
        another_secret_is_refused
        a_signature_over_another_body_is_refused
        a_hook_does_not_speak_for_the_repository_of_another
        an_address_that_is_not_allowed_is_refused
    }
    bodies {
        an_empty_body_is_refused
        a_body_that_is_not_json_is_refused
        json_of_another_shape_is_refused
        an_issues_body_under_the_header_push_is_refused
        a_form_without_payload_is_refused
        a_body_over_the_limit_is_refused
        a_refusal_arrives_at_a_client_that_is_still_sending
        a_body_of_the_limit_is_taken
        a_content_length_that_is_too_small_cuts_the_body
        a_content_length_that_is_too_large_is_refused
        a_compressed_body_is_refused
        a_header_that_is_not_utf_8_does_no_harm
        only_post_is_taken
        a_path_without_a_hook_is_none
        a_chunked_body_is_taken
        who_asks_before_sending_is_told_to_go_on
        who_asks_before_sending_is_refused_without_a_body
        a_reply_that_leaves_a_body_unread_ends_the_connection
    }
    pushes {
        a_ping_is_answered
        an_unknown_event_is_ignored
        a_push_under_another_event_is_a_push
        a_deleted_branch_trains_nothing
        a_new_branch_waits_for_a_diff
        a_forced_push_waits_for_a_diff
        a_tag_named_like_a_branch_is_not_that_branch
        a_branch_that_ends_in_main_is_not_main
        a_branch_that_is_a_shell_command_is_a_name
        a_branch_whose_last_part_begins_with_a_dash_is_a_name
        a_path_with_a_newline_is_a_path
        a_null_email_is_no_matter
        an_annotated_tag_stands_for_its_commit
        a_push_at_the_cap_of_commits_waits_for_a_diff
        a_large_push_is_taken
        a_redelivery_is_a_duplicate
        two_pushes_go_over_one_connection
        a_reload_counts_for_the_next_push
    }
    slow {
        a_body_that_trickles_is_timed_out
        a_body_that_stops_is_timed_out
        a_body_that_is_steady_but_too_long_is_timed_out
        a_client_that_leaves_gives_its_bytes_back
        large_bodies_leave_room_for_small_ones
        two_hundred_tricklers_keep_no_genuine_push_out
    }
    faults {
        an_intake_that_fails_is_told_with_a_503
        an_intake_that_panics_is_told_with_a_503
        a_policy_that_panics_is_told_with_a_503
        no_reply_tells_the_secret
    }
}
