//! What the C headers must say about `oxen_abi::grant_table`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::grant_table as abi;
    constants!(table, abi;
        GNTTABOP_MAP_GRANT_REF = "GNTTABOP_map_grant_ref",
        GNTTABOP_UNMAP_GRANT_REF = "GNTTABOP_unmap_grant_ref",
        GNTTABOP_SETUP_TABLE = "GNTTABOP_setup_table",
        GNTTABOP_DUMP_TABLE = "GNTTABOP_dump_table",
        GNTTABOP_TRANSFER = "GNTTABOP_transfer",
        GNTTABOP_COPY = "GNTTABOP_copy",
        GNTTABOP_QUERY_SIZE = "GNTTABOP_query_size",
        GNTTABOP_UNMAP_AND_REPLACE = "GNTTABOP_unmap_and_replace",
        GNTTABOP_SET_VERSION = "GNTTABOP_set_version",
        GNTTABOP_GET_STATUS_FRAMES = "GNTTABOP_get_status_frames",
        GNTTABOP_GET_VERSION = "GNTTABOP_get_version",
        GNTTABOP_SWAP_GRANT_REF = "GNTTABOP_swap_grant_ref",
        GNTTABOP_CACHE_FLUSH = "GNTTABOP_cache_flush",
        GNTTAB_NR_RESERVED_ENTRIES = "GNTTAB_NR_RESERVED_ENTRIES",
        GNTTAB_RESERVED_CONSOLE = "GNTTAB_RESERVED_CONSOLE",
        GNTTAB_RESERVED_XENSTORE = "GNTTAB_RESERVED_XENSTORE",
        GTF_INVALID = "GTF_invalid",
        GTF_PERMIT_ACCESS = "GTF_permit_access",
        GTF_ACCEPT_TRANSFER = "GTF_accept_transfer",
        GTF_TRANSITIVE = "GTF_transitive",
        GTF_TYPE_MASK = "GTF_type_mask",
        GTF_READONLY = "GTF_readonly",
        GTF_READING = "GTF_reading",
        GTF_WRITING = "GTF_writing",
        GTF_PWT = "GTF_PWT",
        GTF_PCD = "GTF_PCD",
        GTF_PAT = "GTF_PAT",
        GTF_SUB_PAGE = "GTF_sub_page",
        GTF_TRANSFER_COMMITTED = "GTF_transfer_committed",
        GTF_TRANSFER_COMPLETED = "GTF_transfer_completed",
        GNTMAP_DEVICE_MAP = "GNTMAP_device_map",
        GNTMAP_HOST_MAP = "GNTMAP_host_map",
        GNTMAP_READONLY = "GNTMAP_readonly",
        GNTMAP_APPLICATION_MAP = "GNTMAP_application_map",
        GNTMAP_CONTAINS_PTE = "GNTMAP_contains_pte",
        GNTMAP_GUEST_AVAIL_MASK = "GNTMAP_guest_avail_mask",
        GNTST_OKAY = "GNTST_okay",
        GNTST_GENERAL_ERROR = "GNTST_general_error",
        GNTST_BAD_DOMAIN = "GNTST_bad_domain",
        GNTST_BAD_GNTREF = "GNTST_bad_gntref",
        GNTST_BAD_HANDLE = "GNTST_bad_handle",
        GNTST_BAD_VIRT_ADDR = "GNTST_bad_virt_addr",
        GNTST_BAD_DEV_ADDR = "GNTST_bad_dev_addr",
        GNTST_NO_DEVICE_SPACE = "GNTST_no_device_space",
        GNTST_PERMISSION_DENIED = "GNTST_permission_denied",
        GNTST_BAD_PAGE = "GNTST_bad_page",
        GNTST_BAD_COPY_ARG = "GNTST_bad_copy_arg",
        GNTST_ADDRESS_TOO_BIG = "GNTST_address_too_big",
        GNTST_EAGAIN = "GNTST_eagain",
        GNTST_NO_SPACE = "GNTST_no_space",
        GNTCOPY_SOURCE_GREF = "GNTCOPY_source_gref",
        GNTCOPY_DEST_GREF = "GNTCOPY_dest_gref",
        GNTTAB_CACHE_CLEAN = "GNTTAB_CACHE_CLEAN",
        GNTTAB_CACHE_INVAL = "GNTTAB_CACHE_INVAL",
        GNTTAB_CACHE_SOURCE_GREF = "GNTTAB_CACHE_SOURCE_GREF",
    );
    structs!(table, abi::GrantEntryV1, "struct grant_entry_v1";
        flags = "flags",
        domid = "domid",
        frame = "frame",
    );
    structs!(table, abi::GrantEntryHeader, "struct grant_entry_header";
        flags = "flags",
        domid = "domid",
    );
    structs!(table, abi::GrantEntryV2FullPage, "__typeof__(((union grant_entry_v2*)0)->full_page)";
        hdr = "hdr",
        pad0 = "pad0",
        frame = "frame",
    );
    structs!(table, abi::GrantEntryV2SubPage, "__typeof__(((union grant_entry_v2*)0)->sub_page)";
        hdr = "hdr",
        page_off = "page_off",
        length = "length",
        frame = "frame",
    );
    structs!(table, abi::GrantEntryV2Transitive, "__typeof__(((union grant_entry_v2*)0)->transitive)";
        hdr = "hdr",
        trans_domid = "trans_domid",
        pad0 = "pad0",
        gref = "gref",
    );
    structs!(table, abi::MapGrantRef, "struct gnttab_map_grant_ref";
        host_addr = "host_addr",
        flags = "flags",
        ref_ = "ref",
        dom = "dom",
        status = "status",
        handle = "handle",
        dev_bus_addr = "dev_bus_addr",
    );
    structs!(table, abi::UnmapGrantRef, "struct gnttab_unmap_grant_ref";
        host_addr = "host_addr",
        dev_bus_addr = "dev_bus_addr",
        handle = "handle",
        status = "status",
    );
    structs!(table, abi::SetupTable, "struct gnttab_setup_table";
        dom = "dom",
        nr_frames = "nr_frames",
        status = "status",
        frame_list = "frame_list",
    );
    structs!(table, abi::DumpTable, "struct gnttab_dump_table";
        dom = "dom",
        status = "status",
    );
    structs!(table, abi::Transfer, "struct gnttab_transfer";
        mfn = "mfn",
        domid = "domid",
        ref_ = "ref",
        status = "status",
    );
    structs!(table, abi::CopyPtr, "struct gnttab_copy_ptr";
        u = "u",
        domid = "domid",
        offset = "offset",
    );
    structs!(table, abi::Copy, "struct gnttab_copy";
        source = "source",
        dest = "dest",
        len = "len",
        flags = "flags",
        status = "status",
    );
    structs!(table, abi::QuerySize, "struct gnttab_query_size";
        dom = "dom",
        nr_frames = "nr_frames",
        max_nr_frames = "max_nr_frames",
        status = "status",
    );
    structs!(table, abi::UnmapAndReplace, "struct gnttab_unmap_and_replace";
        host_addr = "host_addr",
        new_addr = "new_addr",
        handle = "handle",
        status = "status",
    );
    structs!(table, abi::SetVersion, "struct gnttab_set_version";
        version = "version",
    );
    structs!(table, abi::GetStatusFrames, "struct gnttab_get_status_frames";
        nr_frames = "nr_frames",
        dom = "dom",
        status = "status",
        frame_list = "frame_list",
    );
    structs!(table, abi::GetVersion, "struct gnttab_get_version";
        dom = "dom",
        pad = "pad",
        version = "version",
    );
    structs!(table, abi::SwapGrantRef, "struct gnttab_swap_grant_ref";
        ref_a = "ref_a",
        ref_b = "ref_b",
        status = "status",
    );
    structs!(table, abi::CacheFlush, "struct gnttab_cache_flush";
        a = "a",
        offset = "offset",
        length = "length",
        op = "op",
    );
}
