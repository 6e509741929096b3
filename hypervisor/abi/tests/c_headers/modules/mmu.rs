//! What the C headers must say about `oxen_abi::mmu`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::mmu as abi;
    constants!(table, abi;
        MMU_NORMAL_PT_UPDATE = "MMU_NORMAL_PT_UPDATE",
        MMU_MACHPHYS_UPDATE = "MMU_MACHPHYS_UPDATE",
        MMU_PT_UPDATE_PRESERVE_AD = "MMU_PT_UPDATE_PRESERVE_AD",
        MMU_PT_UPDATE_NO_TRANSLATE = "MMU_PT_UPDATE_NO_TRANSLATE",
        MMUEXT_PIN_L1_TABLE = "MMUEXT_PIN_L1_TABLE",
        MMUEXT_PIN_L2_TABLE = "MMUEXT_PIN_L2_TABLE",
        MMUEXT_PIN_L3_TABLE = "MMUEXT_PIN_L3_TABLE",
        MMUEXT_PIN_L4_TABLE = "MMUEXT_PIN_L4_TABLE",
        MMUEXT_UNPIN_TABLE = "MMUEXT_UNPIN_TABLE",
        MMUEXT_NEW_BASEPTR = "MMUEXT_NEW_BASEPTR",
        MMUEXT_TLB_FLUSH_LOCAL = "MMUEXT_TLB_FLUSH_LOCAL",
        MMUEXT_INVLPG_LOCAL = "MMUEXT_INVLPG_LOCAL",
        MMUEXT_TLB_FLUSH_MULTI = "MMUEXT_TLB_FLUSH_MULTI",
        MMUEXT_INVLPG_MULTI = "MMUEXT_INVLPG_MULTI",
        MMUEXT_TLB_FLUSH_ALL = "MMUEXT_TLB_FLUSH_ALL",
        MMUEXT_INVLPG_ALL = "MMUEXT_INVLPG_ALL",
        MMUEXT_FLUSH_CACHE = "MMUEXT_FLUSH_CACHE",
        MMUEXT_SET_LDT = "MMUEXT_SET_LDT",
        MMUEXT_NEW_USER_BASEPTR = "MMUEXT_NEW_USER_BASEPTR",
        MMUEXT_CLEAR_PAGE = "MMUEXT_CLEAR_PAGE",
        MMUEXT_COPY_PAGE = "MMUEXT_COPY_PAGE",
        MMUEXT_FLUSH_CACHE_GLOBAL = "MMUEXT_FLUSH_CACHE_GLOBAL",
        MMUEXT_MARK_SUPER = "MMUEXT_MARK_SUPER",
        MMUEXT_UNMARK_SUPER = "MMUEXT_UNMARK_SUPER",
        UVMF_NONE = "UVMF_NONE",
        UVMF_TLB_FLUSH = "UVMF_TLB_FLUSH",
        UVMF_INVLPG = "UVMF_INVLPG",
        UVMF_FLUSHTYPE_MASK = "UVMF_FLUSHTYPE_MASK",
        UVMF_MULTI = "UVMF_MULTI",
        UVMF_LOCAL = "UVMF_LOCAL",
        UVMF_ALL = "UVMF_ALL",
    );
    structs!(table, abi::MmuUpdate, "struct mmu_update";
        ptr = "ptr",
        val = "val",
    );
    structs!(table, abi::MmuextOp, "struct mmuext_op";
        cmd = "cmd",
        arg1 = "arg1",
        arg2 = "arg2",
    );
}
