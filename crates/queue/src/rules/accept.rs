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
        if let Some(origin) = Origin::of_submission(submission) {
            let place = (origin.repository.clone(), origin.ref_name.clone());
            self.store.chains().record(&place, origin.before.as_ref(), &origin.head);
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
        let known = jobs.iter().filter(|job| job.admitted == Admitted::Duplicate).map(|job| job.id);
        self.store.record(delivery, &ids, &known.collect::<Vec<_>>())?;
        Ok(Receipt::Stored { delivery: delivery.id, jobs })
    }
}
