//! The port by which the processes of a run find each other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use swifthook_core::{Capabilities, Problem, QueueError, RunShape};

use super::{End, Task};
use crate::pace::Backoff;

impl Task {
    /// Tells a run of several processes a port of its own: two runs of one machine would meet at the one that each takes
    /// unless it is told another. Whoever sets it in a recipe has it as it stands there.
    pub(super) async fn tell_port(
        &self,
        env: &mut BTreeMap<String, String>,
        shape: &RunShape,
        launcher: Capabilities,
    ) -> Result<(), End> {
        let is_alone = shape.processes.get() == 1 && !env.contains_key("NPROC_PER_NODE");
        // Where GPUs are leased it is this machine that the run is on.
        if is_alone || !launcher.gpu_leases || env.contains_key(PORT) {
            return Ok(());
        }
        if let Some(port) = self.lease_port().await? {
            env.insert(PORT.to_owned(), port.to_string());
        }
        Ok(())
    }

    /// One that is leased to nobody else, and that nobody else has without a lease. Where every one that was tried is in
    /// use the last is as good as any: the run will tell.
    async fn lease_port(&self) -> Result<Option<u16>, End> {
        let machine = self.shared.options.gpus.machine();
        let mut in_use = Vec::new();
        let mut backoff = Backoff::of_the_store();
        loop {
            match self.shared.store.lease_port(&self.lease, &machine, &in_use).await {
                Ok(Some(port)) if is_in_use(port) && in_use.len() < TRIES => in_use.push(port),
                Ok(port) => return Ok(port),
                Err(QueueError::StaleLease { .. }) => return Err(End::Lost),
                Err(error) if error.is_permanent() => return Ok(None),
                Err(_) => self.pause(backoff.pause()).await?,
            }
        }
    }
}

/// Tells whether somebody listens there, on any address: who is told a port listens on all of them.
fn is_in_use(port: u16) -> bool {
    let any: [SocketAddr; 2] = [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
    let is_taken = |address: SocketAddr| {
        TcpListener::bind(address).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    any.into_iter().any(is_taken)
}

const PORT: &str = "MASTER_PORT";
/// How many ports are looked at that somebody has who leases none.
const TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_anybody_listens_at_is_in_use() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_in_use(port));
        drop(listener);
        assert!(!is_in_use(port));
    }
}
