use std::sync::{Arc, RwLock};

use super::Receiver;

/// The receiver of the moment. A reload swaps it; requests that have begun keep theirs.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Receiver>>);

impl Current {
    /// Starts with this receiver.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        Self(RwLock::new(Arc::new(receiver)))
    }

    /// The receiver of the moment.
    #[must_use]
    pub fn load(&self) -> Arc<Receiver> {
        self.0.read().expect("nothing panics under the lock").clone()
    }

    /// Swaps it. The bytes that are being received by way of the old one still count, and so do the signatures that
    /// came by way of it.
    pub fn replace(&self, receiver: Receiver) {
        let mut current = self.0.write().expect("nothing panics under the lock");
        *current = Arc::new(receiver.continuing(&current));
    }
}
