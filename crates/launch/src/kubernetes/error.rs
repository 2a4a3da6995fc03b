//! What the API server's answers mean to whoever asked.

use std::time::Duration;

use kube::Error;
use swifthook_core::LaunchError;

/// Whether there is no such object.
pub(super) fn is_not_found(error: &Error) -> bool {
    code(error) == Some(404)
}

/// Whether another object has the name, or was changed meanwhile.
pub(super) fn is_conflict(error: &Error) -> bool {
    code(error) == Some(409)
}

/// Whether what was to be resumed from is forgotten.
pub(super) fn is_expired(error: &Error) -> bool {
    code(error) == Some(410)
}

/// After how long the server wants to be asked again, if it said so.
pub(super) fn retry_after(error: &Error) -> Option<Duration> {
    let Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// A request that failed. Nothing is permanent but what the server understood and refused because of what it says: a
/// permission that lacks can be given.
pub(super) fn failed(what: &str, error: Error) -> LaunchError {
    let is_permanent = matches!(code(&error), Some(400 | 422));
    let wait = retry_after(&error);
    let problem = if is_permanent { LaunchError::permanent(what) } else { LaunchError::passing(what) };
    let problem = problem.because(error);
    match wait {
        Some(wait) => problem.after(wait),
        None => problem,
    }
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}
