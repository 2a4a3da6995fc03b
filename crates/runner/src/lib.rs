//! The loop that takes a swifthook job from queued to its end.
