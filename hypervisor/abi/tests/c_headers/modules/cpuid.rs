//! What the C headers must say about `oxen_abi::cpuid`.

use crate::table::{Table, constants};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::cpuid as abi;
    constants!(table, abi;
        XEN_CPUID_FIRST_LEAF = "XEN_CPUID_FIRST_LEAF",
        XEN_CPUID_SIGNATURE_EBX = "XEN_CPUID_SIGNATURE_EBX",
        XEN_CPUID_SIGNATURE_ECX = "XEN_CPUID_SIGNATURE_ECX",
        XEN_CPUID_SIGNATURE_EDX = "XEN_CPUID_SIGNATURE_EDX",
        XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD = "XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD",
        XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK = "XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK",
        XEN_CPUID_MAX_NUM_LEAVES = "XEN_CPUID_MAX_NUM_LEAVES",
    );
}
