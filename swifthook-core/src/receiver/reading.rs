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

/// Bytes that came so far.
enum Body {
    None,
    /// In one piece, which is not copied.
    One(Bytes),
    /// In several. What there is room for is taken from the budget, not what came.
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
        let is_kept = matches!(self.body, Body::None) && self.is_kept(&chunk);
        let room = if is_kept { chunk.len() } else { self.room(length)? };
        self.take(room, length)?;
        self.macs.update(&chunk);
        if is_kept {
            self.body = Body::One(chunk);
        } else {
            self.body.append(&chunk, room);
        }
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

    /// Tells whether a first piece is kept as it is: it is the whole body, or most of the memory that it is a part of.
    fn is_kept(&self, chunk: &Bytes) -> bool {
        self.signed.length.map_or(chunk.len() >= LARGE_PIECE, |announced| announced == chunk.len() as u64)
    }

    /// Room for the first `length` bytes of the body: what there is, or twice what came, so that whoever sends little
    /// holds little, and whoever sends much is not copied often. Where there is not as much, a step more.
    fn room(&mut self, length: usize) -> Result<usize, Refusal> {
        let room = self.body.room();
        if length <= room {
            return Ok(room);
        }
        let most = if length <= SMALL { self.limit().min(SMALL) } else { self.limit() };
        let doubled = length.saturating_mul(2).max(STEP).min(most);
        match self.take(doubled, length) {
            Ok(()) => Ok(doubled),
            Err(_) => Ok(length.next_multiple_of(STEP).min(most)),
        }
    }

    /// Takes what is missing to `room` bytes from the budget, for a body of which `length` bytes came.
    fn take(&mut self, room: usize, length: usize) -> Result<(), Refusal> {
        let (more, size) = (room.saturating_sub(self.share.taken()), self.size(length));
        self.share.take(more, self.receiver.limits.in_flight, size).map_err(|spent| match spent {
            Spent::Budget => Refusal::Busy { retry_after: BUSY },
            Spent::Share => Refusal::Share { retry_after: BUSY },
        })
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
    /// Adds bytes to those that came, in memory of `room` bytes.
    fn append(&mut self, chunk: &[u8], room: usize) {
        let mut bytes = match std::mem::replace(self, Self::None) {
            Self::None => Vec::with_capacity(room),
            Self::One(first) => {
                let mut bytes = Vec::with_capacity(room);
                bytes.extend_from_slice(&first);
                bytes
            }
            Self::Many(mut bytes) => {
                bytes.reserve_exact(room - bytes.len());
                bytes
            }
        };
        bytes.extend_from_slice(chunk);
        *self = Self::Many(bytes);
    }

    /// Bytes for which there is memory.
    fn room(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(chunk) => chunk.len(),
            Self::Many(bytes) => bytes.capacity(),
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

/// A piece of a body of unknown length that is kept as it is: what reads from a socket does so in no larger pieces, and a small
/// one would keep all that was read with it.
const LARGE_PIECE: usize = 64 * 1024;

/// Least room for a body that comes in pieces.
const STEP: usize = 4 * 1024;

/// What a sender is asked to wait when the budget is spent.
const BUSY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::receiver::Limits;
    use crate::secret::{Secret, SecretSet};

    const ALL: usize = 3 * SMALL;
    const SECRET: &str = "correct horse battery staple 2026";

    fn receiver() -> Arc<Receiver> {
        let hook = Hook::new("github", "/webhook", SecretSet::one(SECRET).unwrap(), &["acme/*"]).unwrap();
        let limits = Limits { in_flight: ALL, ..Limits::default() };
        Arc::new(Receiver::builder().add_hook(hook).limits(limits).build().unwrap())
    }

    /// A body of this announced length, from one of a few addresses.
    fn reading(receiver: &Arc<Receiver>, announced: Option<usize>, last: u8) -> Reading {
        let mut request = http::Request::post("/webhook")
            .header("content-type", "application/json")
            .header("x-hub-signature-256", Secret::new("it", SECRET).unwrap().sign(b""));
        if let Some(length) = announced {
            request = request.header("content-length", length);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        receiver.begin("/webhook", &head, Some([192, 0, 2, last].into())).unwrap()
    }

    #[test]
    fn two_bytes_in_two_pieces_hold_no_mebibyte() {
        let receiver = receiver();
        let mut tiny = reading(&receiver, None, 1);
        tiny.push(Bytes::from_static(b"a")).unwrap();
        tiny.push(Bytes::from_static(b"b")).unwrap();
        assert_eq!((tiny.body.room(), receiver.in_flight()), (STEP, STEP));
        // The rest of a buffer of which a piece is kept would be held with it.
        let read = Bytes::from(vec![b' '; LARGE_PIECE]);
        let mut part = reading(&receiver, Some(100), 2);
        part.push(read.slice(..1)).unwrap();
        assert_eq!(part.body.room(), 100);
        let mut whole = reading(&receiver, Some(1), 3);
        whole.push(read.slice(..1)).unwrap();
        assert!(matches!(whole.body, Body::One(_)));
    }

    proptest! {
        #[test]
        fn no_body_holds_more_than_it_has_taken_of_the_budget(
            pushes in prop::collection::vec((0..6_usize, prop_oneof![1..10_usize, 1..200_000_usize]), 1..60),
            announced in prop::collection::vec(prop::option::of(1..2_500_000_usize), 6),
        ) {
            let receiver = receiver();
            let mut readings: Vec<_> = (0_u8..).zip(&announced).map(|(last, length)| {
                Some((reading(&receiver, *length, last / 2), Vec::new()))
            }).collect();
            for (number, (at, length)) in pushes.into_iter().enumerate() {
                let Some((reading, sent)) = &mut readings[at] else { continue };
                let chunk = vec![u8::try_from(number).unwrap(); length];
                if reading.push(chunk.clone().into()).is_ok() {
                    sent.extend(chunk);
                } else {
                    readings[at] = None;
                }
                let held = readings.iter().flatten().map(|(reading, _)| {
                    assert!(reading.body.room() <= reading.share.taken());
                    reading.share.taken()
                });
                prop_assert_eq!(held.sum::<usize>(), receiver.in_flight());
                prop_assert!(receiver.in_flight() <= ALL);
            }
            for (reading, sent) in readings.into_iter().flatten() {
                prop_assert_eq!(reading.received(), sent.len());
                prop_assert_eq!(reading.body.whole(), Bytes::from(sent));
            }
        }
    }
}
