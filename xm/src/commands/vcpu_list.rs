//! `xm vcpu-list`.

use std::io::Write;

use xend_api::{Client, Vcpu};

use super::list::wanted;
use super::path;
use crate::error::Result;
use crate::table::seconds;

pub(crate) fn run(client: &Client, domains: &[String]) -> Result<()> {
    let domains = wanted(client, domains)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<32} {:>3} {:>5} {:>5} {:<5} {:>9} CPU Affinity",
        "Name", "ID", "VCPU", "CPU", "State", "Time(s)"
    )?;
    for domain in &domains {
        let vcpus: Vec<Vcpu> = client.get(&path(&domain.domid.to_string(), "/vcpus"))?;
        for vcpu in vcpus {
            let cpu = if vcpu.online {
                vcpu.cpu.to_string()
            } else {
                "-".into()
            };
            writeln!(
                out,
                "{:<32} {:>3} {:>5} {cpu:>5} {:<5} {:>9} {}",
                domain.name,
                domain.domid,
                vcpu.vcpu,
                state(&vcpu),
                seconds(vcpu.cpu_time_ns),
                vcpu.affinity
            )?;
        }
    }
    Ok(())
}

/// Three letters: running, blocked, and `p` for a vCPU that is unplugged.
fn state(vcpu: &Vcpu) -> String {
    let letter = |holds, c| if holds { c } else { '-' };
    [
        letter(vcpu.running, 'r'),
        letter(vcpu.blocked, 'b'),
        letter(!vcpu.online, 'p'),
    ]
    .iter()
    .collect()
}
