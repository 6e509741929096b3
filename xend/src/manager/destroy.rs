//! Ending a domain.

use std::sync::Arc;
use std::time::Duration;

use hypercall::DomId;
use uuid::Uuid;

use super::locks::lock;
use super::{Manager, no_domain_or};
use crate::error::{Error, Result};

/// How long a destroyed domain may linger while others unmap its pages.
const LINGER: Duration = Duration::from_secs(5);
/// How often it is looked for. There is no event for the moment: VIRQ_DOM_EXC belongs to xenstored,
/// whose @releaseDomain comes earlier.
const STEP: Duration = Duration::from_millis(5);

impl Manager {
    /// Destroys a domain at once, and removes all that it had.
    pub(crate) async fn destroy(&self, reference: &str) -> Result<()> {
        let _work = Arc::clone(&self.work).read_owned().await;
        let domain = self.find(reference).await?;
        if domain == DomId::DOM0 {
            return Err(Error::NotNow("Domain-0 cannot be destroyed.".into()));
        }
        let uuid = self.uuid_of(domain)?;
        let _lock = self.locks.take(uuid).await;
        // It may have ended by itself while this waited for its turn.
        if self.uuid_of(domain).is_ok_and(|now| now == uuid) {
            tracing::info!("destroying domain {domain}");
            self.remove(domain, uuid).await?;
        }
        Ok(())
    }

    /// Destroys a domain whose lock is held.
    pub(super) async fn remove(&self, domain: DomId, uuid: Uuid) -> Result<()> {
        self.kill(domain).await?;
        self.records.remove(uuid);
        lock(&self.preserved).remove(&domain);
        self.remove_nodes(domain, uuid).await?;
        self.wait_gone(domain).await;
        self.domains_changed();
        Ok(())
    }

    /// [`Manager::remove`] where something has failed already: further errors are only logged.
    pub(super) async fn clear(&self, domain: DomId, uuid: Uuid) {
        if let Err(e) = self.remove(domain, uuid).await {
            tracing::error!("cannot clear up after domain {domain}: {e}");
        }
    }

    /// Has the hypervisor end a domain and free its memory, which takes its time for a large one.
    async fn kill(&self, domain: DomId) -> Result<()> {
        let hypervisor = Arc::clone(&self.hypervisor);
        let killed = tokio::task::spawn_blocking(move || hypervisor.destroy_domain(domain)).await;
        match killed {
            Ok(Ok(())) => Ok(()),
            // Whoever was faster did the same.
            Ok(Err(e)) if e.is_no_such_domain() => Ok(()),
            Ok(Err(e)) => Err(no_domain_or(e, domain, "destroy the domain")),
            Err(_) => Err(Error::NotNow(format!("domain {domain} was not destroyed"))),
        }
    }

    /// Waits until nothing of a destroyed domain is left: its last pages are freed when the daemons
    /// that had mapped its rings have noticed.
    async fn wait_gone(&self, domain: DomId) {
        let waited = tokio::time::timeout(LINGER, async {
            while !self
                .hypervisor
                .domain_info(domain)
                .is_err_and(|e| e.is_no_such_domain())
            {
                tokio::time::sleep(STEP).await;
            }
        });
        if waited.await.is_err() {
            tracing::warn!("domain {domain} is destroyed, but somebody still maps its memory");
        }
    }
}
