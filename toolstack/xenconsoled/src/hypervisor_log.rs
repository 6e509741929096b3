//! Keeps the hypervisor's log in a file.

use std::path::PathBuf;

use hypercall::Hypervisor;
use oxen_abi::xen::VIRQ_CON_RING;

use crate::log_file::LogFile;
use crate::ports::Ports;

/// Appends what the hypervisor logs, from what its ring holds now on. Ends where that is not possible, which is
/// reported; the consoles do not depend on it.
pub(crate) async fn keep(path: PathBuf, ports: Ports) {
    if let Err(error) = try_keep(path, &ports).await {
        tracing::warn!("the hypervisor's log is not kept: {error:#}");
    }
}

async fn try_keep(path: PathBuf, ports: &Ports) -> anyhow::Result<()> {
    let hypervisor = Hypervisor::open()?;
    let port = ports.bind_virq(VIRQ_CON_RING)?;
    let mut log = LogFile::open(path)?;
    let mut ring = hypervisor.console_ring(false)?;
    loop {
        if !ring.text.is_empty() {
            log.write(&ring.text);
        }
        port.fired().await;
        port.rearm();
        ring = hypervisor.console_ring_from(ring.next)?;
    }
}
