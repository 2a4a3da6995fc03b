use swifthook_core::{QueueError, Receipt};

use super::{Rules, Submission};
use crate::store::Store;
use crate::tips::{Look, Standing, place_of};

impl<S: Store> Rules<'_, S> {
    /// Records a look and what it found, unless another was recorded since it was compared. A tip that a receipt tells
    /// of by now makes nothing, not even a receipt.
    pub(crate) fn compared(&mut self, look: &Look) -> Result<Option<Vec<Option<Receipt>>>, QueueError> {
        if self.store.tips(&look.repository)? != look.known {
            return Ok(None);
        }
        let mut receipts = Vec::with_capacity(look.found.len());
        for found in &look.found {
            receipts.push(match self.is_unknown(look, found)? {
                true => Some(self.accept_anew(found)?),
                false => None,
            });
        }
        self.store.set_tips(&look.repository, &look.tips)?;
        Ok(Some(receipts))
    }

    fn is_unknown(&mut self, look: &Look, found: &Submission) -> Result<bool, QueueError> {
        let (Some(known), Some(head)) = (&look.known, &found.delivery.head) else { return Ok(false) };
        let place = place_of(&found.delivery);
        let moves = self.store.moves(&place)?;
        Ok(known.standing(&place.1, head, &moves) != Standing::Known)
    }
}
