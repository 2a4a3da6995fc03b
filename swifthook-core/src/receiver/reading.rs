use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::begin::Signed;
use super::budget::{Owner, Share, Size, Spent};
use super::judge::Unsigned;
use super::proofs::Proof;
use super::{Hook, Outcome, Receiver, Refusal};
use crate::signature::Macs;
use crate::time::Timestamp;

/// A delivery whose body is being read. It owns the bytes, the limit and the running hashes.
///
/// Dropping it forgets the delivery and gives back what it took of [`Limits::in_flight`](super::Limits).
pub struct Reading {
    receiver: Arc<Receiver>,
    hook: Arc<Hook>,
    signed: Signed,
    unsigned: Unsigned,
    macs: Macs,
    body: Body,
    share: Share,
}

/// What came so far. A body that comes in one piece is never copied.
enum Body {
    None,
    One(Bytes),
    Many(Vec<u8>),
}

impl Reading {
    pub(super) fn start(
        receiver: Arc<Receiver>,
        hook: Arc<Hook>,
        signed: Signed,
        unsigned: Unsigned,
        owner: Option<Owner>,
    ) -> Self {
        let (macs, share) = (hook.macs(), receiver.in_flight.share(owner));
        Self { receiver, hook, signed, unsigned, macs, body: Body::None, share }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`] when they are more than the hook takes or were announced, [`Refusal::Busy`] when too
    /// much is being received at once, [`Refusal::Share`] when too much of it is its client's. Nothing more is to be
    /// pushed then.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let length = self.received().saturating_add(chunk.len());
        let limit = self.limit();
        if length > limit {
            return Err(Refusal::TooLarge { limit });
        }
        let all = self.receiver.limits.in_flight;
        self.share.take(chunk.len(), all, self.size(length)).map_err(|spent| match spent {
            Spent::Budget => Refusal::Busy { retry_after: BUSY },
            Spent::Share => Refusal::Share { retry_after: BUSY },
        })?;
        self.macs.update(&chunk);
        self.body.append(chunk, limit);
        Ok(())
    }

    /// Whether to finish it off the async threads: the body is over 1 MiB.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.received() > SMALL
    }

    /// How long from now the next bytes may take; zero means that it is over, with [`Refusal::TooSlow`].
    #[must_use]
    pub fn patience(&self, since_start: Duration) -> Duration {
        let limits = &self.receiver.limits;
        limits.patience(self.received(), since_start, self.share.is_pressed(limits.in_flight))
    }

    /// Verifies the body, reads it, and asks every recipe of its repository.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]: a body that is shorter than announced, a wrong signature, and only then what is wrong with
    /// the content.
    pub fn finish(self, now: Timestamp) -> Result<Outcome, Refusal> {
        self.receiver.proofs.begin(now);
        let received = self.received();
        if let Some(announced) = self.signed.length.filter(|announced| *announced > received as u64) {
            return Err(Refusal::TooShort { announced, received });
        }
        let claimed = self.signed.claimed;
        let verified = self.hook.proven(self.macs, claimed, self.body.whole())?;
        let outcome = self.receiver.judge(&verified, self.unsigned, now)?;
        if let Some((client, pushed_at)) = self.share.client().zip(self.hook.pushed_at(&outcome, now)) {
            let proof = Proof { client, signature: claimed.digest(), pushed_at };
            self.receiver.proofs.note(self.hook.id(), proof, now);
        }
        Ok(outcome)
    }

    fn received(&self) -> usize {
        match &self.body {
            Body::None => 0,
            Body::One(chunk) => chunk.len(),
            Body::Many(bytes) => bytes.len(),
        }
    }

    /// How long the body may become: as long as it was announced, which was found to be within the hook's limit.
    fn limit(&self) -> usize {
        let announced = self.signed.length.and_then(|length| usize::try_from(length).ok());
        announced.unwrap_or(self.hook.max_body)
    }

    /// The size of the body, of which `length` bytes came so far.
    fn size(&self, length: usize) -> Size {
        let is_small =
            length <= SMALL && self.signed.length.is_none_or(|announced| announced <= SMALL as u64);
        if is_small { Size::Small } else { Size::Large }
    }
}

impl Body {
    fn append(&mut self, chunk: Bytes, limit: usize) {
        match self {
            Self::None => *self = Self::One(chunk),
            Self::One(first) => {
                let mut bytes = Vec::with_capacity(limit.min(SMALL).max(first.len() + chunk.len()));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&chunk);
                *self = Self::Many(bytes);
            }
            Self::Many(bytes) => {
                if bytes.capacity() - bytes.len() < chunk.len() {
                    // Doubling would overshoot the limit by up to as much again.
                    let doubled = (bytes.capacity() * 2).min(limit).max(bytes.len() + chunk.len());
                    bytes.reserve_exact(doubled - bytes.len());
                }
                bytes.extend_from_slice(&chunk);
            }
        }
    }

    fn whole(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(bytes) => bytes.into(),
        }
    }
}

/// Bodies up to this size may use the whole budget, and are finished where they are read.
const SMALL: usize = 1024 * 1024;

/// What a sender is asked to wait when the budget is spent.
const BUSY: Duration = Duration::from_secs(5);
