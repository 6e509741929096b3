//! One file for each module of the crate.

use crate::table::Table;

mod arch_x86;
mod callback;
mod cpuid;
mod elfnote;
mod event_channel;
mod features;
mod grant_table;
mod hypercall;
mod io_console;
mod io_xs_wire;
mod memory;
mod mmu;
mod nmi;
mod physdev;
mod sched;
mod start_info;
mod vcpu;
mod version;
mod xen;

/// Adds the rows of all modules.
pub(crate) fn add_all(table: &mut Table) {
    arch_x86::add(table);
    callback::add(table);
    cpuid::add(table);
    elfnote::add(table);
    event_channel::add(table);
    features::add(table);
    grant_table::add(table);
    hypercall::add(table);
    io_console::add(table);
    io_xs_wire::add(table);
    memory::add(table);
    mmu::add(table);
    nmi::add(table);
    physdev::add(table);
    sched::add(table);
    start_info::add(table);
    vcpu::add(table);
    version::add(table);
    xen::add(table);
}
