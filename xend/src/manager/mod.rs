//! Domains: finding, starting, ending them.
//!
//! Everything is looked up when it is needed; what the manager keeps between requests only orders
//! them: which names and UUIDs are being worked on.

mod create;
mod destroy;
mod events;
mod guest;
mod list;
mod locks;
mod nodes;
mod record;
mod recover;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hypercall::{DomId, Hypervisor};
use tokio::sync::{RwLock, watch};
use xenstore::Client;

use crate::error::{Error, Result};
use crate::paths;
use locks::{Locks, Names};
use record::Records;

/// The manager of this host's domains. Shared by all requests.
pub(crate) struct Manager {
    hypervisor: Arc<Hypervisor>,
    store: Client,
    records: Records,
    /// Names of domains that are being started.
    names: Arc<Names>,
    /// Orders what happens to one domain.
    locks: Locks,
    /// Domains whose end has been dealt with and that are still there, as their configuration says.
    preserved: Mutex<HashSet<DomId>>,
    /// Counts up whenever a domain may have ended.
    ended: watch::Sender<u64>,
    /// Held for reading by whatever must not be cut off half-way.
    work: Arc<RwLock<()>>,
}

impl Manager {
    pub(crate) fn new(hypervisor: Hypervisor, store: Client) -> Self {
        Self {
            hypervisor: Arc::new(hypervisor),
            store,
            records: Records::new(Path::new(paths::DOMAINS)),
            names: Arc::default(),
            locks: Locks::default(),
            preserved: Mutex::default(),
            ended: watch::Sender::new(0),
            work: Arc::default(),
        }
    }

    /// The hypervisor, for what concerns the host.
    pub(crate) fn hypervisor(&self) -> &Hypervisor {
        &self.hypervisor
    }

    /// Waits until nothing is half-way.
    pub(crate) async fn finish(&self) {
        let _all = self.work.write().await;
    }

    /// Tells those who wait for a domain's end to look again.
    fn domains_changed(&self) {
        self.ended
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The UUID that the hypervisor has for a domain.
    fn uuid_of(&self, domain: DomId) -> Result<uuid::Uuid> {
        let info = self
            .hypervisor
            .domain_info(domain)
            .map_err(|e| no_domain_or(e, domain, "look it up"))?;
        Ok(uuid::Uuid::from_bytes(info.handle))
    }
}

/// The error for a hypercall about a domain: that it does not exist, where that is the cause.
fn no_domain_or(source: hypercall::Error, domain: DomId, doing: &str) -> Error {
    if source.is_no_such_domain() {
        Error::NoDomain(domain.to_string())
    } else {
        Error::Hypervisor {
            doing: format!("{doing} (domain {domain})"),
            source,
        }
    }
}
