//! What the C headers must say about `oxen_abi::domctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::domctl as abi;
    constants!(table, abi;
        XEN_VCPUAFFINITY_HARD = "XEN_VCPUAFFINITY_HARD",
        XEN_VCPUAFFINITY_SOFT = "XEN_VCPUAFFINITY_SOFT",
        XEN_VCPUAFFINITY_FORCE = "XEN_VCPUAFFINITY_FORCE",
        XEN_DOMCTL_SENDTRIGGER_NMI = "XEN_DOMCTL_SENDTRIGGER_NMI",
        XEN_DOMCTL_SENDTRIGGER_RESET = "XEN_DOMCTL_SENDTRIGGER_RESET",
        XEN_DOMCTL_SENDTRIGGER_INIT = "XEN_DOMCTL_SENDTRIGGER_INIT",
        XEN_DOMCTL_SENDTRIGGER_POWER = "XEN_DOMCTL_SENDTRIGGER_POWER",
        XEN_DOMCTL_SENDTRIGGER_SLEEP = "XEN_DOMCTL_SENDTRIGGER_SLEEP",
    );
    structs!(table, abi::VcpuContext, "struct xen_domctl_vcpucontext";
        vcpu = "vcpu",
        ctxt = "ctxt",
    );
    structs!(table, abi::GetVcpuInfo, "struct xen_domctl_getvcpuinfo";
        vcpu = "vcpu",
        online = "online",
        blocked = "blocked",
        running = "running",
        cpu_time = "cpu_time",
        cpu = "cpu",
    );
    structs!(table, abi::MaxVcpus, "struct xen_domctl_max_vcpus";
        max = "max",
    );
    structs!(table, abi::VcpuAffinity, "struct xen_domctl_vcpuaffinity";
        vcpu = "vcpu",
        flags = "flags",
        cpumap_hard = "cpumap_hard",
        cpumap_soft = "cpumap_soft",
    );
    structs!(table, abi::ExtVcpuContext, "struct xen_domctl_ext_vcpucontext";
        vcpu = "vcpu",
        size = "size",
        syscall32_callback_eip = "syscall32_callback_eip",
        sysenter_callback_eip = "sysenter_callback_eip",
        syscall32_callback_cs = "syscall32_callback_cs",
        sysenter_callback_cs = "sysenter_callback_cs",
        syscall32_disables_events = "syscall32_disables_events",
        sysenter_disables_events = "sysenter_disables_events",
        mcg_cap = "mcg_cap",
        mci_ctl2_bank0 = "vmce.mci_ctl2_bank0",
        mci_ctl2_bank1 = "vmce.mci_ctl2_bank1",
        mcg_ext_ctl = "vmce.mcg_ext_ctl",
    );
    structs!(table, abi::VcpuExtState, "struct xen_domctl_vcpuextstate";
        vcpu = "vcpu",
        xfeature_mask = "xfeature_mask",
        size = "size",
        buffer = "buffer",
    );
    structs!(table, abi::VcpuMsr, "struct xen_domctl_vcpu_msr";
        index = "index",
        reserved = "reserved",
        value = "value",
    );
    structs!(table, abi::VcpuMsrs, "struct xen_domctl_vcpu_msrs";
        vcpu = "vcpu",
        msr_count = "msr_count",
        msrs = "msrs",
    );
    structs!(table, abi::SendTrigger, "struct xen_domctl_sendtrigger";
        trigger = "trigger",
        vcpu = "vcpu",
    );
}
