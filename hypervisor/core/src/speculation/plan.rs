//! Which defences a processor needs and has: decided once, from CPUID and the boot options.
//!
//! Sources: Intel SDM volume 4 (IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_ARCH_CAPABILITIES) and "Speculative Execution Side
//! Channel Mitigations"; AMD64 APM volume 3, appendix E, and "Software Techniques for Managing Speculation".

use core::fmt;

use crate::options::SpecCtrl;

/// IA32_ARCH_CAPABILITIES: not open to Meltdown.
const RDCL_NO: u64 = 1 << 0;
/// IA32_ARCH_CAPABILITIES: IBRS may stay on for good.
const IBRS_ALL: u64 = 1 << 1;
/// IA32_ARCH_CAPABILITIES: not open to MDS.
const MDS_NO: u64 = 1 << 5;

/// What matters of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Processor {
    /// AMD's or Hygon's: page tables' user bit holds in speculation too.
    pub amd: bool,
    /// Supervisor-mode execution prevention.
    pub smep: bool,
    /// MSR SPEC_CTRL has IBRS.
    pub ibrs: bool,
    /// IBRS is best left on (AMD).
    pub ibrs_always: bool,
    /// EFER.AIBRSE: IBRS by itself in ring 0 (AMD).
    pub automatic_ibrs: bool,
    /// MSR PRED_CMD.
    pub ibpb: bool,
    /// MSR SPEC_CTRL has SSBD.
    pub ssbd: bool,
    /// VERW overwrites buffers.
    pub md_clear: bool,
    /// Not open to branch type confusion (AMD).
    pub btc_no: bool,
    /// IA32_ARCH_CAPABILITIES; 0 where there is none.
    pub capabilities: u64,
}

impl Processor {
    /// From CPUID (leaf and subleaf to EAX, EBX, ECX, EDX) and IA32_ARCH_CAPABILITIES, which is only read if CPUID has it.
    pub fn read(
        cpuid: impl Fn(u32, u32) -> [u32; 4],
        capabilities: impl FnOnce() -> Option<u64>,
    ) -> Self {
        let bit = |word: u32, bit: u32| word & (1 << bit) != 0;
        let [highest, vendor, ..] = cpuid(0, 0);
        let [highest_extended, ..] = cpuid(0x8000_0000, 0);
        let leaf = |number: u32| {
            let there = if number >= 0x8000_0000 {
                highest_extended
            } else {
                highest
            };
            if number <= there {
                cpuid(number, 0)
            } else {
                [0; 4]
            }
        };
        let [_, seven_b, _, seven_d] = leaf(7);
        let [_, eight_b, ..] = leaf(0x8000_0008);
        let [more_a, ..] = leaf(0x8000_0021);
        Self {
            amd: vendor == u32::from_le_bytes(*b"Auth") || vendor == u32::from_le_bytes(*b"Hygo"),
            smep: bit(seven_b, 7),
            ibrs: bit(seven_d, 26) || bit(eight_b, 14),
            ibrs_always: bit(eight_b, 16),
            automatic_ibrs: bit(more_a, 8),
            ibpb: bit(seven_d, 26) || bit(eight_b, 12),
            ssbd: bit(seven_d, 31) || bit(eight_b, 24),
            md_clear: bit(seven_d, 10),
            btc_no: bit(eight_b, 29),
            capabilities: if bit(seven_d, 29) {
                capabilities().unwrap_or(0)
            } else {
                0
            },
        }
    }
}

/// How indirect branch prediction is restricted while the hypervisor runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Ibrs {
    /// It is not.
    #[default]
    Off,
    /// By MSR SPEC_CTRL on each entry, and back on each return.
    OnEntry,
    /// By MSR SPEC_CTRL, once.
    Always,
    /// By EFER, once.
    Automatic,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// The return stack is overwritten on entry.
    pub rsb: bool,
    /// How IBRS is used.
    pub ibrs: Ibrs,
    /// Branch predictions are forgotten on entry.
    pub ibpb_on_entry: bool,
    /// Branch predictions are forgotten when a CPU changes to another domain's vCPU.
    pub ibpb: bool,
    /// VERW on return.
    pub verw: bool,
    /// SSBD, for the hypervisor and its guests.
    pub ssbd: bool,
    /// The processor lets a guest read the hypervisor's memory (Meltdown).
    pub meltdown: bool,
    /// dom0's page tables are isolated from the hypervisor's.
    pub isolate_dom0: bool,
    /// Those of other domains are.
    pub isolate_domu: bool,
}

impl Plan {
    /// What `cpu` needs and the user allows.
    pub fn make(cpu: &Processor, asked: &SpecCtrl) -> Self {
        let may_use_msr = asked.msr_sc != Some(false);
        let ibrs = match asked.ibrs {
            Some(false) => Ibrs::Off,
            _ if cpu.automatic_ibrs => Ibrs::Automatic,
            _ if !cpu.ibrs || !may_use_msr => Ibrs::Off,
            _ if cpu.ibrs_always || cpu.capabilities & IBRS_ALL != 0 => Ibrs::Always,
            _ => Ibrs::OnEntry,
        };
        let open_to_mds = !cpu.amd && cpu.capabilities & MDS_NO == 0;
        let meltdown = !cpu.amd && cpu.capabilities & RDCL_NO == 0;
        Self {
            // With SMEP a return predicted to a guest's address, which is a user page, runs nothing.
            rsb: asked.rsb.unwrap_or(!cpu.smep),
            ibrs,
            ibpb_on_entry: cpu.ibpb && asked.ibpb_entry.unwrap_or(cpu.amd && !cpu.btc_no),
            ibpb: cpu.ibpb && asked.ibpb != Some(false),
            // VERW is an old instruction: without MD_CLEAR it does nothing, but may be asked for.
            verw: asked.md_clear.unwrap_or(cpu.md_clear && open_to_mds),
            ssbd: cpu.ssbd && may_use_msr && asked.ssbd == Some(true),
            meltdown,
            isolate_dom0: asked.xpti_dom0.unwrap_or(meltdown),
            isolate_domu: asked.xpti_domu.unwrap_or(meltdown),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ibrs = match self.ibrs {
            Ibrs::Off => "",
            Ibrs::OnEntry => " IBRS on entry,",
            Ibrs::Always => " IBRS always,",
            Ibrs::Automatic => " automatic IBRS,",
        };
        write!(f, "clamped indexes,{ibrs}")?;
        for (used, name) in [
            (self.rsb, "return stack filled on entry"),
            (self.ibpb_on_entry, "IBPB on entry"),
            (self.ibpb, "IBPB between vCPUs"),
            (self.verw, "VERW on return"),
            (self.ssbd, "SSBD"),
        ] {
            if used {
                write!(f, " {name},")?;
            }
        }
        f.write_str(" FPU switched eagerly")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const OLD_INTEL: Processor = Processor {
        amd: false,
        smep: true,
        ibrs: true,
        ibrs_always: false,
        automatic_ibrs: false,
        ibpb: true,
        ssbd: true,
        md_clear: true,
        btc_no: false,
        capabilities: 0,
    };

    fn plan(cpu: &Processor) -> Plan {
        Plan::make(cpu, &SpecCtrl::default())
    }

    #[test]
    fn an_old_intel_needs_all() {
        let plan = plan(&OLD_INTEL);
        assert!(plan.meltdown && plan.verw && plan.ibpb && !plan.rsb && !plan.ssbd);
        assert_eq!(plan.ibrs, Ibrs::OnEntry);
        assert!(!plan.ibpb_on_entry);
        assert!(plan.isolate_dom0 && plan.isolate_domu);
    }

    #[test]
    fn isolation_is_asked_for_by_the_kind_of_domain() {
        let asked = SpecCtrl {
            xpti_dom0: Some(false),
            ..SpecCtrl::default()
        };
        let plan = Plan::make(&OLD_INTEL, &asked);
        assert!(plan.meltdown && !plan.isolate_dom0 && plan.isolate_domu);
        let amd = Processor {
            amd: true,
            ..OLD_INTEL
        };
        let asked = SpecCtrl {
            xpti_domu: Some(true),
            ..asked
        };
        let plan = Plan::make(&amd, &asked);
        assert!(!plan.meltdown && !plan.isolate_dom0 && plan.isolate_domu);
    }

    #[test]
    fn a_new_intel_needs_little() {
        let plan = plan(&Processor {
            capabilities: RDCL_NO | IBRS_ALL | MDS_NO,
            ..OLD_INTEL
        });
        assert!(!plan.meltdown && !plan.verw && !plan.isolate_dom0 && !plan.isolate_domu);
        assert_eq!(plan.ibrs, Ibrs::Always);
    }

    #[test]
    fn amds_are_told_apart() {
        let zen = Processor {
            amd: true,
            md_clear: false,
            ..OLD_INTEL
        };
        assert!(plan(&zen).ibpb_on_entry && !plan(&zen).meltdown);
        let zen4 = Processor {
            automatic_ibrs: true,
            btc_no: true,
            ..zen
        };
        assert_eq!(plan(&zen4).ibrs, Ibrs::Automatic);
        assert!(!plan(&zen4).ibpb_on_entry);
    }

    #[test]
    fn without_smep_the_return_stack_is_filled() {
        assert!(
            plan(&Processor {
                smep: false,
                ..OLD_INTEL
            })
            .rsb
        );
    }

    #[test]
    fn the_user_decides() {
        let none = SpecCtrl {
            rsb: Some(false),
            msr_sc: Some(false),
            md_clear: Some(false),
            ibpb_entry: Some(false),
            ibpb: Some(false),
            ..SpecCtrl::default()
        };
        let cpu = Processor {
            smep: false,
            amd: true,
            ..OLD_INTEL
        };
        assert_eq!(Plan::make(&cpu, &none), Plan::default());
        let all = SpecCtrl {
            rsb: Some(true),
            md_clear: Some(true),
            ibpb_entry: Some(true),
            ssbd: Some(true),
            ..SpecCtrl::default()
        };
        let nothing = Processor {
            amd: true,
            smep: true,
            ..Processor::default()
        };
        let plan = Plan::make(&nothing, &all);
        assert_eq!(
            plan,
            Plan {
                rsb: true,
                verw: true,
                ..Plan::default()
            }
        );
    }

    #[test]
    fn bits_are_where_the_manuals_have_them() {
        let cpuid = |leaf, _| match leaf {
            0 => [7, u32::from_le_bytes(*b"Genu"), 0, 0],
            7 => [0, 1 << 7, 0, 1 << 10 | 1 << 26 | 1 << 29 | 1 << 31],
            0x8000_0000 => [0x8000_0008, 0, 0, 0],
            0x8000_0008 => [0; 4],
            _ => [u32::MAX; 4],
        };
        assert_eq!(Processor::read(cpuid, || None), OLD_INTEL);
        assert_eq!(Processor::read(cpuid, || Some(5)).capabilities, 5);
        let amd = |leaf, _| match leaf {
            0 => [7, u32::from_le_bytes(*b"Auth"), 0, 0],
            0x8000_0000 => [0x8000_0021, 0, 0, 0],
            0x8000_0008 => [0, 1 << 12 | 1 << 14 | 1 << 16 | 1 << 24 | 1 << 29, 0, 0],
            0x8000_0021 => [1 << 8, 0, 0, 0],
            _ => [0; 4],
        };
        let found = Processor::read(amd, || None);
        assert!(found.amd && found.ibpb && found.ibrs_always && found.ssbd && found.btc_no);
        assert!(found.automatic_ibrs && !found.smep && !found.md_clear);
    }

    #[test]
    fn the_log_names_what_is_done() {
        let text = format!("{}", plan(&OLD_INTEL));
        assert_eq!(
            text,
            "clamped indexes, IBRS on entry, IBPB between vCPUs, VERW on return, FPU switched eagerly"
        );
    }
}
