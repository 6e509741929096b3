//! Guest-kernel and guest-user mode: two address spaces and two GS bases, both in ring 3.

use crate::error::Stop;
use crate::machine::Machine;
use crate::mm::shadow;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

/// Switches the running vCPU from user to kernel mode.
pub fn enter_kernel<M: Machine>(cx: &Cx<'_, M>) -> Result<(), Stop> {
    to_kernel(cx).map(|_| ())
}

/// Switches the running vCPU from kernel to user mode.
pub fn enter_user<M: Machine>(cx: &Cx<'_, M>) -> Result<(), Stop> {
    let root = cx.vcpu.arch.lock().user_root;
    if root.is_none() {
        return Err(Stop::Crash(
            "the guest goes to user mode without a page table for it",
        ));
    }
    cx.machine().swap_gs();
    shadow::load_root(cx.cpu, cx.domain(), root);
    cx.vcpu.kernel_mode.store(false, Ordering::Relaxed);
    Ok(())
}

/// As [`enter_kernel`]; returns the kernel's stack pointer.
pub(super) fn to_kernel<M: Machine>(cx: &Cx<'_, M>) -> Result<u64, Stop> {
    let (root, stack) = {
        let arch = cx.vcpu.arch.lock();
        (arch.kernel_root, arch.traps.kernel_sp)
    };
    if root.is_none() {
        return Err(Stop::Crash("the guest's kernel has no page table"));
    }
    cx.machine().swap_gs();
    shadow::load_root(cx.cpu, cx.domain(), root);
    cx.vcpu.kernel_mode.store(true, Ordering::Relaxed);
    if cx.vcpu.time.is_stale() {
        crate::time::refresh(cx.hv, cx.vcpu);
    }
    Ok(stack)
}
