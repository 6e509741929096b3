//! What the C headers must say about `oxen_abi::xen`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::xen as abi;
    constants!(table, abi;
        DOMID_FIRST_RESERVED = "DOMID_FIRST_RESERVED",
        DOMID_SELF = "DOMID_SELF",
        DOMID_IO = "DOMID_IO",
        DOMID_XEN = "DOMID_XEN",
        DOMID_COW = "DOMID_COW",
        DOMID_INVALID = "DOMID_INVALID",
        DOMID_IDLE = "DOMID_IDLE",
        DOMID_MASK = "DOMID_MASK",
        VIRQ_TIMER = "VIRQ_TIMER",
        VIRQ_DEBUG = "VIRQ_DEBUG",
        VIRQ_CONSOLE = "VIRQ_CONSOLE",
        VIRQ_DOM_EXC = "VIRQ_DOM_EXC",
        VIRQ_TBUF = "VIRQ_TBUF",
        VIRQ_DEBUGGER = "VIRQ_DEBUGGER",
        VIRQ_XENOPROF = "VIRQ_XENOPROF",
        VIRQ_CON_RING = "VIRQ_CON_RING",
        VIRQ_PCPU_STATE = "VIRQ_PCPU_STATE",
        VIRQ_MEM_EVENT = "VIRQ_MEM_EVENT",
        VIRQ_ARGO = "VIRQ_ARGO",
        VIRQ_ENOMEM = "VIRQ_ENOMEM",
        VIRQ_XENPMU = "VIRQ_XENPMU",
        VIRQ_ARCH_0 = "VIRQ_ARCH_0",
        VIRQ_ARCH_1 = "VIRQ_ARCH_1",
        VIRQ_ARCH_2 = "VIRQ_ARCH_2",
        VIRQ_ARCH_3 = "VIRQ_ARCH_3",
        VIRQ_ARCH_4 = "VIRQ_ARCH_4",
        VIRQ_ARCH_5 = "VIRQ_ARCH_5",
        VIRQ_ARCH_6 = "VIRQ_ARCH_6",
        VIRQ_ARCH_7 = "VIRQ_ARCH_7",
        VIRQ_MCA = "VIRQ_MCA",
        NR_VIRQS = "NR_VIRQS",
        CONSOLEIO_WRITE = "CONSOLEIO_write",
        CONSOLEIO_READ = "CONSOLEIO_read",
        VMASST_CMD_ENABLE = "VMASST_CMD_enable",
        VMASST_CMD_DISABLE = "VMASST_CMD_disable",
        VMASST_TYPE_4GB_SEGMENTS = "VMASST_TYPE_4gb_segments",
        VMASST_TYPE_4GB_SEGMENTS_NOTIFY = "VMASST_TYPE_4gb_segments_notify",
        VMASST_TYPE_WRITABLE_PAGETABLES = "VMASST_TYPE_writable_pagetables",
        VMASST_TYPE_PAE_EXTENDED_CR3 = "VMASST_TYPE_pae_extended_cr3",
        VMASST_TYPE_ARCHITECTURAL_IOPL = "VMASST_TYPE_architectural_iopl",
        VMASST_TYPE_RUNSTATE_UPDATE_FLAG = "VMASST_TYPE_runstate_update_flag",
        VMASST_TYPE_M2P_STRICT = "VMASST_TYPE_m2p_strict",
        XEN_PVCLOCK_TSC_STABLE_BIT = "XEN_PVCLOCK_TSC_STABLE_BIT",
        XEN_PVCLOCK_GUEST_STOPPED = "XEN_PVCLOCK_GUEST_STOPPED",
        XEN_LEGACY_MAX_VCPUS = "XEN_LEGACY_MAX_VCPUS",
        MAX_GUEST_CMDLINE = "MAX_GUEST_CMDLINE",
    );
    structs!(table, abi::VcpuTimeInfo, "struct vcpu_time_info";
        version = "version",
        pad0 = "pad0",
        tsc_timestamp = "tsc_timestamp",
        system_time = "system_time",
        tsc_to_system_mul = "tsc_to_system_mul",
        tsc_shift = "tsc_shift",
        flags = "flags",
        pad1 = "pad1",
    );
    structs!(table, abi::VcpuInfo, "struct vcpu_info";
        evtchn_upcall_pending = "evtchn_upcall_pending",
        evtchn_upcall_mask = "evtchn_upcall_mask",
        evtchn_pending_sel = "evtchn_pending_sel",
        arch = "arch",
        time = "time",
    );
    structs!(table, abi::SharedInfo, "struct shared_info";
        vcpu_info = "vcpu_info",
        evtchn_pending = "evtchn_pending",
        evtchn_mask = "evtchn_mask",
        wc_version = "wc_version",
        wc_sec = "wc_sec",
        wc_nsec = "wc_nsec",
        wc_sec_hi = "wc_sec_hi",
        arch = "arch",
    );
    structs!(table, abi::CtlBitmap, "struct xenctl_bitmap";
        bitmap = "bitmap",
        nr_bits = "nr_bits",
    );
}
