//! The registers of vCPU 0 at the start.

use oxen_abi::arch_x86::{
    FLAT_KERNEL_CS, FLAT_KERNEL_DS, FLAT_KERNEL_SS, VGCF_IN_KERNEL, VGCF_ONLINE, VcpuGuestContext,
};
use zerocopy::FromZeros;

use crate::PAGE_SIZE;
use crate::layout::Layout;

/// Interrupts on; the hypervisor keeps events masked through shared_info until the kernel is ready.
const RFLAGS_IF: u64 = 1 << 9;
/// DR6 and DR7 after a reset (Intel SDM, volume 3, 18.2).
const DR6: u64 = 0xffff_0ff0;
const DR7: u64 = 0x400;

/// The context: the kernel's entry point, start_info in RSI, a stack, and the L4 at machine frame `l4`.
pub(crate) fn context(layout: &Layout, entry: u64, l4: u64) -> VcpuGuestContext {
    let mut context = VcpuGuestContext::new_zeroed();
    context.flags = VGCF_IN_KERNEL | VGCF_ONLINE;
    let regs = &mut context.user_regs;
    regs.rip = entry;
    regs.rsi = layout.address(layout.start_info);
    regs.rsp = layout.address(layout.stack).wrapping_add(PAGE_SIZE);
    regs.rflags = RFLAGS_IF;
    regs.cs = FLAT_KERNEL_CS;
    regs.ss = FLAT_KERNEL_SS;
    for selector in [&mut regs.ds, &mut regs.es, &mut regs.fs, &mut regs.gs] {
        *selector = FLAT_KERNEL_DS;
    }
    context.kernel_ss = u64::from(FLAT_KERNEL_SS);
    context.kernel_sp = regs.rsp;
    context.ctrlreg[3] = l4 * PAGE_SIZE;
    context.debugreg[6] = DR6;
    context.debugreg[7] = DR7;
    context
}
