//! What the C headers must say about `oxen_abi::domctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::domctl as abi;
    constants!(table, abi;
        XEN_DOMCTL_CDF_HVM = "XEN_DOMCTL_CDF_hvm",
        XEN_DOMCTL_CDF_HAP = "XEN_DOMCTL_CDF_hap",
        XEN_DOMCTL_CDF_S3_INTEGRITY = "XEN_DOMCTL_CDF_s3_integrity",
        XEN_DOMCTL_CDF_OOS_OFF = "XEN_DOMCTL_CDF_oos_off",
        XEN_DOMCTL_CDF_XS_DOMAIN = "XEN_DOMCTL_CDF_xs_domain",
        XEN_DOMCTL_CDF_IOMMU = "XEN_DOMCTL_CDF_iommu",
        XEN_DOMCTL_CDF_NESTED_VIRT = "XEN_DOMCTL_CDF_nested_virt",
        XEN_DOMCTL_CDF_VPMU = "XEN_DOMCTL_CDF_vpmu",
        XEN_DOMCTL_CDF_MAX = "XEN_DOMCTL_CDF_MAX",
        XEN_DOMCTL_IOMMU_NO_SHAREPT = "XEN_DOMCTL_IOMMU_no_sharept",
        XEN_DOMCTL_GRANT_VERSION_MASK = "XEN_DOMCTL_GRANT_version_mask",
        XEN_DOMINF_DYING = "XEN_DOMINF_dying",
        XEN_DOMINF_HVM_GUEST = "XEN_DOMINF_hvm_guest",
        XEN_DOMINF_SHUTDOWN = "XEN_DOMINF_shutdown",
        XEN_DOMINF_PAUSED = "XEN_DOMINF_paused",
        XEN_DOMINF_BLOCKED = "XEN_DOMINF_blocked",
        XEN_DOMINF_RUNNING = "XEN_DOMINF_running",
        XEN_DOMINF_DEBUGGED = "XEN_DOMINF_debugged",
        XEN_DOMINF_XS_DOMAIN = "XEN_DOMINF_xs_domain",
        XEN_DOMINF_HAP = "XEN_DOMINF_hap",
        XEN_DOMINF_SHUTDOWNMASK = "XEN_DOMINF_shutdownmask",
        XEN_INVALID_MAX_VCPU_ID = "XEN_INVALID_MAX_VCPU_ID",
        XEN_DOMINF_SHUTDOWNSHIFT = "XEN_DOMINF_shutdownshift",
    );
    structs!(table, abi::CreateDomain, "struct xen_domctl_createdomain";
        ssidref = "ssidref",
        handle = "handle",
        flags = "flags",
        iommu_opts = "iommu_opts",
        max_vcpus = "max_vcpus",
        max_evtchn_port = "max_evtchn_port",
        max_grant_frames = "max_grant_frames",
        max_maptrack_frames = "max_maptrack_frames",
        grant_opts = "grant_opts",
        vmtrace_size = "vmtrace_size",
        cpupool_id = "cpupool_id",
        arch = "arch",
    );
    structs!(table, abi::GetDomainInfo, "struct xen_domctl_getdomaininfo";
        domain = "domain",
        pad1 = "pad1",
        flags = "flags",
        tot_pages = "tot_pages",
        max_pages = "max_pages",
        outstanding_pages = "outstanding_pages",
        shr_pages = "shr_pages",
        paged_pages = "paged_pages",
        shared_info_frame = "shared_info_frame",
        cpu_time = "cpu_time",
        nr_online_vcpus = "nr_online_vcpus",
        max_vcpu_id = "max_vcpu_id",
        ssidref = "ssidref",
        handle = "handle",
        cpupool = "cpupool",
        gpaddr_bits = "gpaddr_bits",
        pad2 = "pad2",
        arch_config = "arch_config",
    );
    structs!(table, abi::SetDomainHandle, "struct xen_domctl_setdomainhandle";
        handle = "handle",
    );
    structs!(table, abi::SetDebugging, "struct xen_domctl_setdebugging";
        enable = "enable",
    );
    structs!(table, abi::HypercallInit, "struct xen_domctl_hypercall_init";
        gmfn = "gmfn",
    );
    structs!(table, abi::SetTimeOffset, "struct xen_domctl_settimeoffset";
        time_offset_seconds = "time_offset_seconds",
    );
    structs!(table, abi::SetTarget, "struct xen_domctl_set_target";
        target = "target",
    );
    structs!(table, abi::SetVirqHandler, "struct xen_domctl_set_virq_handler";
        virq = "virq",
    );
}
