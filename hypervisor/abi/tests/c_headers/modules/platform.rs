//! What the C headers must say about `oxen_abi::platform`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::platform as abi;
    constants!(table, abi;
        XENPF_INTERFACE_VERSION = "XENPF_INTERFACE_VERSION",
        PLATFORM_OP_SIZE = "sizeof(xen_platform_op_t)",
        PLATFORM_OP_U_OFFSET = "offsetof(xen_platform_op_t,u)",
        XENPF_SETTIME32 = "XENPF_settime32",
        XENPF_ADD_MEMTYPE = "XENPF_add_memtype",
        XENPF_DEL_MEMTYPE = "XENPF_del_memtype",
        XENPF_READ_MEMTYPE = "XENPF_read_memtype",
        XENPF_MICROCODE_UPDATE = "XENPF_microcode_update",
        XENPF_PLATFORM_QUIRK = "XENPF_platform_quirk",
        XENPF_GET_CPU_VERSION = "XENPF_get_cpu_version",
        XENPF_EFI_RUNTIME_CALL = "XENPF_efi_runtime_call",
        XENPF_FIRMWARE_INFO = "XENPF_firmware_info",
        XENPF_ENTER_ACPI_SLEEP = "XENPF_enter_acpi_sleep",
        XENPF_CHANGE_FREQ = "XENPF_change_freq",
        XENPF_GETIDLETIME = "XENPF_getidletime",
        XENPF_SET_PROCESSOR_PMINFO = "XENPF_set_processor_pminfo",
        XENPF_GET_CPUINFO = "XENPF_get_cpuinfo",
        XENPF_CPU_ONLINE = "XENPF_cpu_online",
        XENPF_CPU_OFFLINE = "XENPF_cpu_offline",
        XENPF_CPU_HOTADD = "XENPF_cpu_hotadd",
        XENPF_MEM_HOTADD = "XENPF_mem_hotadd",
        XENPF_CORE_PARKING = "XENPF_core_parking",
        XENPF_RESOURCE_OP = "XENPF_resource_op",
        XENPF_SETTIME64 = "XENPF_settime64",
        XENPF_GET_SYMBOL = "XENPF_get_symbol",
        XEN_PCPU_FLAGS_ONLINE = "XEN_PCPU_FLAGS_ONLINE",
        XEN_PCPU_FLAGS_INVALID = "XEN_PCPU_FLAGS_INVALID",
        XEN_RESOURCE_OP_MSR_READ = "XEN_RESOURCE_OP_MSR_READ",
        XEN_RESOURCE_OP_MSR_WRITE = "XEN_RESOURCE_OP_MSR_WRITE",
    );
    structs!(table, abi::PlatformOp, "struct xen_platform_op";
        cmd = "cmd",
        interface_version = "interface_version",
        u = "u",
    );
    structs!(table, abi::SetTime32, "struct xenpf_settime32";
        secs = "secs",
        nsecs = "nsecs",
        system_time = "system_time",
    );
    structs!(table, abi::SetTime64, "struct xenpf_settime64";
        secs = "secs",
        nsecs = "nsecs",
        mbz = "mbz",
        system_time = "system_time",
    );
    structs!(table, abi::AddMemtype, "struct xenpf_add_memtype";
        mfn = "mfn",
        nr_mfns = "nr_mfns",
        type_ = "type",
        handle = "handle",
        reg = "reg",
    );
    structs!(table, abi::DelMemtype, "struct xenpf_del_memtype";
        handle = "handle",
        reg = "reg",
    );
    structs!(table, abi::ReadMemtype, "struct xenpf_read_memtype";
        reg = "reg",
        mfn = "mfn",
        nr_mfns = "nr_mfns",
        type_ = "type",
    );
    structs!(table, abi::MicrocodeUpdate, "struct xenpf_microcode_update";
        data = "data",
        length = "length",
    );
    structs!(table, abi::PlatformQuirk, "struct xenpf_platform_quirk";
        quirk_id = "quirk_id",
    );
    structs!(table, abi::GetIdleTime, "struct xenpf_getidletime";
        cpumap_bitmap = "cpumap_bitmap",
        cpumap_nr_cpus = "cpumap_nr_cpus",
        idletime = "idletime",
        now = "now",
    );
    structs!(table, abi::PcpuInfo, "struct xenpf_pcpuinfo";
        xen_cpuid = "xen_cpuid",
        max_present = "max_present",
        flags = "flags",
        apic_id = "apic_id",
        acpi_id = "acpi_id",
    );
    structs!(table, abi::PcpuVersion, "struct xenpf_pcpu_version";
        xen_cpuid = "xen_cpuid",
        max_present = "max_present",
        vendor_id = "vendor_id",
        family = "family",
        model = "model",
        stepping = "stepping",
    );
    structs!(table, abi::CpuOl, "struct xenpf_cpu_ol";
        cpuid = "cpuid",
    );
    structs!(table, abi::ResourceEntry, "struct xenpf_resource_entry";
        cmd = "u.cmd",
        rsvd = "rsvd",
        idx = "idx",
        val = "val",
    );
    structs!(table, abi::ResourceOp, "struct xenpf_resource_op";
        nr_entries = "nr_entries",
        cpu = "cpu",
        entries = "entries",
    );
    structs!(table, abi::SymData, "struct xenpf_symdata";
        namelen = "namelen",
        symnum = "symnum",
        name = "name",
        address = "address",
        type_ = "type",
    );
}
