//! What the C headers must say about `oxen_abi::version`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::version as abi;
    constants!(table, abi;
        XENVER_VERSION = "XENVER_version",
        XENVER_EXTRAVERSION = "XENVER_extraversion",
        XENVER_COMPILE_INFO = "XENVER_compile_info",
        XENVER_CAPABILITIES = "XENVER_capabilities",
        XENVER_CHANGESET = "XENVER_changeset",
        XENVER_PLATFORM_PARAMETERS = "XENVER_platform_parameters",
        XENVER_GET_FEATURES = "XENVER_get_features",
        XENVER_PAGESIZE = "XENVER_pagesize",
        XENVER_GUEST_HANDLE = "XENVER_guest_handle",
        XENVER_COMMANDLINE = "XENVER_commandline",
        XENVER_BUILD_ID = "XENVER_build_id",
        XEN_EXTRAVERSION_LEN = "XEN_EXTRAVERSION_LEN",
        XEN_CAPABILITIES_INFO_LEN = "XEN_CAPABILITIES_INFO_LEN",
        XEN_CHANGESET_INFO_LEN = "XEN_CHANGESET_INFO_LEN",
        XEN_COMMANDLINE_LEN = "sizeof(xen_commandline_t)",
    );
    structs!(table, abi::CompileInfo, "struct xen_compile_info";
        compiler = "compiler",
        compile_by = "compile_by",
        compile_domain = "compile_domain",
        compile_date = "compile_date",
    );
    structs!(table, abi::PlatformParameters, "struct xen_platform_parameters";
        virt_start = "virt_start",
    );
    structs!(table, abi::FeatureInfo, "struct xen_feature_info";
        submap_idx = "submap_idx",
        submap = "submap",
    );
}
