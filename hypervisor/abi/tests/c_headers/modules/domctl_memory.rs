//! What the C headers must say about `oxen_abi::domctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::domctl as abi;
    constants!(table, abi;
        XEN_DOMCTL_PFINFO_NOTAB = "XEN_DOMCTL_PFINFO_NOTAB",
        XEN_DOMCTL_PFINFO_L1TAB = "XEN_DOMCTL_PFINFO_L1TAB",
        XEN_DOMCTL_PFINFO_L2TAB = "XEN_DOMCTL_PFINFO_L2TAB",
        XEN_DOMCTL_PFINFO_L3TAB = "XEN_DOMCTL_PFINFO_L3TAB",
        XEN_DOMCTL_PFINFO_L4TAB = "XEN_DOMCTL_PFINFO_L4TAB",
        XEN_DOMCTL_PFINFO_LTABTYPE_MASK = "XEN_DOMCTL_PFINFO_LTABTYPE_MASK",
        XEN_DOMCTL_PFINFO_LPINTAB = "XEN_DOMCTL_PFINFO_LPINTAB",
        XEN_DOMCTL_PFINFO_XTAB = "XEN_DOMCTL_PFINFO_XTAB",
        XEN_DOMCTL_PFINFO_XALLOC = "XEN_DOMCTL_PFINFO_XALLOC",
        XEN_DOMCTL_PFINFO_BROKEN = "XEN_DOMCTL_PFINFO_BROKEN",
        XEN_DOMCTL_PFINFO_LTAB_MASK = "XEN_DOMCTL_PFINFO_LTAB_MASK",
        XEN_DOMCTL_PFINFO_LTAB_SHIFT = "XEN_DOMCTL_PFINFO_LTAB_SHIFT",
        XEN_DOMCTL_SHADOW_OP_OFF = "XEN_DOMCTL_SHADOW_OP_OFF",
        XEN_DOMCTL_SHADOW_OP_ENABLE = "XEN_DOMCTL_SHADOW_OP_ENABLE",
        XEN_DOMCTL_SHADOW_OP_CLEAN = "XEN_DOMCTL_SHADOW_OP_CLEAN",
        XEN_DOMCTL_SHADOW_OP_PEEK = "XEN_DOMCTL_SHADOW_OP_PEEK",
        XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION = "XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION",
        XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION = "XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION",
        XEN_DOMCTL_SHADOW_OP_ENABLE_TEST = "XEN_DOMCTL_SHADOW_OP_ENABLE_TEST",
        XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY = "XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY",
        XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT = "XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT",
        XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY = "XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY",
        XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE = "XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE",
        XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL = "XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL",
        XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL = "XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL",
    );
    structs!(table, abi::MaxMem, "struct xen_domctl_max_mem";
        max_memkb = "max_memkb",
    );
    structs!(table, abi::AddressSize, "struct xen_domctl_address_size";
        size = "size",
    );
    structs!(table, abi::GetPageFrameInfo3, "struct xen_domctl_getpageframeinfo3";
        num = "num",
        array = "array",
    );
    structs!(table, abi::ShadowOpStats, "struct xen_domctl_shadow_op_stats";
        fault_count = "fault_count",
        dirty_count = "dirty_count",
    );
    structs!(table, abi::ShadowOp, "struct xen_domctl_shadow_op";
        op = "op",
        mode = "mode",
        mb = "mb",
        dirty_bitmap = "dirty_bitmap",
        pages = "pages",
        stats = "stats",
    );
    structs!(table, abi::NodeAffinity, "struct xen_domctl_nodeaffinity";
        nodemap = "nodemap",
    );
    structs!(table, abi::PagingMempool, "struct xen_domctl_paging_mempool";
        size = "size",
    );
    structs!(table, abi::Vnuma, "struct xen_domctl_vnuma";
        nr_vnodes = "nr_vnodes",
        nr_vmemranges = "nr_vmemranges",
        nr_vcpus = "nr_vcpus",
        pad = "pad",
        vdistance = "vdistance",
        vcpu_to_vnode = "vcpu_to_vnode",
        vnode_to_pnode = "vnode_to_pnode",
        vmemrange = "vmemrange",
    );
}
