//! `xm info`.

use std::io::Write;

use xend_api::{Client, Host};

use crate::error::Result;

pub(crate) fn run(client: &Client) -> Result<()> {
    let host: Host = client.get("/v1/host")?;
    let mut out = std::io::stdout().lock();
    for (key, value) in lines(&host) {
        writeln!(out, "{key:<23}: {value}")?;
    }
    Ok(())
}

fn lines(host: &Host) -> Vec<(&'static str, String)> {
    let caps: Vec<_> = host.hw_caps.iter().map(|w| format!("{w:08x}")).collect();
    vec![
        ("host", host.host.clone()),
        ("release", host.release.clone()),
        ("version", host.version.clone()),
        ("machine", host.machine.clone()),
        ("nr_cpus", host.nr_cpus.to_string()),
        ("nr_nodes", host.nr_nodes.to_string()),
        ("cores_per_socket", host.cores_per_socket.to_string()),
        ("threads_per_core", host.threads_per_core.to_string()),
        ("cpu_mhz", host.cpu_mhz.to_string()),
        ("hw_caps", caps.join(":")),
        ("virt_caps", host.virt_caps.clone()),
        ("total_memory", host.total_memory.to_string()),
        ("free_memory", host.free_memory.to_string()),
        ("free_pages", host.free_pages.to_string()),
        ("xen_major", host.xen_major.to_string()),
        ("xen_minor", host.xen_minor.to_string()),
        ("xen_extra", host.xen_extra.clone()),
        ("xen_caps", host.xen_caps.clone()),
        ("xen_scheduler", host.xen_scheduler.clone()),
        ("xen_pagesize", host.xen_pagesize.to_string()),
        (
            "platform_params",
            format!("virt_start={:#x}", host.virt_start),
        ),
        ("xen_changeset", host.xen_changeset.clone()),
        ("xen_commandline", host.xen_commandline.clone()),
        ("cc_compiler", host.cc_compiler.clone()),
        ("cc_compile_by", host.cc_compile_by.clone()),
        ("cc_compile_domain", host.cc_compile_domain.clone()),
        ("cc_compile_date", host.cc_compile_date.clone()),
    ]
}
