//! Page faults: which are the hypervisor's to mend, and how the others look to the guest.

use oxen_abi::arch_x86::CpuUserRegs;

use super::bounce::inject;
use crate::error::Stop;
use crate::event;
use crate::irq::read_only_write;
use crate::machine::Machine;
use crate::mm::{descriptor, pte, ptwr, shadow, walk};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::Mfn;

const PAGE_FAULT: u8 = 14;
/// Error code: the page was present, so the access was not allowed.
const PRESENT: u32 = 1 << 0;
/// Error code: a write.
const WRITE: u32 = 1 << 1;
/// Error code: from CPL 3.
const USER: u32 = 1 << 2;
/// Error code: a reserved bit was set.
const RESERVED: u32 = 1 << 3;
/// Error code: an instruction fetch.
const FETCH: u32 = 1 << 4;
/// Error code: protection key.
const KEY: u32 = 1 << 5;

/// Mends a page fault, or hands it to the guest.
pub(super) fn page_fault<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    error: u32,
    addr: u64,
) -> Result<(), Stop> {
    let kernel_mode = cx.vcpu.kernel_mode.load(Ordering::Relaxed);
    if let Some(offset) = cx.machine().ldt_offset(addr) {
        // The processor looked a selector up in the LDT window.
        if descriptor::fault_in_ldt(cx, offset) {
            return Ok(());
        }
        let base = cx.vcpu.arch.lock().ldt.0;
        return deliver(
            cx,
            regs,
            error & !(PRESENT | USER),
            base.wrapping_add(offset),
        );
    }
    let mut error = error;
    if !walk::is_hypervisor(addr) {
        if cx.domain().memory.shadow.is_on() {
            match shadowed(cx, kernel_mode, error, addr) {
                Some(own) => error = own,
                None => return Ok(()),
            }
        }
        if kernel_mode
            && error & (PRESENT | WRITE) == PRESENT | WRITE
            && (ptwr::write_fault(cx, regs, addr) || read_only_write(cx, regs, addr))
        {
            return Ok(());
        }
        if is_spurious(cx, kernel_mode, error, addr) {
            return Ok(());
        }
    }
    deliver(cx, regs, error, addr)
}

/// A fault of a guest that runs on copies of its page tables: mends the copies if its own tables allow the access. If
/// they don't, returns the error code that they would have led to.
#[cold]
#[inline(never)]
fn shadowed<M: Machine>(cx: &Cx<'_, M>, kernel_mode: bool, error: u32, addr: u64) -> Option<u32> {
    let Some(root) = root(cx, kernel_mode) else {
        return Some(error);
    };
    let access = shadow::Access {
        write: error & WRITE != 0,
        fetch: error & FETCH != 0,
    };
    if error & KEY == 0 && shadow::fault(cx.cpu, cx.domain(), root, addr, access) {
        return None;
    }
    let present = walk::translate(cx.machine(), root, addr).is_some();
    Some(error & !PRESENT | if present { PRESENT } else { 0 })
}

/// The page table that the vCPU runs on.
#[inline]
fn root<M: Machine>(cx: &Cx<'_, M>, kernel_mode: bool) -> Option<Mfn> {
    let arch = cx.vcpu.arch.lock();
    if kernel_mode {
        arch.kernel_root
    } else {
        arch.user_root
    }
}

/// Whether the page tables allow the access by now: the TLB was out of date, or another CPU has just
/// changed them. The processor has forgotten its translation with the fault.
#[inline]
fn is_spurious<M: Machine>(cx: &Cx<'_, M>, kernel_mode: bool, error: u32, addr: u64) -> bool {
    // Nothing is remembered of a page that was not there.
    if error & (RESERVED | KEY) != 0 || error & PRESENT == 0 {
        return false;
    }
    let root = root(cx, kernel_mode);
    let Some((_, rights)) = root.and_then(|root| walk::translate(cx.machine(), root, addr)) else {
        return false;
    };
    allows(rights, error)
}

/// Whether an access that faulted with `error` fits a translation's rights (RW, USER, NX).
fn allows(rights: u64, error: u32) -> bool {
    rights & pte::USER != 0
        && (error & WRITE == 0 || rights & pte::RW != 0)
        && (error & FETCH == 0 || rights & pte::NX == 0)
}

/// A page fault at an address that an emulated instruction could not use.
pub(super) fn of_emulation<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    addr: u64,
    write: bool,
) -> Result<(), Stop> {
    let root = root(cx, cx.vcpu.kernel_mode.load(Ordering::Relaxed));
    let present = root.is_some_and(|root| walk::translate(cx.machine(), root, addr).is_some());
    let error = if present { PRESENT } else { 0 } | if write { WRITE } else { 0 };
    deliver(cx, regs, error, addr)
}

/// Hands a page fault to the guest. Its kernel runs in ring 3 too, which the error code must not
/// show.
fn deliver<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    error: u32,
    addr: u64,
) -> Result<(), Stop> {
    let kernel_mode = cx.vcpu.kernel_mode.load(Ordering::Relaxed);
    if let Some(info) = event::current_info(cx) {
        info.set_cr2(addr);
    }
    inject(cx, regs, PAGE_FAULT, Some(shown_error(error, kernel_mode)))
}

/// The error code as the guest sees it.
pub(super) const fn shown_error(error: u32, kernel_mode: bool) -> u32 {
    let rest = error & (PRESENT | WRITE | RESERVED | FETCH | KEY);
    if kernel_mode { rest } else { rest | USER }
}

#[cfg(test)]
mod tests {
    use super::{FETCH, PRESENT, USER, WRITE, allows, shown_error};
    use crate::mm::pte;

    #[test]
    fn a_kernels_fault_is_not_a_users() {
        assert_eq!(shown_error(PRESENT | WRITE | USER, true), PRESENT | WRITE);
        assert_eq!(shown_error(FETCH, false), FETCH | USER);
    }

    #[test]
    fn rights_are_compared_with_the_access() {
        assert!(allows(pte::USER, PRESENT));
        assert!(!allows(pte::USER, PRESENT | WRITE));
        assert!(allows(pte::USER | pte::RW, WRITE));
        assert!(!allows(pte::USER | pte::RW | pte::NX, FETCH));
        assert!(!allows(pte::RW, PRESENT));
    }
}
