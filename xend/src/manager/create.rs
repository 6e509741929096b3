//! Starting a domain: plan, allocate, populate, devices, unpause. A failure at any step leaves nothing.

use std::sync::Arc;

use domain_builder::{Limits, Plan, PvDomain, Request, Rings};
use domain_config::{CpuSet, DomainConfig};
use hypercall::{DomId, DomainFlags, Hypervisor};
use uuid::Uuid;
use xend_api::{Create, Created, Phase};

use super::Manager;
use super::record::{Record, Stage};
use crate::error::{Error, Result};

/// Pages in a MiB.
const PAGES_PER_MIB: u64 = 256;

/// Whom to tell which phase begins.
pub(crate) type Progress = Arc<dyn Fn(Phase) + Send + Sync>;

impl Manager {
    /// Starts a domain. Whoever asked may go away meanwhile: run this in a task of its own.
    pub(crate) async fn create(&self, request: Create, progress: Progress) -> Result<Created> {
        let _work = Arc::clone(&self.work).read_owned().await;
        let Create { config, paused } = request;
        config.check()?;
        let uuid = config.uuid.unwrap_or_else(Uuid::new_v4);
        let _lock = self.locks.take(uuid).await;
        let _name = self
            .names
            .reserve(&config.name)
            .ok_or_else(|| Error::NameReserved(config.name.clone()))?;
        self.check_free(&config.name, uuid).await?;
        self.start(config, uuid, paused, progress).await
    }

    /// Neither the name nor the UUID may belong to a domain.
    async fn check_free(&self, name: &str, uuid: Uuid) -> Result<()> {
        for info in self.infos()? {
            if info.flags.contains(DomainFlags::DYING) {
                continue;
            }
            let domid = info.domain.0;
            if info.handle == *uuid.as_bytes() {
                return Err(Error::UuidInUse { uuid, domid });
            }
            if self.name(info.domain).await? == name {
                let name = name.to_owned();
                return Err(Error::NameInUse { name, domid });
            }
        }
        Ok(())
    }

    /// Starts a domain whose name and UUID are reserved.
    pub(super) async fn start(
        &self,
        config: DomainConfig,
        uuid: Uuid,
        paused: bool,
        progress: Progress,
    ) -> Result<Created> {
        tracing::info!("starting domain '{}' ({uuid})", config.name);
        let mut record = Record::new(&config);
        // From here on, should xend be killed, the next one finds the record and clears up.
        self.records.write(uuid, &record)?;
        let built = self.build(&config, uuid, &progress).await;
        let (domain, rings) = match built {
            Ok(built) => built,
            Err(e) => {
                self.records.remove(uuid);
                tracing::error!("domain '{}' was not started: {e}", config.name);
                return Err(e);
            }
        };
        let finished = self
            .connect(domain, uuid, &rings, &mut record, paused, &progress)
            .await;
        if let Err(e) = finished {
            tracing::error!("domain '{}' was not started: {e}", config.name);
            self.clear(domain, uuid).await;
            return Err(e);
        }
        tracing::info!("domain '{}' started as domain {domain}", config.name);
        Ok(Created {
            domid: domain.0,
            name: config.name,
        })
    }

    /// Makes the domain and fills it, off the runtime's thread.
    async fn build(
        &self,
        config: &DomainConfig,
        uuid: Uuid,
        progress: &Progress,
    ) -> Result<(DomId, Rings)> {
        let hypervisor = Arc::clone(&self.hypervisor);
        let config = config.clone();
        let progress = Arc::clone(progress);
        tokio::task::spawn_blocking(move || build(&hypervisor, &config, uuid, &progress))
            .await
            .map_err(|_| Error::Panicked(Phase::Populate))?
    }

    /// Everything around the finished domain.
    async fn connect(
        &self,
        domain: DomId,
        uuid: Uuid,
        rings: &Rings,
        record: &mut Record,
        paused: bool,
        progress: &Progress,
    ) -> Result<()> {
        progress(Phase::Devices);
        self.make_nodes(domain, uuid, &record.config, rings, record.started)
            .await?;
        record.stage = Stage::Complete(domain.0);
        self.records.write(uuid, record)?;
        if !paused {
            progress(Phase::Unpause);
            self.hypervisor
                .unpause_domain(domain)
                .map_err(Error::hypervisor("let the domain run"))?;
        }
        Ok(())
    }
}

/// Builds the domain; on an error, or a panic, it is destroyed again.
fn build(
    hypervisor: &Hypervisor,
    config: &DomainConfig,
    uuid: Uuid,
    progress: &Progress,
) -> Result<(DomId, Rings)> {
    progress(Phase::Plan);
    let limits = Limits {
        vcpus: config.vcpus,
        memory_mib: config.memory_mib,
        maxmem_mib: config.maxmem_mib,
    };
    domain_builder::check_memory(hypervisor, &limits)?;
    let plan = Plan::new(&Request {
        kernel: &config.image.kernel,
        ramdisk: config.image.ramdisk.as_deref(),
        command_line: &config.image.command_line,
        pages: config.memory_mib.saturating_mul(PAGES_PER_MIB),
    })?;
    progress(Phase::Allocate);
    let domain = domain_builder::create(hypervisor, *uuid.as_bytes(), &limits)?;
    let ruin = Ruin {
        hypervisor,
        domain: Some(domain.id()),
    };
    set_affinity(hypervisor, &domain, config)?;
    let rings = plan.build(&domain, &|phase| match phase {
        domain_builder::Phase::Allocate => {}
        domain_builder::Phase::Populate => progress(Phase::Populate),
    })?;
    Ok((ruin.keep(domain.id()), rings))
}

fn set_affinity(
    hypervisor: &Hypervisor,
    domain: &PvDomain<'_>,
    config: &DomainConfig,
) -> Result<()> {
    for vcpu in 0..config.vcpus {
        // One set for all, or one for each, which the configuration's check has counted.
        let set = config.cpus.get(vcpu as usize).or(config.cpus.first());
        if let Some(CpuSet::Some(cpus)) = set {
            hypervisor
                .set_vcpu_affinity(domain.id(), vcpu, cpus)
                .map_err(Error::hypervisor(format!(
                    "let vCPU {vcpu} run on CPUs {} only; does this host have them?",
                    CpuSet::Some(cpus.clone())
                )))?;
        }
    }
    Ok(())
}

/// Destroys a half-built domain when it is dropped.
struct Ruin<'a> {
    hypervisor: &'a Hypervisor,
    domain: Option<DomId>,
}

impl Ruin<'_> {
    fn keep(mut self, domain: DomId) -> DomId {
        self.domain = None;
        domain
    }
}

impl Drop for Ruin<'_> {
    fn drop(&mut self) {
        if let Some(domain) = self.domain
            && let Err(e) = self.hypervisor.destroy_domain(domain)
        {
            tracing::error!("half-built domain {domain} cannot be destroyed: {e}");
        }
    }
}
