//! Model-specific registers of PV guests.
//!
//! Reads give what the public ABI's guests rely on, by a list; others raise #GP. Writes take effect
//! where the register is the guest's own; they are ignored where kernels of old write what the
//! hypervisor has set already, or write what they read; and raise #GP otherwise.

use super::privileged::Outcome;
use crate::hypercall::page;
use crate::machine::{Base, Machine};
use crate::mm::types::MmError;
use crate::mm::walk::is_canonical;
use crate::percpu::Cx;
use crate::types::{Mfn, PAGE_SIZE, VcpuId};

/// What the Pentium told of a machine check: the address and the kind.
const P5_MC_ADDR: u32 = 0;
const P5_MC_TYPE: u32 = 1;
/// IA32_TIME_STAMP_COUNTER.
pub(super) const TSC: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const UCODE_REV: u32 = 0x8b;
const PLATFORM_INFO: u32 = 0xce;
const MISC_FEATURES_ENABLES: u32 = 0x140;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const MCG_CTL: u32 = 0x17b;
const MC0_CTL: u32 = 0x400;
const LAST_BANK_END: u32 = 0x47f;
const MISC_ENABLE: u32 = 0x1a0;
const DEBUGCTL: u32 = 0x1d9;
const PAT: u32 = 0x277;
const MC0_CTL2: u32 = 0x280;
const LAST_CTL2: u32 = 0x29f;
const PERF_CAPABILITIES: u32 = 0x345;
/// The machine address of a frame that is to hold the hypercall page (public ABI,
/// `arch-x86/cpuid.h`: the register that leaf 0x40000002 names).
pub(super) const HYPERCALL_PAGE: u32 = 0x4000_0000;
const EFER: u32 = 0xc000_0080;
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// IA32_TSC_AUX: switched with the vCPU.
pub const TSC_AUX: u32 = 0xc000_0103;
const AMD_SYSCFG: u32 = 0xc001_0010;
const AMD_HWCR: u32 = 0xc001_0015;
const AMD_TOP_MEM: u32 = 0xc001_001a;
const AMD_TOP_MEM2: u32 = 0xc001_001d;
const AMD_MMIO_CONF_BASE: u32 = 0xc001_0058;
const AMD_DE_CFG: u32 = 0xc001_1029;

/// Leaf 0 EBX: "Genu".
const INTEL: u32 = 0x756e_6547;

/// LAPIC at its usual place, enabled.
const APIC_ENABLED: u64 = 0xfee0_0800;
const APIC_BOOT_CPU: u64 = 1 << 8;
/// EFER: SCE, LME, LMA, NX.
const EFER_SHOWN: u64 = 0xd01;
/// MISC_ENABLE: performance monitoring, MONITOR.
const MISC_HIDDEN: u64 = (1 << 7) | (1 << 18);
/// MISC_ENABLE: no branch trace store, no PEBS, xTPR off.
const MISC_ABSENT: u64 = (1 << 11) | (1 << 12) | (1 << 23);
/// HWCR: the TSC counts at the P0 frequency.
const HWCR_TSC: u64 = 1 << 24;
/// DE_CFG: LFENCE is serialising.
const DE_CFG_LFENCE: u64 = 1 << 1;

/// Banks of machine-check registers that a guest sees.
const BANKS: u32 = 2;

/// A register of such a bank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bank {
    Control,
    /// Status, address, or what else there is to say.
    Report,
}

impl Bank {
    /// The bank and the register that an MSR is.
    const fn of(msr: u32) -> (u32, Self) {
        let at = msr.wrapping_sub(MC0_CTL);
        let register = if at.is_multiple_of(4) {
            Self::Control
        } else {
            Self::Report
        };
        (at / 4, register)
    }
}

/// Reads an MSR for the guest; `None` is #GP.
pub(super) fn read<M: Machine>(cx: &Cx<'_, M>, msr: u32) -> Option<u64> {
    let machine = cx.machine();
    let privileged = cx.domain().privileged;
    match msr {
        TSC => machine.rdmsr(TSC),
        APIC_BASE => {
            let boot = if cx.vcpu.id == VcpuId(0) {
                APIC_BOOT_CPU
            } else {
                0
            };
            Some(APIC_ENABLED | boot)
        }
        // Only Intel's processors have it.
        PLATFORM_ID if machine.cpuid(0, 0)[1] == INTEL => machine.rdmsr(msr),
        UCODE_REV => Some(machine.rdmsr(msr).unwrap_or(0)),
        PLATFORM_INFO | MISC_FEATURES_ENABLES => Some(0),
        // Machine checks are the hypervisor's, and dom0 hears of them by VIRQ_MCA: two banks in
        // which there is never anything.
        MCG_CAP => Some(u64::from(BANKS)),
        MCG_STATUS | MCG_CTL | P5_MC_ADDR | P5_MC_TYPE | MC0_CTL2..=LAST_CTL2 => Some(0),
        MC0_CTL..=LAST_BANK_END => Some(match Bank::of(msr) {
            (0..BANKS, Bank::Control) => u64::MAX,
            _ => 0,
        }),
        MISC_ENABLE => machine
            .rdmsr(msr)
            .map(|value| (value & !MISC_HIDDEN) | MISC_ABSENT),
        DEBUGCTL | PERF_CAPABILITIES => Some(0),
        PAT => machine.rdmsr(PAT),
        HYPERCALL_PAGE => Some(0),
        EFER => machine.rdmsr(EFER).map(|value| value & EFER_SHOWN),
        FS_BASE => Some(machine.base(Base::Fs)),
        GS_BASE => Some(machine.base(Base::Gs)),
        KERNEL_GS_BASE => Some(machine.base(Base::GsShadow)),
        TSC_AUX => Some(u64::from(cx.vcpu.arch.lock().traps.tsc_aux)),
        AMD_HWCR => machine.rdmsr(msr).map(|value| value & HWCR_TSC),
        // The hypervisor has seen to it.
        AMD_DE_CFG => machine.rdmsr(msr).map(|_| DE_CFG_LFENCE),
        AMD_SYSCFG | AMD_TOP_MEM | AMD_TOP_MEM2 | AMD_MMIO_CONF_BASE if privileged => {
            machine.rdmsr(msr)
        }
        _ => None,
    }
}

/// Writes an MSR for the guest.
pub(super) fn write<M: Machine>(cx: &Cx<'_, M>, msr: u32, value: u64) -> Outcome {
    match msr {
        HYPERCALL_PAGE => install_page(cx, value),
        _ if write_register(cx, msr, value) => Outcome::Done,
        _ => Outcome::Refused,
    }
}

/// Makes the guest's frame at machine address `value` a hypercall page.
fn install_page<M: Machine>(cx: &Cx<'_, M>, value: u64) -> Outcome {
    // The low bits would choose one of several pages.
    if !value.is_multiple_of(PAGE_SIZE) {
        return Outcome::Refused;
    }
    match page::install(cx.cpu, cx.domain(), Mfn::containing(value)) {
        Ok(()) => Outcome::Done,
        Err(MmError::Restart) => Outcome::Again,
        Err(MmError::Errno(_)) => Outcome::Refused,
    }
}

/// Writes one that is a register and no more; `false` is #GP.
fn write_register<M: Machine>(cx: &Cx<'_, M>, msr: u32, value: u64) -> bool {
    let machine = cx.machine();
    let base = match msr {
        FS_BASE => Some(Base::Fs),
        GS_BASE => Some(Base::Gs),
        KERNEL_GS_BASE => Some(Base::GsShadow),
        _ => None,
    };
    if let Some(base) = base {
        if is_canonical(value) {
            machine.set_base(base, value);
        }
        return is_canonical(value);
    }
    match msr {
        TSC_AUX => {
            let Ok(aux) = u32::try_from(value) else {
                return false;
            };
            cx.vcpu.arch.lock().traps.tsc_aux = aux;
            machine.wrmsr(TSC_AUX, value)
        }
        // Clearing it is the first half of reading it on Intel's processors.
        UCODE_REV => value == 0,
        // A guest's TSC is the host's.
        TSC => true,
        MCG_CAP | MCG_STATUS | MCG_CTL | MISC_ENABLE => read(cx, msr).is_some(),
        // Thresholds for corrected errors are the hypervisor's.
        MC0_CTL2..=LAST_CTL2 => true,
        AMD_HWCR | AMD_DE_CFG => read(cx, msr).is_some(),
        // A report can be cleared, and not made up.
        MC0_CTL..=LAST_BANK_END => match Bank::of(msr) {
            (0..BANKS, Bank::Report) => value == 0,
            _ => true,
        },
        DEBUGCTL => value == 0,
        // Only to be read.
        P5_MC_ADDR | P5_MC_TYPE | PLATFORM_ID | APIC_BASE => false,
        PLATFORM_INFO | PAT | PERF_CAPABILITIES => false,
        AMD_SYSCFG | AMD_TOP_MEM | AMD_TOP_MEM2 | AMD_MMIO_CONF_BASE => false,
        _ => read(cx, msr) == Some(value),
    }
}
