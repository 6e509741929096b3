//! Device memory, as dom0's kernel maps it.

use oxen_abi::arch_x86::{PTE_PRESENT, PTE_RW};

use super::traps::faulted;
use super::{Outcome, Suite, ensure, good, same, some};
use crate::pagetable::{self, RO, RW};
use crate::sys::frame::Frame;
use crate::sys::probe;

const LAPIC: u64 = 0xfee0_0000;
const IO_APIC: u64 = 0xfec0_0000;
const HPET: u64 = 0xfed0_0000;
/// PCI configuration space of the tests' machine, if the firmware has put it where it is used to.
const CONFIGURATION: u64 = 0xb000_0000;
/// The BIOS.
const BIOS: u64 = 0xf_0000;
/// Video memory in text modes.
const VIDEO: u64 = 0xb_8000;

/// Runs with device memory mapped instead of a page; whether it is mapped, and writable.
fn with_mapping(machine: u64, bits: u64, body: impl FnOnce(u64, bool) -> Outcome) -> Outcome<bool> {
    let page = Frame::new();
    let mapped = pagetable::update_va(page.address(), machine | bits);
    if mapped.is_ok() {
        let entry = some!(pagetable::entry(page.address(), 1)).value;
        ensure!(entry & PTE_PRESENT != 0, "{machine:#x} is not there");
        let outcome = body(page.address(), entry & PTE_RW != 0);
        good!(pagetable::make_writable(page));
        outcome?;
    }
    Ok(mapped.is_ok())
}

fn of_dom0(s: &mut Suite<'_>) {
    s.check("mmio/interrupt_controllers_are_kept", || {
        for machine in [LAPIC, IO_APIC] {
            for bits in [RW, RO] {
                // Not at all, or to look at only.
                with_mapping(machine, bits, |_, writable| {
                    ensure!(!writable, "{machine:#x} can be written to");
                    Ok(())
                })?;
            }
        }
        Ok(())
    });
    s.check("mmio/event_timer_is_read_only", || {
        with_mapping(HPET, RW, |address, writable| {
            // Its identity: a period of at most 100 ns.
            let identity = good!(probe::read(address));
            ensure!(
                identity >> 32 <= 100_000_000 && !writable,
                "{identity:#x}, writable: {writable}"
            );
            Ok(())
        })?;
        Ok(())
    });
    s.check("mmio/below_1_mib", || {
        for machine in [VIDEO, BIOS] {
            let mapped = with_mapping(machine, RW, |address, _| {
                good!(probe::read(address));
                Ok(())
            })?;
            ensure!(mapped, "{machine:#x} cannot be mapped");
        }
        Ok(())
    });
    s.check("mmio/pci_configuration", || {
        let mapped = with_mapping(CONFIGURATION, RW, |address, writable| {
            let identity = good!(probe::read(address));
            if identity & 0xffff == 0xffff {
                super::skip!("it is somewhere else");
            }
            // It looks read-only, but writes are carried out: of a register that cannot change.
            same!(writable, false);
            let [low, ..] = (!identity).to_le_bytes();
            good!(probe::write32(address, u32::from_ne_bytes([low; 4])));
            same!(probe::read(address), Ok(identity));
            // Devices take up to four bytes at once, and at their own addresses.
            faulted(probe::write(address, identity), probe::PF)?;
            faulted(probe::write32(address + 2, 0), probe::PF)?;
            Ok(())
        })?;
        ensure!(mapped, "it cannot be mapped");
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    if s.privileged {
        of_dom0(s);
        return;
    }
    s.check("mmio/none_for_guests", || {
        for machine in [LAPIC, IO_APIC, HPET, CONFIGURATION, BIOS, VIDEO, 0] {
            for bits in [RW, RO] {
                let mapped = with_mapping(machine, bits, |_, _| Ok(()))?;
                ensure!(!mapped, "{machine:#x} was mapped");
            }
        }
        Ok(())
    });
}
