//! What the C headers must say about `oxen_abi::vcpu`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::vcpu as abi;
    constants!(table, abi;
        VCPUOP_INITIALISE = "VCPUOP_initialise",
        VCPUOP_UP = "VCPUOP_up",
        VCPUOP_DOWN = "VCPUOP_down",
        VCPUOP_IS_UP = "VCPUOP_is_up",
        VCPUOP_GET_RUNSTATE_INFO = "VCPUOP_get_runstate_info",
        VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA = "VCPUOP_register_runstate_memory_area",
        VCPUOP_SET_PERIODIC_TIMER = "VCPUOP_set_periodic_timer",
        VCPUOP_STOP_PERIODIC_TIMER = "VCPUOP_stop_periodic_timer",
        VCPUOP_SET_SINGLESHOT_TIMER = "VCPUOP_set_singleshot_timer",
        VCPUOP_STOP_SINGLESHOT_TIMER = "VCPUOP_stop_singleshot_timer",
        VCPUOP_REGISTER_VCPU_INFO = "VCPUOP_register_vcpu_info",
        VCPUOP_SEND_NMI = "VCPUOP_send_nmi",
        VCPUOP_GET_PHYSID = "VCPUOP_get_physid",
        VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA = "VCPUOP_register_vcpu_time_memory_area",
        XEN_RUNSTATE_UPDATE = "XEN_RUNSTATE_UPDATE",
        RUNSTATE_RUNNING = "RUNSTATE_running",
        RUNSTATE_RUNNABLE = "RUNSTATE_runnable",
        RUNSTATE_BLOCKED = "RUNSTATE_blocked",
        RUNSTATE_OFFLINE = "RUNSTATE_offline",
        VCPU_SSHOTTMR_FUTURE = "VCPU_SSHOTTMR_future",
    );
    structs!(table, abi::RunstateInfo, "struct vcpu_runstate_info";
        state = "state",
        state_entry_time = "state_entry_time",
        time = "time",
    );
    structs!(table, abi::RegisterRunstateMemoryArea, "struct vcpu_register_runstate_memory_area";
        addr = "addr",
    );
    structs!(table, abi::SetPeriodicTimer, "struct vcpu_set_periodic_timer";
        period_ns = "period_ns",
    );
    structs!(table, abi::SetSingleshotTimer, "struct vcpu_set_singleshot_timer";
        timeout_abs_ns = "timeout_abs_ns",
        flags = "flags",
    );
    structs!(table, abi::RegisterVcpuInfo, "struct vcpu_register_vcpu_info";
        mfn = "mfn",
        offset = "offset",
        rsvd = "rsvd",
    );
    structs!(table, abi::GetPhysid, "struct vcpu_get_physid";
        phys_id = "phys_id",
    );
    structs!(table, abi::RegisterTimeMemoryArea, "struct vcpu_register_time_memory_area";
        addr = "addr",
    );
}
