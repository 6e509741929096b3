//! Domains that end by themselves: on_poweroff, on_reboot and on_crash.

use std::sync::Arc;

use anyhow::{Result, bail};
use domain_config::Action;
use hypercall::{DomId, DomainFlags, DomainInfo, ShutdownReason};
use uuid::Uuid;

use super::Manager;
use super::locks::lock;
use super::record::{Record, Stage, now};
use crate::error::Error;

/// A domain that crashes sooner than this after its start is not restarted, in seconds: it would
/// only crash again.
const CRASH_LOOP: u64 = 20;

impl Manager {
    /// Looks after domains until xenstored goes away.
    pub(crate) async fn watch_domains(self: &Arc<Self>) -> Result<()> {
        // xenstored has the hypervisor's VIRQ_DOM_EXC and passes it on so.
        let mut watch = self.store.watch("@releaseDomain").await?;
        while watch.next().await.is_some() {
            while watch.try_next().is_some() {}
            self.look_for_ends().await;
            self.domains_changed();
        }
        bail!("xenstored is gone")
    }

    /// Deals with all domains that have ended since the last look.
    async fn look_for_ends(self: &Arc<Self>) {
        // The records first: a record without a domain may belong to one that came after the list.
        let records = self.records.all();
        let infos = match self.infos() {
            Ok(infos) => infos,
            Err(e) => return tracing::error!("{e}"),
        };
        for uuid in records {
            let info = infos.iter().find(|i| i.handle == *uuid.as_bytes());
            let ended = info.is_none_or(|i| {
                i.flags
                    .intersects(DomainFlags::SHUTDOWN | DomainFlags::DYING)
            });
            let kept = info.is_some_and(|i| lock(&self.preserved).contains(&i.domain));
            if !ended || kept {
                continue;
            }
            // Whoever holds the lock is dealing with this domain.
            if let Some(held) = self.locks.try_take(uuid) {
                let manager = Arc::clone(self);
                tokio::spawn(async move {
                    let _work = Arc::clone(&manager.work).read_owned().await;
                    manager.deal_with_end(uuid).await;
                    drop(held);
                    manager.domains_changed();
                });
            }
        }
    }

    /// Deals with one ended domain, whose lock is held.
    async fn deal_with_end(&self, uuid: Uuid) {
        let Some(record) = self.records.read(uuid) else {
            return;
        };
        let infos = match self.infos() {
            Ok(infos) => infos,
            Err(e) => return tracing::error!("{e}"),
        };
        let info = infos.iter().find(|i| i.handle == *uuid.as_bytes());
        match info.filter(|i| !i.flags.contains(DomainFlags::DYING)) {
            Some(info) => self.act(uuid, &record, info).await,
            None => self.forget(uuid, &record).await,
        }
    }

    /// Another tool has destroyed the domain; what is left of it in xenstore goes as well.
    async fn forget(&self, uuid: Uuid, record: &Record) {
        self.records.remove(uuid);
        if let Stage::Complete(domid) = record.stage {
            tracing::info!("domain {domid} ('{}') is gone", record.config.name);
            lock(&self.preserved).remove(&DomId(domid));
            if let Err(e) = self.remove_nodes(DomId(domid), uuid).await {
                tracing::error!("{e}");
            }
        }
    }

    /// Does what the configuration says.
    async fn act(&self, uuid: Uuid, record: &Record, info: &DomainInfo) {
        let Some(reason) = info.shutdown else { return };
        let (domain, name) = (info.domain, &record.config.name);
        let action = action(record, reason);
        tracing::info!(
            "domain {domain} ('{name}') has ended: {reason}; {}",
            action.as_str()
        );
        let done = match action {
            Action::Preserve => {
                lock(&self.preserved).insert(domain);
                Ok(())
            }
            Action::Destroy => self.remove(domain, uuid).await,
            Action::Restart => self.restart(domain, uuid, record).await,
            Action::RenameRestart => self.rename_and_restart(domain, uuid, record).await,
        };
        if let Err(e) = done {
            tracing::error!("domain {domain} ('{name}'), {}: {e}", action.as_str());
        }
    }

    async fn restart(&self, domain: DomId, uuid: Uuid, record: &Record) -> Result<(), Error> {
        // Reserved before the old one goes, so that nobody takes the name in between.
        let _name = self.names.reserve(&record.config.name);
        self.remove(domain, uuid).await?;
        self.start(record.config.clone(), uuid, false, Arc::new(|_| {}))
            .await
            .map(drop)
    }

    /// Keeps the ended domain under another name and UUID, and starts it anew under its own.
    async fn rename_and_restart(
        &self,
        domain: DomId,
        uuid: Uuid,
        record: &Record,
    ) -> Result<(), Error> {
        let _name = self.names.reserve(&record.config.name);
        let kept = Uuid::new_v4();
        let mut old = record.clone();
        old.config.name = format!("{}-{domain}", record.config.name);
        old.config.uuid = Some(kept);
        for action in [
            &mut old.config.on_poweroff,
            &mut old.config.on_reboot,
            &mut old.config.on_crash,
        ] {
            *action = Action::Preserve; // also for a xend that is started later
        }
        self.hypervisor
            .set_domain_handle(domain, *kept.as_bytes())
            .map_err(Error::hypervisor("give the ended domain another UUID"))?;
        lock(&self.preserved).insert(domain);
        self.records.write(kept, &old)?;
        self.rename_nodes(domain, kept, &old.config, old.started)
            .await?;
        self.start(record.config.clone(), uuid, false, Arc::new(|_| {}))
            .await
            .map(drop)
    }
}

/// What is to be done after an end for this reason.
fn action(record: &Record, reason: ShutdownReason) -> Action {
    let config = &record.config;
    match reason {
        ShutdownReason::Poweroff => config.on_poweroff,
        ShutdownReason::Reboot => config.on_reboot,
        // A suspended domain waits for being saved; nobody asks for that yet, so it is kept.
        ShutdownReason::Suspend => Action::Preserve,
        _ => {
            let lived = now().saturating_sub(record.started);
            let restarts = matches!(config.on_crash, Action::Restart | Action::RenameRestart);
            if restarts && lived < CRASH_LOOP {
                tracing::error!(
                    "'{}' has crashed {lived} s after its start and is not restarted, to avoid a loop",
                    config.name
                );
                Action::Destroy
            } else {
                config.on_crash
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(started: u64) -> Record {
        let config = serde_json::from_str(
            r#"{"name":"demo","image":{"kernel":"/k"},"memory_mib":64,"maxmem_mib":64,"vcpus":1,"on_poweroff":"preserve"}"#,
        )
        .unwrap();
        Record {
            started,
            ..Record::new(&config)
        }
    }

    #[test]
    fn the_reason_decides() {
        let r = record(0);
        assert_eq!(action(&r, ShutdownReason::Poweroff), Action::Preserve);
        assert_eq!(action(&r, ShutdownReason::Reboot), Action::Restart);
        assert_eq!(action(&r, ShutdownReason::Crash), Action::Restart);
        assert_eq!(action(&r, ShutdownReason::Watchdog), Action::Restart);
    }

    #[test]
    fn a_crash_right_after_the_start_is_not_repeated() {
        let r = record(now());
        assert_eq!(action(&r, ShutdownReason::Crash), Action::Destroy);
        assert_eq!(action(&r, ShutdownReason::Reboot), Action::Restart);
    }
}
