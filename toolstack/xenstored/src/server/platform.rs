//! The domains below: their rings, their ports, their end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};
use hypercall::{
    DomId, DomainFlags, EventChannels, GrantDevice, Hypervisor, LocalPort, Mapping, Protection,
};
use oxen_abi::xen::VIRQ_DOM_EXC;
use xenstore::{ErrorCode, Message};

use super::ring::{Fault, Ring};
use crate::logic::{ConnectionId, DomainState, Logic, Platform};

/// Reference of the grant that a domain's builder makes for its xenstore ring (`GNTTAB_RESERVED_XENSTORE`).
const GRANT: u32 = 1;
/// Pending ports taken at a time, so that a domain that sends events without pause does not keep the loop.
const MOST_PORTS: usize = 256;
/// Faults of one domain that are logged.
const MOST_REPORTS: u32 = 10;

/// The domains' rings.
pub(super) struct Domains {
    devices: Option<Devices>,
    rings: BTreeMap<u16, Ring>,
    /// Which connection of the logic goes with which ring.
    by_connection: BTreeMap<ConnectionId, u16>,
    by_port: BTreeMap<LocalPort, u16>,
    /// How often a domain broke its ring, so that it cannot fill the log.
    faults: BTreeMap<u16, u32>,
    /// Attached while a request was handled; their connections are not known yet.
    new: BTreeSet<u16>,
}

struct Devices {
    hypervisor: Hypervisor,
    channels: EventChannels,
    grants: Option<GrantDevice>,
    domain_exception: LocalPort,
}

/// What happened in the domains.
#[derive(Default)]
pub(super) struct Pending {
    /// One of them shut down or went.
    pub(super) domains_changed: bool,
    /// These have moved their indexes.
    pub(super) connections: BTreeSet<ConnectionId>,
}

impl Domains {
    /// Opens the devices.
    pub(super) fn open() -> Result<Self> {
        let channels = EventChannels::open()?;
        let domain_exception = channels
            .bind_virq(VIRQ_DOM_EXC)
            .context("is another xenstored running?")?;
        let grants = GrantDevice::open();
        if let Err(error) = &grants {
            tracing::warn!("{error}; rings are mapped by their frames instead");
        }
        let hypervisor = Hypervisor::open()?;
        let devices = Devices {
            hypervisor,
            channels,
            grants: grants.ok(),
            domain_exception,
        };
        Ok(Self {
            devices: Some(devices),
            ..Self::none()
        })
    }

    /// No hypervisor below.
    pub(super) fn none() -> Self {
        Self {
            devices: None,
            rings: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            by_port: BTreeMap::new(),
            faults: BTreeMap::new(),
            new: BTreeSet::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.devices.is_some()
    }

    /// The descriptor that is readable when something happened.
    pub(super) fn channels(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        self.devices.as_ref().map(|d| d.channels.as_fd())
    }

    /// Attaches the ring of dom0's own kernel.
    pub(super) fn attach_kernel(&mut self, id: ConnectionId) -> Result<()> {
        let devices = self.devices.as_ref().context("no hypervisor")?;
        let kernel = hypercall::dom0_xenstore::open()?;
        let port = devices
            .channels
            .bind_interdomain(DomId::DOM0, kernel.port)?;
        self.insert(0, Ring::new(kernel.ring, port)?);
        self.identify(0, id);
        Ok(())
    }

    /// Attaches a domain that was attached before a restart.
    pub(super) fn attach_again(
        &mut self,
        domain: u16,
        frame: u64,
        port: u32,
    ) -> Result<(), ErrorCode> {
        self.attach(domain, frame, port)
    }

    /// Goes on with what was on its way before a restart.
    pub(super) fn resume(&mut self, domain: u16, input: &[u8], output: Vec<u8>) {
        if let Some(ring) = self.rings.get_mut(&domain) {
            ring.resume(input, output);
        }
    }

    /// Tells which connection goes with a domain's ring.
    pub(super) fn identify(&mut self, domain: u16, id: ConnectionId) {
        self.new.remove(&domain);
        self.by_connection.insert(id, domain);
    }

    /// The same for the domains that the last request introduced.
    pub(super) fn identify_new(&mut self, logic: &Logic) {
        for domain in core::mem::take(&mut self.new) {
            if let Some(id) = logic.connection_of(domain) {
                self.identify(domain, id);
            }
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        self.by_connection.keys().copied().collect()
    }

    pub(super) fn connection_of(&self, domain: u16) -> Option<ConnectionId> {
        self.by_connection
            .iter()
            .find(|(_, d)| **d == domain)
            .map(|(id, _)| *id)
    }

    pub(super) fn is_ring(&self, id: ConnectionId) -> bool {
        self.by_connection.contains_key(&id)
    }

    pub(super) fn in_flight(&self, id: ConnectionId) -> (Vec<u8>, Vec<u8>) {
        self.ring(id).map(Ring::in_flight).unwrap_or_default()
    }

    /// The next request of a domain. A domain that breaks the rules has none any more.
    pub(super) fn receive(&mut self, id: ConnectionId) -> Option<Message> {
        let domain = *self.by_connection.get(&id)?;
        match self.rings.get_mut(&domain)?.receive() {
            Ok(message) => message,
            Err(fault) => {
                self.report(domain, fault);
                None
            }
        }
    }

    /// Sends messages to a domain as far as its ring takes them.
    pub(super) fn send(&mut self, id: ConnectionId, next: impl FnMut() -> Option<Vec<u8>>) {
        let Some(domain) = self.by_connection.get(&id).copied() else {
            return;
        };
        let Some(ring) = self.rings.get_mut(&domain) else {
            return;
        };
        if let Err(fault) = ring.send(next) {
            self.report(domain, fault);
        }
    }

    fn report(&mut self, domain: u16, fault: Fault) {
        let faults = self.faults.entry(domain).or_default();
        *faults = faults.saturating_add(1);
        if *faults <= MOST_REPORTS {
            tracing::warn!(
                domain,
                ?fault,
                "its xenstore ring is broken; it is not served until it connects anew"
            );
        }
    }

    /// Notifies the domains whose rings moved.
    pub(super) fn notify(&mut self) {
        let Some(devices) = &self.devices else { return };
        for (domain, ring) in &mut self.rings {
            if ring.take_moved()
                && let Err(error) = devices.channels.notify(ring.port)
            {
                tracing::debug!(domain, "{error}");
            }
        }
    }

    /// Takes the pending event channels.
    pub(super) fn take_pending(&mut self) -> Pending {
        let mut pending = Pending::default();
        let Some(devices) = &self.devices else {
            return pending;
        };
        for _ in 0..MOST_PORTS {
            let port = match devices.channels.pending() {
                Ok(Some(port)) => port,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!("{error}");
                    break;
                }
            };
            if let Err(error) = devices.channels.unmask(port) {
                tracing::debug!("{error}");
            }
            if port == devices.domain_exception {
                pending.domains_changed = true;
            } else if let Some(domain) = self.by_port.get(&port) {
                pending.connections.extend(self.connection_of(*domain));
            }
        }
        pending
    }

    /// Whether a domain asks for a fresh start of its connection; its ring has had it.
    pub(super) fn reconnects(&mut self, id: ConnectionId) -> bool {
        let Some(domain) = self.by_connection.get(&id) else {
            return false;
        };
        self.rings.get_mut(domain).is_some_and(Ring::reconnects)
    }

    fn ring(&self, id: ConnectionId) -> Option<&Ring> {
        self.rings.get(self.by_connection.get(&id)?)
    }

    fn insert(&mut self, domain: u16, ring: Ring) {
        self.by_port.insert(ring.port, domain);
        self.rings.insert(domain, ring);
        self.new.insert(domain);
    }

    /// Takes a ring away: unmapped, its port closed.
    fn remove(&mut self, domain: u16) {
        let (Some(ring), Some(devices)) = (self.rings.remove(&domain), &self.devices) else {
            return;
        };
        self.by_port.remove(&ring.port);
        if let Err(error) = devices.channels.unbind(ring.port) {
            tracing::debug!(domain, "{error}");
        }
    }
}

impl Devices {
    /// The ring page of a domain, through its grant or, where there is none, by its frame.
    fn map(&self, domain: DomId, frame: u64) -> core::result::Result<Mapping, hypercall::Error> {
        let by_grant = self
            .grants
            .as_ref()
            .map(|g| g.map(domain, &[GRANT], Protection::ReadWrite));
        match by_grant {
            Some(Ok(mapping)) => Ok(mapping),
            Some(Err(error)) if frame == 0 => Err(error),
            _ => self
                .hypervisor
                .map_foreign(domain, &[frame], Protection::ReadWrite),
        }
    }
}

impl Platform for Domains {
    fn attach(&mut self, domain: u16, frame: u64, port: u32) -> Result<(), ErrorCode> {
        self.remove(domain);
        let devices = self.devices.as_ref().ok_or(ErrorCode::EINVAL)?;
        let refused = |error: hypercall::Error| {
            tracing::warn!(
                domain,
                frame,
                port,
                "cannot attach the domain's xenstore ring: {error}"
            );
            ErrorCode::EINVAL
        };
        let page = devices.map(DomId(domain), frame).map_err(refused)?;
        let port = devices
            .channels
            .bind_interdomain(DomId(domain), port)
            .map_err(refused)?;
        match Ring::new(page, port) {
            Ok(ring) => {
                self.insert(domain, ring);
                Ok(())
            }
            Err(error) => {
                let _ = devices.channels.unbind(port);
                Err(refused(error))
            }
        }
    }

    fn detach(&mut self, domain: u16) {
        self.remove(domain);
        self.new.remove(&domain);
        self.by_connection.retain(|_, d| *d != domain);
        self.faults.remove(&domain);
    }

    fn state(&mut self, domain: u16) -> DomainState {
        let Some(devices) = &self.devices else {
            return DomainState::Gone;
        };
        match devices.hypervisor.domain_info(DomId(domain)) {
            Ok(info) if info.flags.contains(DomainFlags::DYING) => DomainState::Gone,
            Ok(info) if info.flags.contains(DomainFlags::SHUTDOWN) => DomainState::ShutDown,
            Ok(_) => DomainState::Alive,
            Err(error) if error.is_no_such_domain() => DomainState::Gone,
            Err(error) => {
                // Better to keep a domain that is gone than to drop one that is not.
                tracing::error!(domain, "{error}");
                DomainState::Alive
            }
        }
    }
}
