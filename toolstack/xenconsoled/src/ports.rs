//! Event channels, handed out to who waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use hypercall::{AsyncEventChannels, DomId, LocalPort};
use tokio::sync::Notify;

/// All ports of the daemon.
#[derive(Clone)]
pub(crate) struct Ports {
    channels: AsyncEventChannels,
    waiting: Arc<Mutex<HashMap<LocalPort, Arc<Notify>>>>,
}

/// A bound port; closed when dropped.
pub(crate) struct Port {
    ports: Ports,
    number: LocalPort,
    fired: Arc<Notify>,
}

impl Ports {
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            channels: AsyncEventChannels::open()?,
            waiting: Arc::default(),
        })
    }

    /// Binds a port that a domain offers.
    pub(crate) fn bind(&self, domain: DomId, remote: u32) -> hypercall::Result<Port> {
        self.channels
            .bind_interdomain(domain, remote)
            .map(|number| self.port(number))
    }

    /// Binds a virtual interrupt.
    pub(crate) fn bind_virq(&self, virq: u32) -> hypercall::Result<Port> {
        self.channels
            .bind_virq(virq)
            .map(|number| self.port(number))
    }

    /// Wakes who waits for the ports that fire; ends only with an error.
    pub(crate) async fn dispatch(&self) -> Result<()> {
        loop {
            let port = self.channels.next().await?;
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(fired) = waiting.get(&port) {
                fired.notify_one();
            }
        }
    }

    fn port(&self, number: LocalPort) -> Port {
        let fired = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(number, Arc::clone(&fired));
        Port {
            ports: self.clone(),
            number,
            fired,
        }
    }
}

impl Port {
    /// Waits until the port has fired. It does not fire again until [`Port::rearm`], which is to come before looking
    /// at what it is about.
    pub(crate) async fn fired(&self) {
        self.fired.notified().await;
    }

    pub(crate) fn rearm(&self) {
        if let Err(error) = self.ports.channels.unmask(self.number) {
            tracing::debug!("{error}");
        }
    }

    pub(crate) fn notify(&self) {
        if let Err(error) = self.ports.channels.notify(self.number) {
            tracing::debug!("{error}");
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
        if let Err(error) = self.ports.channels.unbind(self.number) {
            tracing::debug!("{error}");
        }
    }
}
