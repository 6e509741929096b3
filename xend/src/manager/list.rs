//! Which domains there are, from the hypervisor and xenstore.

use hypercall::{DomId, DomainFlags, DomainInfo, ShutdownReason};
use uuid::Uuid;
use xend_api::{Domain, State, Vcpu};

use super::{Manager, no_domain_or};
use crate::error::{Error, Result};

/// Pages in a MiB.
const PAGES_PER_MIB: u64 = 256;

impl Manager {
    /// All domains, by id.
    pub(crate) async fn domains(&self) -> Result<Vec<Domain>> {
        let mut domains = Vec::new();
        for info in self.infos()? {
            domains.push(self.describe(&info).await?);
        }
        Ok(domains)
    }

    /// One domain, by name or id.
    pub(crate) async fn domain(&self, reference: &str) -> Result<Domain> {
        let domain = self.find(reference).await?;
        let info = self
            .hypervisor
            .domain_info(domain)
            .map_err(|e| no_domain_or(e, domain, "look it up"))?;
        self.describe(&info).await
    }

    /// The id of a domain that is given by name or id.
    pub(crate) async fn find(&self, reference: &str) -> Result<DomId> {
        let infos = self.infos()?;
        if let Ok(id) = reference.parse::<DomId>() {
            let known = infos.iter().any(|i| i.domain == id);
            return known
                .then_some(id)
                .ok_or_else(|| Error::NoDomain(reference.to_owned()));
        }
        for info in &infos {
            if self.name(info.domain).await? == reference {
                return Ok(info.domain);
            }
        }
        Err(Error::NoDomain(reference.to_owned()))
    }

    /// All domains that the hypervisor knows.
    pub(super) fn infos(&self) -> Result<Vec<DomainInfo>> {
        self.hypervisor
            .domains()
            .map_err(Error::hypervisor("list domains"))
    }

    /// A domain's name; one that has none gets one from its id.
    pub(super) async fn name(&self, domain: DomId) -> Result<String> {
        let stored = self
            .store
            .read_optional(&format!("/local/domain/{domain}/name"))
            .await
            .map_err(Error::store("read a domain's name"))?;
        Ok(stored
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("Domain-{domain}")))
    }

    async fn describe(&self, info: &DomainInfo) -> Result<Domain> {
        let uuid = Uuid::from_bytes(info.handle);
        let record = self.records.read(uuid);
        Ok(Domain {
            domid: info.domain.0,
            name: self.name(info.domain).await?,
            uuid,
            memory_mib: (info.total_pages + info.outstanding_pages) / PAGES_PER_MIB,
            maxmem_mib: (info.max_pages / PAGES_PER_MIB).min(domain_config::MAX_MEMORY_MIB),
            vcpus: info.online_vcpus,
            state: state(info),
            cpu_time_ns: info.cpu_time,
            start_time: record.as_ref().map(|r| r.started),
            config: record.map(|r| r.config),
        })
    }

    /// A domain's vCPUs.
    pub(crate) async fn vcpus(&self, reference: &str) -> Result<Vec<Vcpu>> {
        let domain = self.find(reference).await?;
        let failed = |e| no_domain_or(e, domain, "look at its vCPUs");
        let info = self.hypervisor.domain_info(domain).map_err(failed)?;
        let cpus = self.hypervisor.phys_info().map_err(failed)?.cpus;
        let mut vcpus = Vec::new();
        for number in 0..=info.max_vcpu_id.unwrap_or(0) {
            let vcpu = self.hypervisor.vcpu_info(domain, number).map_err(failed)?;
            let affinity = self
                .hypervisor
                .vcpu_affinity(domain, number)
                .map_err(failed)?;
            vcpus.push(Vcpu {
                vcpu: number,
                cpu: vcpu.cpu,
                online: vcpu.online,
                blocked: vcpu.blocked,
                running: vcpu.running,
                cpu_time_ns: vcpu.cpu_time,
                affinity: describe_affinity(affinity, cpus),
            });
        }
        Ok(vcpus)
    }
}

fn describe_affinity(cpus: Vec<u32>, online: u32) -> String {
    if (0..online).all(|cpu| cpus.contains(&cpu)) {
        "any cpu".into()
    } else {
        domain_config::CpuSet::Some(cpus).to_string()
    }
}

/// The state as `xm list` shows it: a crashed domain has not also shut down.
fn state(info: &DomainInfo) -> State {
    let has = |flag| info.flags.contains(flag);
    let shutdown = has(DomainFlags::SHUTDOWN);
    let crashed = shutdown && info.shutdown == Some(ShutdownReason::Crash);
    State {
        running: has(DomainFlags::RUNNING),
        blocked: has(DomainFlags::BLOCKED),
        paused: has(DomainFlags::PAUSED),
        shutdown: shutdown && !crashed,
        crashed,
        dying: has(DomainFlags::DYING),
    }
}
