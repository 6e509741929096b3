//! dom0's vCPUs: interrupts on each of them, unplug and plug.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::hardware::wait_for_disk;
use crate::dom0::Dom0;

const TIME: Duration = Duration::from_secs(120);

/// How many vCPUs are online.
fn online(dom0: &mut Dom0) -> Result<u32> {
    let text = dom0.ok("grep -c ^processor /proc/cpuinfo", TIME)?;
    text.trim().parse().context("no number of processors")
}

/// How often a vCPU took the interrupt in whose line of `/proc/interrupts` the word stands.
fn count(dom0: &mut Dom0, word: &str, vcpu: u32) -> Result<u64> {
    // The first field is the number of the interrupt.
    let command = format!(
        "grep -w -e '{word}' /proc/interrupts | head -n 1 | awk '{{ print ${} }}'",
        vcpu + 2
    );
    let text = dom0.ok(&command, TIME)?;
    text.trim()
        .parse()
        .with_context(|| format!("no count of {word} on vCPU {vcpu}: {text:?}"))
}

/// A vCPU's timer goes on.
fn ticks(dom0: &mut Dom0, vcpu: u32) -> Result<()> {
    let word = format!("timer{vcpu}");
    let before = count(dom0, &word, vcpu)?;
    dom0.ok(
        &format!("taskset {:x} sleep 1 2>/dev/null || sleep 1", 1u32 << vcpu),
        TIME,
    )?;
    let after = count(dom0, &word, vcpu)?;
    ensure!(
        after > before,
        "vCPU {vcpu}: {before} timer interrupts before a second, {after} after"
    );
    Ok(())
}

/// Each vCPU takes its timer's interrupts, and those of the disk when they are sent there.
pub fn interrupts(dom0: &mut Dom0) -> Result<()> {
    wait_for_disk(dom0)?;
    for vcpu in 0..online(dom0)? {
        ticks(dom0, vcpu)?;
        dom0.ok(
            &format!(
                "irq=$(grep ahci /proc/interrupts | cut -d: -f1 | tr -d ' '); \
                 echo {:x} > /proc/irq/$irq/smp_affinity",
                1u32 << vcpu
            ),
            TIME,
        )?;
        let before = count(dom0, "ahci", vcpu)?;
        dom0.ok(
            "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/sda of=/dev/null bs=1M count=4 2>/dev/null",
            TIME,
        )?;
        let after = count(dom0, "ahci", vcpu)?;
        ensure!(
            after > before,
            "the disk's interrupts do not come to vCPU {vcpu}: {before}, then {after}"
        );
    }
    Ok(())
}

/// Each vCPU but the first is taken out through sysfs and comes back, and ticks again.
pub fn hotplug(dom0: &mut Dom0) -> Result<()> {
    let vcpus = online(dom0)?;
    for vcpu in 1..vcpus {
        let file = format!("/sys/devices/system/cpu/cpu{vcpu}/online");
        dom0.ok(&format!("echo 0 > {file}"), TIME)?;
        let left = online(dom0)?;
        ensure!(
            left == vcpus - 1,
            "{left} of {vcpus} vCPUs without vCPU {vcpu}"
        );
        dom0.ok(&format!("echo 1 > {file}"), TIME)?;
        let back = online(dom0)?;
        ensure!(back == vcpus, "{back} of {vcpus} vCPUs with vCPU {vcpu}");
        ticks(dom0, vcpu)?;
    }
    Ok(())
}

/// Writes a CPU's state and waits until Linux has heard of it from the hypervisor.
fn put_into_service(dom0: &mut Dom0, cpu: u32, state: u32) -> Result<()> {
    let file = format!("/sys/devices/system/xen_cpu/xen_cpu{cpu}/online");
    dom0.ok(&format!("echo {state} > {file}"), TIME)?;
    dom0.until(&format!("cat {file}"), &state.to_string(), TIME)?;
    Ok(())
}

/// Physical CPUs but the first are taken out of service one after the other: dom0's vCPUs go on
/// on those that are left. Then they come back.
pub fn out_of_service(dom0: &mut Dom0) -> Result<()> {
    let vcpus = online(dom0)?;
    let count = dom0.ok(
        "ls -d /sys/devices/system/xen_cpu/xen_cpu[0-9]* | wc -l",
        TIME,
    )?;
    let cpus: u32 = count.trim().parse().context("no number of CPUs")?;
    ensure!(cpus > 1, "dom0 knows of {cpus} CPUs");
    for cpu in 1..cpus {
        put_into_service(dom0, cpu, 0)?;
    }
    for vcpu in 0..vcpus {
        ticks(dom0, vcpu)?;
    }
    for cpu in 1..cpus {
        put_into_service(dom0, cpu, 1)?;
    }
    for vcpu in 0..vcpus {
        ticks(dom0, vcpu)?;
    }
    Ok(())
}
