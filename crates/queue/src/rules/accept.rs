use std::sync::Arc;

use swifthook_core::{Admitted, Delivery, QueueError, Receipt};

use super::enqueue::Origin;
use super::{Rules, Submission, timeline};
use crate::message::Stored;
use crate::store::Store;

impl<S: Store> Rules<'_, S> {
    /// The same for a receipt that has brought its id: one that is kept already changes nothing.
    pub(crate) fn accept_once(&mut self, submission: &Submission) -> Result<Stored, QueueError> {
        let Some(id) = self.store.free_id(submission.delivery.id)? else { return Ok(Stored::Known) };
        let delivery = Delivery { id, ..submission.delivery.clone() };
        match self.accept(&Submission { delivery, ..submission.clone() })? {
            Receipt::Stored { jobs, .. } => Ok(Stored::New(jobs)),
            Receipt::Accepted { .. } => Ok(Stored::New(Vec::new())),
        }
    }

    /// The same for a receipt that is given its id here.
    #[cfg(feature = "postgres")]
    pub(crate) fn accept_anew(&mut self, submission: &Submission) -> Result<Receipt, QueueError> {
        let delivery = Delivery { id: self.ids.delivery(self.now), ..submission.delivery.clone() };
        self.accept(&Submission { delivery, ..submission.clone() })
    }

    /// Records a receipt and enqueues what is new of it. Where nothing is, and another receipt stands for it, there is
    /// nothing to record.
    pub(crate) fn accept(&mut self, submission: &Submission) -> Result<Receipt, QueueError> {
        let delivery = &submission.delivery;
        if let Some(identity) = &submission.identity {
            self.store.identify(identity)?;
        }
        let who: Arc<str> = timeline::INTAKE.into();
        let mut jobs = Vec::with_capacity(submission.offers.len());
        if let Some(head) = delivery.head.clone() {
            let place = (delivery.repository.clone(), delivery.ref_name.clone());
            self.store.chains().record(&place, delivery.before.as_ref(), &head);
            let origin = Origin {
                repository: place.0,
                ref_name: place.1,
                before: delivery.before.clone(),
                head,
                sender: delivery.sender.clone(),
                pushed_at: submission.pushed_at,
                source: delivery.source.clone(),
            };
            for (spec, birth) in &submission.offers {
                let may_rerun = submission.is_redeliverable;
                jobs.push(self.admit(&origin, spec.clone(), birth.clone(), may_rerun, &who)?);
            }
        }
        if let Some(first) = submission.stands_for
            && jobs.iter().all(|job| job.admitted == Admitted::Duplicate)
        {
            return Ok(Receipt::Stored { delivery: first, jobs });
        }
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        self.store.record(delivery, &ids)?;
        Ok(Receipt::Stored { delivery: delivery.id, jobs })
    }
}
