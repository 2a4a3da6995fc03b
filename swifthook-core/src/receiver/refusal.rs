use std::time::Duration;

use http::StatusCode;

use crate::push::FormProblem;
use crate::signature::SignatureProblem;

/// Why a request was refused, and with it what is answered. Nothing of a refused request was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No hook has this path.
    #[error("no hook has this path")]
    UnknownPath,
    /// Deliveries are posted.
    #[error("a delivery is sent with POST")]
    Method,
    /// The body is neither JSON nor a form.
    #[error("a delivery is application/json or application/x-www-form-urlencoded")]
    MediaType,
    /// The body is compressed.
    #[error("a delivery is sent without a content encoding")]
    ContentEncoding,
    /// `Content-Length` is no number, or there are two that differ.
    #[error("the Content-Length header is malformed")]
    MalformedLength,
    /// The body is larger than the hook takes, or larger than it was announced.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// How many bytes were allowed.
        limit: usize,
    },
    /// The body ended before its announced length.
    #[error("the body ended after {received} of {announced} bytes")]
    TooShort {
        /// What `Content-Length` said.
        announced: u64,
        /// What came.
        received: usize,
    },
    /// Reading the body failed.
    #[error("the body could not be read to its end")]
    Interrupted,
    /// The body came too slowly.
    #[error("the body came too slowly")]
    TooSlow,
    /// The signature is missing, malformed or wrong.
    #[error(transparent)]
    Signature(#[from] SignatureProblem),
    /// The hook does not take deliveries from this address.
    #[error("this hook takes no deliveries from this address")]
    Address,
    /// The hook may not speak for the repository of the push.
    #[error("this hook may not speak for the repository `{0}`")]
    Repository(String),
    /// Signed, and empty.
    #[error("the body is empty")]
    Empty,
    /// Signed, and no form with a field `payload`.
    #[error(transparent)]
    Form(#[from] FormProblem),
    /// Signed, and not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// Signed and called a push, and not one.
    #[error("the body is not a push: {0}")]
    NotAPush(String),
    /// Signed and called a ping, and not one.
    #[error("the body is not a ping")]
    NotAPing,
    /// Too many bytes are being received at once.
    #[error("too many deliveries are being received at once")]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many of the bytes that are being received at once are of its client. It is no 503, which a proxy may take for the
    /// word of a server that is of no use to others either.
    #[error("too much is being received from this address at once")]
    Share {
        /// Time to wait.
        retry_after: Duration,
    },
    /// Its client's address has sent too much that was not signed. [`Receiver`](crate::Receiver) never says so, since
    /// a signed push is never one too many: a host that counts says it of what would have been refused anyway.
    #[error("too many requests without a right signature came from this address")]
    TooMany {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Deciding failed by no fault of the sender: a policy panicked. An adapter that catches panics answers so.
    #[error("the delivery could not be decided")]
    Failed,
}

impl Refusal {
    /// The status that it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType | Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::Address | Self::Repository(_) => StatusCode::FORBIDDEN,
            Self::Share { .. } | Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy { .. } | Self::Failed => StatusCode::SERVICE_UNAVAILABLE,
            Self::MalformedLength
            | Self::TooShort { .. }
            | Self::Interrupted
            | Self::Empty
            | Self::Form(_)
            | Self::NotJson(_)
            | Self::NotAPush(_)
            | Self::NotAPing => StatusCode::BAD_REQUEST,
        }
    }

    /// Its word for programs and metrics, of a closed set.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::UnknownPath => "unknown-path",
            Self::Method => "method",
            Self::MediaType => "media-type",
            Self::ContentEncoding => "content-encoding",
            Self::MalformedLength => "malformed-length",
            Self::TooLarge { .. } => "too-large",
            Self::TooShort { .. } => "too-short",
            Self::Interrupted => "interrupted",
            Self::TooSlow => "too-slow",
            Self::Signature(SignatureProblem::Missing | SignatureProblem::Sha1Only) => "signature-missing",
            Self::Signature(SignatureProblem::Wrong) => "signature-wrong",
            Self::Signature(_) => "signature-malformed",
            Self::Address => "address",
            Self::Repository(_) => "repository",
            Self::Empty => "empty",
            Self::Form(_) => "form",
            Self::NotJson(_) => "not-json",
            Self::NotAPush(_) => "not-a-push",
            Self::NotAPing => "not-a-ping",
            Self::Busy { .. } => "busy",
            Self::Share { .. } => "share",
            Self::TooMany { .. } => "too-many",
            Self::Failed => "failed",
        }
    }

    /// Whether it was refused for what anybody can send: no signature, or a wrong one, or a head of which one need
    /// not look at the signature.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        match self {
            Self::UnknownPath
            | Self::Method
            | Self::MediaType
            | Self::ContentEncoding
            | Self::MalformedLength
            | Self::TooLarge { .. }
            | Self::Signature(_)
            | Self::Address
            | Self::TooMany { .. } => true,
            // A genuine sender whose line is bad is not told apart from others: he is not counted.
            Self::TooShort { .. }
            | Self::Interrupted
            | Self::TooSlow
            | Self::Repository(_)
            | Self::Empty
            | Self::Form(_)
            | Self::NotJson(_)
            | Self::NotAPush(_)
            | Self::NotAPing
            | Self::Busy { .. }
            | Self::Share { .. }
            | Self::Failed => false,
        }
    }
}
