//! Interrupt controllers, clocks and the list of CPUs, by what ACPI says.

use ::alloc::vec::Vec;
use core::sync::atomic::Ordering;

use oxen_core::options::Options;

use super::start::or_stop;
use crate::acpi::{self, Madt};
use crate::apic::{ioapic, lapic, pic, route, timer};
use crate::console::println;
use crate::paging::MapError;
use crate::percpu::this_cpu;
use crate::{clock, pci, smp};

/// Brings up the boot CPU's LAPIC and timer, the IO-APICs and the clock.
pub(super) fn init(options: &Options) {
    let tables = acpi::info();
    println!("ACPI: {} tables", tables.tables);
    let (reference, hz) = clock::init(options.clock_source);
    println!(
        "TSC: {}.{:03} MHz by the {reference}",
        hz / 1_000_000,
        hz / 1000 % 1000
    );
    pic::mask();
    if let Some(madt) = &tables.madt {
        io_apics(madt);
    } else {
        println!("No MADT: no IO-APIC is used and one CPU only");
    }
    pci::set_mmconfig(tables.ecam.iter().map(window).collect());
    lapic::init();
    timer::init();
    this_cpu().online.store(true, Ordering::Release);
}

fn io_apics(madt: &Madt) {
    let descriptions: Vec<_> = madt
        .io_apics
        .iter()
        .map(|apic| ioapic::Description {
            address: apic.address.into(),
            gsi_base: apic.gsi_base,
        })
        .collect();
    or_stop("the IO-APICs", ioapic::init(&descriptions));
    let overrides = madt.overrides.iter().map(|entry| route::Override {
        irq: entry.irq,
        gsi: entry.gsi,
        level: entry.level,
        active_low: entry.active_low,
    });
    route::set_overrides(overrides.collect());
    println!(
        "IO-APICs: {}, interrupt overrides: {}",
        descriptions.len(),
        madt.overrides.len()
    );
    if madt.cpus_left_out > 0 {
        println!("{} CPUs are left out: too many", madt.cpus_left_out);
    }
}

fn window(ecam: &acpi::Ecam) -> pci::Range {
    pci::Range {
        base: ecam.base,
        segment: ecam.segment,
        first: ecam.first_bus,
        last: ecam.last_bus,
    }
}

/// Makes data and stacks of the CPUs that will be started: all, or as many as the options allow.
pub(super) fn make_cpus(options: &Options) -> Result<(), MapError> {
    let most = if options.nosmp {
        1
    } else {
        options.max_cpus.unwrap_or(u32::MAX).max(1)
    };
    let cpus = acpi::info()
        .madt
        .as_ref()
        .map_or(&[][..], |madt| madt.cpus.as_slice());
    let order = smp::topology::order(cpus, this_cpu().apic_id, most == 1);
    for (number, cpu) in (0..most).zip(&order).skip(1) {
        smp::make(number, cpu)?;
    }
    Ok(())
}
