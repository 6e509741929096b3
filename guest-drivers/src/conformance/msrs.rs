//! Model-specific registers that kernels read and write.

use super::traps::faulted;
use super::{Suite, ensure, good, same, skip};
use crate::sys::probe;

const APIC_BASE: u32 = 0x1b;
const UCODE_REV: u32 = 0x8b;
const PLATFORM_INFO: u32 = 0xce;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const MISC_ENABLE: u32 = 0x1a0;
const PAT: u32 = 0x277;
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
        Ok(())
    });
    s.check("msr/of_amds_processors", || {
        if good!(probe::cpuid(0, 0))[1] != AMD {
            skip!("another maker's");
        }
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
