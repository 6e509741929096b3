//! What the C headers must say about `oxen_abi::platform`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::platform as abi;
    constants!(table, abi;
        XENPF_ACPI_SLEEP_EXTENDED = "XENPF_ACPI_SLEEP_EXTENDED",
        XEN_PM_CX = "XEN_PM_CX",
        XEN_PM_PX = "XEN_PM_PX",
        XEN_PM_TX = "XEN_PM_TX",
        XEN_PM_PDC = "XEN_PM_PDC",
        XEN_PX_PCT = "XEN_PX_PCT",
        XEN_PX_PSS = "XEN_PX_PSS",
        XEN_PX_PPC = "XEN_PX_PPC",
        XEN_PX_PSD = "XEN_PX_PSD",
    );
    structs!(table, abi::EnterAcpiSleep, "struct xenpf_enter_acpi_sleep";
        val_a = "val_a",
        val_b = "val_b",
        sleep_state = "sleep_state",
        flags = "flags",
    );
    structs!(table, abi::PowerRegister, "struct xen_power_register";
        space_id = "space_id",
        bit_width = "bit_width",
        bit_offset = "bit_offset",
        access_size = "access_size",
        address = "address",
    );
    structs!(table, abi::ProcessorCsd, "struct xen_processor_csd";
        domain = "domain",
        coord_type = "coord_type",
        num = "num",
    );
    structs!(table, abi::ProcessorCx, "struct xen_processor_cx";
        reg = "reg",
        type_ = "type",
        latency = "latency",
        power = "power",
        dpcnt = "dpcnt",
        dp = "dp",
    );
    structs!(table, abi::ProcessorPower, "struct xen_processor_power";
        count = "count",
        flags = "flags",
        states = "states",
    );
    structs!(table, abi::PctRegister, "struct xen_pct_register";
        descriptor = "descriptor",
        length = "length",
        space_id = "space_id",
        bit_width = "bit_width",
        bit_offset = "bit_offset",
        reserved = "reserved",
        address = "address",
    );
    structs!(table, abi::ProcessorPx, "struct xen_processor_px";
        core_frequency = "core_frequency",
        power = "power",
        transition_latency = "transition_latency",
        bus_master_latency = "bus_master_latency",
        control = "control",
        status = "status",
    );
    structs!(table, abi::PsdPackage, "struct xen_psd_package";
        num_entries = "num_entries",
        revision = "revision",
        domain = "domain",
        coord_type = "coord_type",
        num_processors = "num_processors",
    );
    structs!(table, abi::ProcessorPerformance, "struct xen_processor_performance";
        flags = "flags",
        platform_limit = "platform_limit",
        control_register = "control_register",
        status_register = "status_register",
        state_count = "state_count",
        states = "states",
        domain_info = "domain_info",
        shared_type = "shared_type",
    );
    structs!(table, abi::SetProcessorPminfo, "struct xenpf_set_processor_pminfo";
        id = "id",
        type_ = "type",
        u = "u",
    );
}
