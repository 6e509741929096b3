//! Segment registers: `HYPERVISOR_set_segment_base`, and their part of a context switch.

use oxen_abi::arch_x86::{
    CpuUserRegs, SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER, SEGBASE_GS_USER_SEL,
};
use oxen_abi::errno::Errno;

use super::iret::segments_refused;
use crate::error::{HcResult, Stop};
use crate::machine::{Base, Machine, SegmentState};
use crate::mm::descriptor;
use crate::mm::walk::is_canonical;
use crate::percpu::Cx;

/// Sets a segment base, or loads user mode's GS selector. The caller is in kernel mode, so its own
/// GS base is the live one and user mode's the shadow.
#[inline(never)]
pub fn set_segment_base<M: Machine>(cx: &Cx<'_, M>, which: u64, value: u64) -> HcResult {
    let base = match u32::try_from(which).map_err(|_| Errno::EINVAL)? {
        SEGBASE_FS => Base::Fs,
        SEGBASE_GS_USER => Base::GsShadow,
        SEGBASE_GS_KERNEL => Base::Gs,
        SEGBASE_GS_USER_SEL => {
            // A selector that the processor refuses is loaded as null, and that is no error.
            let selector = u16::try_from(value & 0xffff).map_err(|_| Errno::EINVAL)?;
            map_descriptor(cx, selector);
            cx.machine().load_user_gs(selector);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    if !is_canonical(value) {
        return Err(Errno::EINVAL.into());
    }
    cx.machine().set_base(base, value);
    Ok(0)
}

/// A selector's table indicator: it is one of the LDT.
const IN_LDT: u16 = 4;

/// Makes sure that a selector's descriptor is in the machine's LDT window, if it is one of the LDT:
/// loading it faults otherwise.
fn map_descriptor<M: Machine>(cx: &Cx<'_, M>, selector: u16) {
    if selector & IN_LDT != 0 {
        // Where the guest has no such page the load fails, and that is reported there.
        let _ = descriptor::fault_in_ldt(cx, u64::from(selector & !7));
    }
}

/// Loads the segment registers of the vCPU that runs from now on. Its address space and its
/// descriptor tables are loaded already. Selectors that its tables no longer have are the guest's
/// to mend, in its failsafe callback.
pub(crate) fn load_segments<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    segments: &SegmentState,
) -> Result<(), Stop> {
    for selector in [segments.ds, segments.es, segments.fs, segments.gs] {
        map_descriptor(cx, selector);
    }
    if cx.machine().load_segments(segments) {
        return Ok(());
    }
    segments_refused(cx, regs, segments)
}
