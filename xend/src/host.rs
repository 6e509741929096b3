//! The host, as `xm info` shows it.

use hypercall::{Hypervisor, PhysCapabilities};
use xend_api::Host;

use crate::error::{Error, Result};

/// Pages in a MiB.
const PAGES_PER_MIB: u64 = 256;

pub(crate) fn info(hypervisor: &Hypervisor) -> Result<Host> {
    let failed = || Error::hypervisor("ask the hypervisor about the host");
    let phys = hypervisor.phys_info().map_err(failed())?;
    let xen = hypervisor.version_info().map_err(failed())?;
    let scheduler = hypervisor.scheduler().map_err(failed())?;
    let kernel = rustix::system::uname();
    let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    Ok(Host {
        host: text(kernel.nodename()),
        release: text(kernel.release()),
        version: text(kernel.version()),
        machine: text(kernel.machine()),
        nr_cpus: phys.cpus,
        nr_nodes: phys.nodes,
        cores_per_socket: phys.cores_per_socket,
        threads_per_core: phys.threads_per_core,
        cpu_mhz: phys.cpu_khz / 1000,
        hw_caps: phys.hw_cap.to_vec(),
        virt_caps: capabilities(phys.capabilities),
        total_memory: phys.total_pages / PAGES_PER_MIB,
        free_memory: phys.free_pages / PAGES_PER_MIB,
        free_pages: phys.free_pages,
        xen_major: xen.version.major,
        xen_minor: xen.version.minor,
        xen_extra: xen.extra,
        xen_caps: xen.capabilities,
        xen_scheduler: scheduler.to_string(),
        xen_pagesize: xen.page_size,
        virt_start: xen.virt_start,
        xen_changeset: xen.changeset,
        xen_commandline: xen.command_line,
        cc_compiler: xen.compile.compiler,
        cc_compile_by: xen.compile.by,
        cc_compile_domain: xen.compile.domain,
        cc_compile_date: xen.compile.date,
    })
}

fn capabilities(caps: PhysCapabilities) -> String {
    let names = [
        (PhysCapabilities::PV, "pv"),
        (PhysCapabilities::HVM, "hvm"),
        (PhysCapabilities::DIRECT_IO, "directio"),
        (PhysCapabilities::HAP, "hap"),
        (PhysCapabilities::SHADOW, "shadow"),
    ];
    let names: Vec<_> = names
        .into_iter()
        .filter(|(flag, _)| caps.contains(*flag))
        .map(|(_, name)| name)
        .collect();
    names.join(" ")
}
