use super::bench::{BrokeredBench, DurableIntakeBench, IntakeBench};
use crate::queue::on_a_runtime;

/// Hands every behaviour of an intake to the macro `$then`, after what is given with it.
#[doc(hidden)]
#[macro_export]
macro_rules! intake_behaviours {
    ($then:path, $($with:tt)*) => {
        $then! {
            { $($with)* }
            accepted::what_is_accepted_is_stored_whole
            accepted::a_push_that_trains_nothing_leaves_its_verdicts
            accepted::a_push_that_is_held_makes_a_held_job
            accepted::a_commit_that_comes_again_from_elsewhere_is_decided_anew
            accepted::one_change_trains_once_however_often_it_is_delivered
            accepted::of_the_pushes_of_one_ref_the_last_is_left
            accepted::pushes_of_many_refs_at_once_are_each_stored_once
            accepted::more_paths_than_are_kept_are_counted
            accepted::what_can_never_be_stored_is_refused_for_good
        }
    };
}

/// Hands every behaviour of an intake that outlives its process to the macro `$then`, after what is given with it.
#[doc(hidden)]
#[macro_export]
macro_rules! durable_intake_behaviours {
    ($then:path, $($with:tt)*) => {
        $then! {
            { $($with)* }
            crashes::what_was_accepted_is_stored_after_any_crash
            crashes::a_change_trains_once_across_crashes
        }
    };
}

/// Hands every behaviour of an intake with a broker to the macro `$then`, after what is given with it.
#[doc(hidden)]
#[macro_export]
macro_rules! brokered_intake_behaviours {
    ($then:path, $($with:tt)*) => {
        $then! {
            { $($with)* }
            brokered::what_is_accepted_while_the_store_is_away_is_stored_when_it_is_back
            brokered::while_the_broker_is_away_pushes_are_refused_for_now
            brokered::under_load_every_accepted_push_is_stored_once_whatever_goes_and_comes
        }
    };
}

/// Makes a test of every behaviour of an intake. Takes an expression that makes an [`IntakeBench`].
#[macro_export]
macro_rules! intake_conformance {
    ($bench:expr) => {
        $crate::intake_behaviours!($crate::conformance_tests, $crate::intake::run, || $bench);
    };
}

/// Makes a test of every behaviour of an intake that outlives its process. Takes an expression that makes a
/// [`DurableIntakeBench`].
#[macro_export]
macro_rules! durable_intake_conformance {
    ($bench:expr) => {
        $crate::durable_intake_behaviours!($crate::conformance_tests, $crate::intake::run_durable, || $bench);
    };
}

/// Makes a test of every behaviour of an intake with a broker before its store. Takes an expression that makes a
/// [`BrokeredBench`].
#[macro_export]
macro_rules! brokered_intake_conformance {
    ($bench:expr) => {
        $crate::brokered_intake_behaviours!($crate::conformance_tests, $crate::intake::run_brokered, || {
            $bench
        });
    };
}

/// Runs one behaviour by its name.
///
/// # Panics
///
/// When the intake does not behave so, or the name is none.
pub fn run(name: &str, bench: impl IntakeBench) {
    let bench: &dyn IntakeBench = &bench;
    on_a_runtime(async {
        macro_rules! choose {
            ({ } $($module:ident::$name:ident)*) => {
                match name {
                    $(stringify!($name) => super::$module::$name(bench).await,)*
                    unknown => panic!("there is no behaviour `{unknown}`"),
                }
            };
        }
        intake_behaviours!(choose,);
    });
}

/// Runs one behaviour of an intake that outlives its process, by its name.
///
/// # Panics
///
/// When the intake does not behave so, or the name is none.
pub fn run_durable(name: &str, mut bench: impl DurableIntakeBench) {
    let bench: &mut dyn DurableIntakeBench = &mut bench;
    on_a_runtime(async {
        macro_rules! choose {
            ({ } $($module:ident::$name:ident)*) => {
                match name {
                    $(stringify!($name) => super::$module::$name(bench).await,)*
                    unknown => panic!("there is no behaviour `{unknown}`"),
                }
            };
        }
        durable_intake_behaviours!(choose,);
    });
}

/// Runs one behaviour of an intake with a broker, by its name.
///
/// # Panics
///
/// When the intake does not behave so, or the name is none.
pub fn run_brokered(name: &str, mut bench: impl BrokeredBench) {
    let bench: &mut dyn BrokeredBench = &mut bench;
    on_a_runtime(async {
        macro_rules! choose {
            ({ } $($module:ident::$name:ident)*) => {
                match name {
                    $(stringify!($name) => super::$module::$name(bench).await,)*
                    unknown => panic!("there is no behaviour `{unknown}`"),
                }
            };
        }
        brokered_intake_behaviours!(choose,);
    });
}
