//! What can be asked of a running domain.

use std::time::Duration;

use hypercall::{DomId, DomainFlags};
use xend_api::{Console, Ended, ShutdownKind};

use super::locks::lock;
use super::nodes::domain_path;
use super::{Manager, no_domain_or};
use crate::error::{Error, Result};

/// How long a guest may take to acknowledge a request.
const ACKNOWLEDGE: Duration = Duration::from_secs(60);
/// How long xenconsoled may take to offer a terminal.
const TERMINAL: Duration = Duration::from_secs(10);

impl Manager {
    /// Pauses a domain; one that is paused stays so.
    pub(crate) async fn pause(&self, reference: &str) -> Result<()> {
        let domain = self.find(reference).await?;
        if domain == DomId::DOM0 {
            return Err(Error::NotNow("Domain-0 cannot be paused.".into()));
        }
        if self.flags(domain)?.contains(DomainFlags::PAUSED) {
            return Ok(()); // the hypervisor counts pauses, people do not
        }
        self.hypervisor
            .pause_domain(domain)
            .map_err(|e| no_domain_or(e, domain, "pause the domain"))
    }

    /// Lets a domain run; one that is not paused stays so.
    pub(crate) async fn unpause(&self, reference: &str) -> Result<()> {
        let domain = self.find(reference).await?;
        if !self.flags(domain)?.contains(DomainFlags::PAUSED) {
            return Ok(());
        }
        self.hypervisor
            .unpause_domain(domain)
            .map_err(|e| no_domain_or(e, domain, "unpause the domain"))
    }

    fn flags(&self, domain: DomId) -> Result<DomainFlags> {
        let info = self.hypervisor.domain_info(domain);
        info.map(|i| i.flags)
            .map_err(|e| no_domain_or(e, domain, "look it up"))
    }

    /// Asks a guest to shut down, and waits until it has taken note.
    pub(crate) async fn shut_down(&self, reference: &str, kind: ShutdownKind) -> Result<()> {
        let domain = self.find(reference).await?;
        if domain == DomId::DOM0 {
            return Err(Error::NotNow(
                "Domain-0 is shut down from within, with poweroff or reboot.".into(),
            ));
        }
        let flags = self.flags(domain)?;
        if flags.intersects(DomainFlags::SHUTDOWN | DomainFlags::DYING) {
            return Ok(()); // it has done so already
        }
        if flags.contains(DomainFlags::PAUSED) {
            return Err(Error::NotNow(format!(
                "Domain '{reference}' is paused and cannot react; unpause it first, or destroy it."
            )));
        }
        tracing::info!("asking domain {domain} for {}", kind.as_str());
        let node = format!("{}/control/shutdown", domain_path(domain));
        let doing = || Error::store(format!("write {node}"));
        let mut watch = self.store.watch(&node).await.map_err(doing())?;
        self.store
            .write(&node, kind.as_str())
            .await
            .map_err(doing())?;
        let mut ended = self.ended.subscribe();
        let acknowledged = tokio::time::timeout(ACKNOWLEDGE, async {
            loop {
                tokio::select! {
                    event = watch.next() => if event.is_none() { return Ok(()) },
                    _ = ended.changed() => {},
                }
                // A guest acknowledges by emptying the node; one that has ended needs not.
                let value = self.store.read_optional(&node).await.map_err(doing())?;
                let ended = self
                    .flags(domain)
                    .is_ok_and(|f| f.contains(DomainFlags::SHUTDOWN));
                if ended || value.is_none_or(|v| v.is_empty()) {
                    return Ok(());
                }
            }
        });
        acknowledged.await.unwrap_or_else(|_| {
            Err(Error::NoReaction(format!(
                "Domain '{reference}' has not reacted to the request within {} s. It may still be booting, \
                 or hang; `xm destroy {reference}` ends it at once.",
                ACKNOWLEDGE.as_secs()
            )))
        })
    }

    /// Waits until a domain has ended: until it is gone, or has shut down and is kept.
    pub(crate) async fn wait_end(&self, reference: &str) -> Result<Ended> {
        let domain = self.find(reference).await?;
        let mut ended = self.ended.subscribe();
        loop {
            match self.hypervisor.domain_info(domain) {
                Err(e) if e.is_no_such_domain() => return Ok(Ended { preserved: false }),
                Err(e) => return Err(no_domain_or(e, domain, "look it up")),
                Ok(info) => {
                    let uuid = uuid::Uuid::from_bytes(info.handle);
                    let ours = self.records.read(uuid).is_some();
                    let kept = !ours || lock(&self.preserved).contains(&domain);
                    if info.flags.contains(DomainFlags::SHUTDOWN) && kept {
                        return Ok(Ended { preserved: true });
                    }
                }
            }
            if ended.changed().await.is_err() {
                return Err(Error::NotNow("xend is stopping.".into()));
            }
        }
    }

    /// A domain's console, as soon as there is one.
    pub(crate) async fn console(&self, reference: &str) -> Result<Console> {
        let domain = self.find(reference).await?;
        if domain == DomId::DOM0 {
            return Err(Error::NotNow(
                "Domain-0 has no console of this kind.".into(),
            ));
        }
        let node = format!("{}/console/tty", domain_path(domain));
        let doing = || Error::store(format!("read {node}"));
        let mut watch = self.store.watch(&node).await.map_err(doing())?;
        let found = tokio::time::timeout(TERMINAL, async {
            loop {
                let tty = self.store.read_optional(&node).await.map_err(doing())?;
                if let Some(tty) = tty.filter(|t| !t.is_empty()) {
                    return Ok(Console {
                        domid: domain.0,
                        tty,
                    });
                }
                if watch.next().await.is_none() {
                    return Err(Error::NotNow("xenstored is gone.".into()));
                }
            }
        });
        found.await.unwrap_or_else(|_| {
            Err(Error::NoReaction(format!(
                "Domain '{reference}' has no console: xenconsoled offers none. Is xenconsoled running? \
                 `xend restart` starts it."
            )))
        })
    }
}
