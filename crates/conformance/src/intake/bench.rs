use std::sync::Arc;

use swifthook_core::{History, Intake};

use crate::queue::{DurableBench, QueueBench};

/// An intake under test and the store that what it accepts comes to, which is empty at first.
pub trait IntakeBench: Send {
    /// The intake.
    fn intake(&self) -> Arc<dyn Intake>;

    /// What is in the store.
    fn history(&self) -> Arc<dyn History>;
}

/// An intake that outlives its process.
pub trait DurableIntakeBench: IntakeBench {
    /// Ends the intake, and all that moves what it has accepted, as a crash would, and begins again with what is left.
    /// Called when nobody else holds the intake or the store.
    fn crash_and_reopen(&mut self);
}

/// An intake with a broker before its store, each of which can be down without the other.
pub trait BrokeredBench: DurableIntakeBench {
    /// Takes the broker away, without a chance to end its connections well.
    fn stop_broker(&mut self);

    /// Brings the broker back.
    fn start_broker(&mut self);

    /// From now on the store refuses everything.
    fn stop_store(&mut self);

    /// The store is back.
    fn start_store(&mut self);
}

/// A queue as an intake that is its own store.
pub struct OfQueue<B>(pub B);

impl<B: QueueBench> IntakeBench for OfQueue<B> {
    fn intake(&self) -> Arc<dyn Intake> {
        self.0.queue()
    }

    fn history(&self) -> Arc<dyn History> {
        self.0.queue()
    }
}

impl<B: DurableBench> DurableIntakeBench for OfQueue<B> {
    fn crash_and_reopen(&mut self) {
        self.0.crash_and_reopen();
    }
}
