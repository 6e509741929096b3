//! What the C headers must say about `oxen_abi::memory`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::memory as abi;
    constants!(table, abi;
        XENMEM_INCREASE_RESERVATION = "XENMEM_increase_reservation",
        XENMEM_DECREASE_RESERVATION = "XENMEM_decrease_reservation",
        XENMEM_MAXIMUM_RAM_PAGE = "XENMEM_maximum_ram_page",
        XENMEM_CURRENT_RESERVATION = "XENMEM_current_reservation",
        XENMEM_MAXIMUM_RESERVATION = "XENMEM_maximum_reservation",
        XENMEM_MACHPHYS_MFN_LIST = "XENMEM_machphys_mfn_list",
        XENMEM_POPULATE_PHYSMAP = "XENMEM_populate_physmap",
        XENMEM_ADD_TO_PHYSMAP = "XENMEM_add_to_physmap",
        XENMEM_MEMORY_MAP = "XENMEM_memory_map",
        XENMEM_MACHINE_MEMORY_MAP = "XENMEM_machine_memory_map",
        XENMEM_EXCHANGE = "XENMEM_exchange",
        XENMEM_MACHPHYS_MAPPING = "XENMEM_machphys_mapping",
        XENMEM_SET_MEMORY_MAP = "XENMEM_set_memory_map",
        XENMEM_MAXIMUM_GPFN = "XENMEM_maximum_gpfn",
        XENMEM_REMOVE_FROM_PHYSMAP = "XENMEM_remove_from_physmap",
        XENMEM_SET_POD_TARGET = "XENMEM_set_pod_target",
        XENMEM_GET_POD_TARGET = "XENMEM_get_pod_target",
        XENMEM_GET_SHARING_FREED_PAGES = "XENMEM_get_sharing_freed_pages",
        XENMEM_GET_SHARING_SHARED_PAGES = "XENMEM_get_sharing_shared_pages",
        XENMEM_PAGING_OP = "XENMEM_paging_op",
        XENMEM_ACCESS_OP = "XENMEM_access_op",
        XENMEM_SHARING_OP = "XENMEM_sharing_op",
        XENMEM_ADD_TO_PHYSMAP_BATCH = "XENMEM_add_to_physmap_batch",
        XENMEM_CLAIM_PAGES = "XENMEM_claim_pages",
        XENMEM_MACHPHYS_COMPAT_MFN_LIST = "XENMEM_machphys_compat_mfn_list",
        XENMEM_GET_VNUMAINFO = "XENMEM_get_vnumainfo",
        XENMEM_RESERVED_DEVICE_MEMORY_MAP = "XENMEM_reserved_device_memory_map",
        XENMEM_ACQUIRE_RESOURCE = "XENMEM_acquire_resource",
        XENMEMF_POPULATE_ON_DEMAND = "XENMEMF_populate_on_demand",
        XENMEMF_EXACT_NODE_REQUEST = "XENMEMF_exact_node_request",
        XENMEMF_VNODE = "XENMEMF_vnode",
        XENMAPSPACE_SHARED_INFO = "XENMAPSPACE_shared_info",
        XENMAPSPACE_GRANT_TABLE = "XENMAPSPACE_grant_table",
        XENMAPSPACE_GMFN = "XENMAPSPACE_gmfn",
        XENMAPSPACE_GMFN_RANGE = "XENMAPSPACE_gmfn_range",
        XENMAPSPACE_GMFN_FOREIGN = "XENMAPSPACE_gmfn_foreign",
        XENMAPSPACE_DEV_MMIO = "XENMAPSPACE_dev_mmio",
        XENMAPIDX_GRANT_TABLE_STATUS = "XENMAPIDX_grant_table_status",
        XENMEM_RESOURCE_IOREQ_SERVER = "XENMEM_resource_ioreq_server",
        XENMEM_RESOURCE_GRANT_TABLE = "XENMEM_resource_grant_table",
        XENMEM_RESOURCE_VMTRACE_BUF = "XENMEM_resource_vmtrace_buf",
        XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED = "XENMEM_resource_grant_table_id_shared",
        XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS = "XENMEM_resource_grant_table_id_status",
    );
    structs!(table, abi::Reservation, "struct xen_memory_reservation";
        extent_start = "extent_start",
        nr_extents = "nr_extents",
        extent_order = "extent_order",
        mem_flags = "mem_flags",
        domid = "domid",
    );
    structs!(table, abi::Exchange, "struct xen_memory_exchange";
        in_ = "in",
        out = "out",
        nr_exchanged = "nr_exchanged",
    );
    structs!(table, abi::MemoryDomain, "struct xen_memory_domain";
        domid = "domid",
    );
    structs!(table, abi::MachphysMfnList, "struct xen_machphys_mfn_list";
        max_extents = "max_extents",
        extent_start = "extent_start",
        nr_extents = "nr_extents",
    );
    structs!(table, abi::MachphysMapping, "struct xen_machphys_mapping";
        v_start = "v_start",
        v_end = "v_end",
        max_mfn = "max_mfn",
    );
    structs!(table, abi::AddToPhysmap, "struct xen_add_to_physmap";
        domid = "domid",
        size = "size",
        space = "space",
        idx = "idx",
        gpfn = "gpfn",
    );
    structs!(table, abi::AddToPhysmapBatch, "struct xen_add_to_physmap_batch";
        domid = "domid",
        space = "space",
        size = "size",
        foreign_domid = "u.foreign_domid",
        idxs = "idxs",
        gpfns = "gpfns",
        errs = "errs",
    );
    structs!(table, abi::RemoveFromPhysmap, "struct xen_remove_from_physmap";
        domid = "domid",
        gpfn = "gpfn",
    );
    structs!(table, abi::MemoryMap, "struct xen_memory_map";
        nr_entries = "nr_entries",
        buffer = "buffer",
    );
    structs!(table, abi::ForeignMemoryMap, "struct xen_foreign_memory_map";
        domid = "domid",
        map = "map",
    );
    structs!(table, abi::PodTarget, "struct xen_pod_target";
        target_pages = "target_pages",
        tot_pages = "tot_pages",
        pod_cache_pages = "pod_cache_pages",
        pod_entries = "pod_entries",
        domid = "domid",
    );
    structs!(table, abi::ReservedDeviceMemory, "struct xen_reserved_device_memory";
        start_pfn = "start_pfn",
        nr_pages = "nr_pages",
    );
    structs!(table, abi::ReservedDeviceMemoryMap, "struct xen_reserved_device_memory_map";
        flags = "flags",
        nr_entries = "nr_entries",
        buffer = "buffer",
        dev = "dev.pci",
    );
    structs!(table, abi::AcquireResource, "struct xen_mem_acquire_resource";
        domid = "domid",
        type_ = "type",
        id = "id",
        nr_frames = "nr_frames",
        pad = "pad",
        frame = "frame",
        frame_list = "frame_list",
    );
    structs!(table, abi::Vmemrange, "struct xen_vmemrange";
        start = "start",
        end = "end",
        flags = "flags",
        nid = "nid",
    );
    structs!(table, abi::VnumaTopologyInfo, "struct xen_vnuma_topology_info";
        domid = "domid",
        pad = "pad",
        nr_vnodes = "nr_vnodes",
        nr_vcpus = "nr_vcpus",
        nr_vmemranges = "nr_vmemranges",
        vdistance = "vdistance",
        vcpu_to_vnode = "vcpu_to_vnode",
        vmemrange = "vmemrange",
    );
}
