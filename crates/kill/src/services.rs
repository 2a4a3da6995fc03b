use crate::Failure;
use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::setup::SetUp;

/// What the processes stand on, which is the harness's own.
pub(crate) struct Services {
    pub(crate) cluster: Option<Cluster>,
    pub(crate) broker: Option<Broker>,
}

impl Services {
    pub(crate) fn start(set_up: &SetUp) -> Result<Self, Failure> {
        Ok(Self {
            cluster: set_up.has_database().then(Cluster::start_new).transpose()?,
            broker: set_up.broker.then(Broker::start_new).transpose()?,
        })
    }
}
