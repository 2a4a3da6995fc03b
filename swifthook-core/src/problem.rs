use std::error::Error;
use std::time::Duration;

/// An error from outside, by what the caller does next.
///
/// What went wrong is for people ([`Display`](std::fmt::Display) and [`source`](Error::source)); programs ask
/// these two questions and nothing else.
pub trait Problem: Error + Send + Sync {
    /// Whether trying again is pointless.
    fn is_permanent(&self) -> bool;

    /// How long to wait before trying again, where the other side said so.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// Makes an opaque error type with the two answers of [`Problem`].
macro_rules! opaque_problem {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[error("{message}")]
        pub struct $name {
            message: String,
            is_permanent: bool,
            retry_after: Option<std::time::Duration>,
            #[source]
            source: Option<Box<dyn std::error::Error + Send + Sync>>,
        }

        impl $name {
            /// Something that trying again may mend.
            pub fn passing(message: impl Into<String>) -> Self {
                Self { message: message.into(), is_permanent: false, retry_after: None, source: None }
            }

            /// Something that trying again will not mend.
            pub fn permanent(message: impl Into<String>) -> Self {
                Self { is_permanent: true, ..Self::passing(message) }
            }

            /// The same with the error that caused it.
            #[must_use]
            pub fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
                Self { source: Some(source.into()), ..self }
            }

            /// The same with the time after which to try again.
            #[must_use]
            pub fn after(self, wait: std::time::Duration) -> Self {
                Self { retry_after: Some(wait), ..self }
            }
        }

        impl crate::problem::Problem for $name {
            fn is_permanent(&self) -> bool {
                self.is_permanent
            }

            fn retry_after(&self) -> Option<std::time::Duration> {
                self.retry_after
            }
        }
    };
}

pub(crate) use opaque_problem;
