//! Model-specific registers that kernels read and write.

use core::sync::atomic::Ordering;

use oxen_abi::cpuid::XEN_CPUID_FIRST_LEAF;

use super::pinning::{pin, unpin};
use super::traps::faulted;
use super::{Suite, ensure, good, same, skip};
use crate::pagetable;
use crate::sys::frame::{self, Frame};
use crate::sys::probe;

const P5_MC_ADDR: u32 = 0;
const P5_MC_TYPE: u32 = 1;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const UCODE_REV: u32 = 0x8b;
const PLATFORM_INFO: u32 = 0xce;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const MISC_ENABLE: u32 = 0x1a0;
const PAT: u32 = 0x277;
const MC0_CTL2: u32 = 0x280;
const MC0_CTL: u32 = 0x400;
const EFER: u32 = 0xc000_0080;
const TSC_AUX: u32 = 0xc000_0103;
const HWCR: u32 = 0xc001_0015;
const DE_CFG: u32 = 0xc001_1029;

/// Leaf 0 EBX: "Auth".
const AMD: u32 = 0x6874_7541;

pub(super) fn run(s: &mut Suite<'_>) {
    s.check("msr/read_only", || {
        for msr in [APIC_BASE, PLATFORM_INFO, PAT] {
            let value = good!(probe::rdmsr(msr));
            faulted(probe::wrmsr(msr, value), probe::GP)?;
            faulted(probe::wrmsr(msr, value ^ 0x1000), probe::GP)?;
            same!(probe::rdmsr(msr), Ok(value));
        }
        // Enabled, where it is used to be, and the boot CPU's.
        same!(probe::rdmsr(APIC_BASE), Ok(0xfee0_0900));
        Ok(())
    });
    s.check("msr/written_in_vain", || {
        // A kernel writes what it thinks right, and it stays as it is.
        for msr in [EFER, MISC_ENABLE] {
            let value = good!(probe::rdmsr(msr));
            good!(probe::wrmsr(msr, value));
            same!(probe::rdmsr(msr), Ok(value));
        }
        let value = good!(probe::rdmsr(MISC_ENABLE));
        good!(probe::wrmsr(MISC_ENABLE, value ^ 1));
        same!(probe::rdmsr(MISC_ENABLE), Ok(value));
        good!(probe::rdmsr(UCODE_REV));
        Ok(())
    });
    s.check("msr/machine_check_banks", || {
        let banks = good!(probe::rdmsr(MCG_CAP)) & 0xff;
        ensure!((1..=32).contains(&banks), "{banks} banks");
        // Cleared at the start and for ever: errors are the hypervisor's.
        same!(probe::rdmsr(MCG_STATUS), Ok(0));
        good!(probe::wrmsr(MCG_STATUS, 0));
        let control = good!(probe::rdmsr(MC0_CTL));
        same!(control, u64::MAX);
        good!(probe::wrmsr(MC0_CTL, control));
        for report in [MC0_CTL + 1, MC0_CTL + 2, MC0_CTL + 3] {
            same!(probe::rdmsr(report), Ok(0));
            good!(probe::wrmsr(report, 0));
            faulted(probe::wrmsr(report, 0x1000), probe::GP)?;
            same!(probe::rdmsr(report), Ok(0));
        }
        // No thresholds for corrected errors, and nothing of the Pentium's.
        for msr in [MC0_CTL2, MC0_CTL2 + 31] {
            same!(probe::rdmsr(msr), Ok(0));
            good!(probe::wrmsr(msr, 0));
        }
        for msr in [P5_MC_ADDR, P5_MC_TYPE] {
            same!(probe::rdmsr(msr), Ok(0));
            faulted(probe::wrmsr(msr, 0), probe::GP)?;
        }
        Ok(())
    });
    s.check("msr/hypercall_page", || {
        let [pages, msr, ..] = good!(probe::cpuid(XEN_CPUID_FIRST_LEAF + 2, 0));
        same!(pages, 1);
        same!(probe::rdmsr(msr), Ok(0));
        let page = Frame::new();
        let address = page.mfn() << 12;
        good!(probe::wrmsr(msr, address));
        same!(probe::rdmsr(msr), Ok(0));
        for (word, filled) in page.words().iter().zip(frame::hypercall_page_words()) {
            same!(word.load(Ordering::Relaxed), filled.load(Ordering::Relaxed));
        }
        // There is no second page, no such frame, and a page table is no place for code.
        faulted(probe::wrmsr(msr, address | 1), probe::GP)?;
        faulted(probe::wrmsr(msr, !0xfff), probe::GP)?;
        let table = good!(pagetable::new_table());
        same!(pin(table, 1), Ok(0));
        faulted(probe::wrmsr(msr, table.mfn() << 12), probe::GP)?;
        same!(table.words()[0].load(Ordering::Relaxed), 0);
        same!(unpin(table), Ok(0));
        Ok(())
    });
    s.check("msr/of_amds_processors", || {
        if good!(probe::cpuid(0, 0))[1] != AMD {
            skip!("another maker's");
        }
        faulted(probe::rdmsr(PLATFORM_ID), probe::GP)?;
        // LFENCE is a barrier to speculation.
        same!(good!(probe::rdmsr(DE_CFG)) & 2, 2);
        for msr in [DE_CFG, HWCR] {
            let value = good!(probe::rdmsr(msr));
            good!(probe::wrmsr(msr, value ^ 0x1000));
            same!(probe::rdmsr(msr), Ok(value));
        }
        Ok(())
    });
    s.check("msr/tsc_aux", || {
        let Ok(before) = probe::rdmsr(TSC_AUX) else {
            skip!("the host has no RDTSCP");
        };
        good!(probe::wrmsr(TSC_AUX, 0x1234));
        same!(probe::rdmsr(TSC_AUX), Ok(0x1234));
        faulted(probe::wrmsr(TSC_AUX, 1 << 32), probe::GP)?;
        good!(probe::wrmsr(TSC_AUX, before));
        Ok(())
    });
    s.check("msr/none_of_the_hypervisors", || {
        // System call entry points, debug control, x2APIC, memory types.
        for msr in [
            0x174,
            0x176,
            0x1b0,
            0x2ff,
            0x800,
            0x830,
            0xc000_0081,
            0xc000_0082,
        ] {
            let value = probe::rdmsr(msr);
            ensure!(
                probe::wrmsr(msr, 0).is_err() && probe::wrmsr(msr, 0xffff_8000_0000_0000).is_err(),
                "{msr:#x} was written, it reads {value:x?}"
            );
        }
        Ok(())
    });
}
