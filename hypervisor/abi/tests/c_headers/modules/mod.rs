//! One file for each module of the crate.

use crate::table::Table;

mod arch_x86;
mod callback;
mod cpuid;
mod domctl;
mod domctl_device;
mod domctl_domain;
mod domctl_memory;
mod domctl_policy;
mod domctl_sched;
mod domctl_vcpu;
mod elfnote;
mod event_channel;
mod features;
mod grant_table;
mod hypercall;
mod io_console;
mod io_xs_wire;
mod mca;
mod memory;
mod mmu;
mod nmi;
mod physdev;
mod platform;
mod platform_acpi;
mod platform_firmware;
mod sched;
mod start_info;
mod sysctl;
mod sysctl_cpu;
mod sysctl_info;
mod sysctl_pm;
mod sysctl_sched;
mod vcpu;
mod version;
mod xen;

/// Adds the rows of all modules.
pub(crate) fn add_all(table: &mut Table) {
    arch_x86::add(table);
    callback::add(table);
    cpuid::add(table);
    domctl::add(table);
    domctl_device::add(table);
    domctl_domain::add(table);
    domctl_memory::add(table);
    domctl_policy::add(table);
    domctl_sched::add(table);
    domctl_vcpu::add(table);
    elfnote::add(table);
    event_channel::add(table);
    features::add(table);
    grant_table::add(table);
    hypercall::add(table);
    io_console::add(table);
    io_xs_wire::add(table);
    mca::add(table);
    memory::add(table);
    mmu::add(table);
    nmi::add(table);
    physdev::add(table);
    platform::add(table);
    platform_acpi::add(table);
    platform_firmware::add(table);
    sched::add(table);
    start_info::add(table);
    sysctl::add(table);
    sysctl_cpu::add(table);
    sysctl_info::add(table);
    sysctl_pm::add(table);
    sysctl_sched::add(table);
    vcpu::add(table);
    version::add(table);
    xen::add(table);
}
