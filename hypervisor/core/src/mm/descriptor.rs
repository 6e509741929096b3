//! Descriptor tables: what a guest may put into its GDT and LDT, and the hypercalls about them.

use oxen_abi::arch_x86::FIRST_RESERVED_GDT_ENTRY;
use oxen_abi::errno::Errno;

use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::types::MmError;
use crate::mm::{pte, types, walk};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::Mfn;
use crate::vcpu::{Arch, Vcpu};

const PRESENT: u64 = 1 << 47;
const DPL: u64 = 3 << 45;
const NOT_SYSTEM: u64 = 1 << 44;
const ACCESSED: u64 = 1 << 40;
const CODE: u64 = 1 << 43;
const CONFORMING: u64 = 1 << 42;
const LONG: u64 = 1 << 53;
const DEFAULT_SIZE: u64 = 1 << 54;

/// What becomes of a guest's descriptor: itself or the same with a fixed privilege level, or
/// `None` if it is not to be had. Not-present ones pass: loading them faults.
///
/// Code and data segments get DPL 3 and are marked accessed, so that the processor never writes
/// to the table. Gates and system segments are refused, as are conforming code segments that
/// would keep the hypervisor's privilege, and code segments that are both long and 32-bit
/// (AMD64 APM vol. 2, 4.7 and 4.8).
pub fn check(descriptor: u64) -> Option<u64> {
    if descriptor & PRESENT == 0 {
        return Some(descriptor);
    }
    if descriptor & NOT_SYSTEM == 0 {
        // An all-zero type with a present bit is still a system descriptor.
        return None;
    }
    if descriptor & CODE != 0 {
        if descriptor & CONFORMING != 0 || descriptor & (LONG | DEFAULT_SIZE) == LONG | DEFAULT_SIZE
        {
            return None;
        }
    } else if descriptor & LONG != 0 {
        return None;
    }
    Some(descriptor | DPL | ACCESSED)
}

/// `HYPERVISOR_set_gdt`: `frames` is an array of frame numbers, `entries` the length of the GDT.
#[inline(never)]
pub fn set_gdt<M: Machine>(cx: &Cx<'_, M>, frames: GuestHandle<u64>, entries: u64) -> HcResult {
    if entries > u64::from(FIRST_RESERVED_GDT_ENTRY) {
        return Err(Errno::EINVAL.into());
    }
    let count = usize::try_from(entries.div_ceil(512)).map_err(|_| Errno::EINVAL)?;
    let mut taken: [Option<Mfn>; 14] = [None; 14];
    let outcome = (0..count).try_for_each(|n| -> Result<(), MmError> {
        let mfn = Mfn(frames.read_at(cx.machine(), n as u64)?);
        take_page(cx, mfn)?;
        if let Some(slot) = taken.get_mut(n) {
            *slot = Some(mfn);
        }
        Ok(())
    });
    if outcome.is_err() {
        taken
            .into_iter()
            .flatten()
            .for_each(|mfn| drop_page(cx, mfn));
        return ended(outcome, frames.addr(), entries);
    }
    let entries = u32::try_from(entries).map_err(|_| Errno::EINVAL)?;
    let old = {
        let mut arch = cx.vcpu.arch.lock();
        let old = core::mem::replace(&mut arch.gdt, taken);
        arch.gdt_entries = entries;
        load_gdt(cx, &arch);
        old
    };
    old.into_iter().flatten().for_each(|mfn| drop_page(cx, mfn));
    Ok(0)
}

/// Maps a vCPU's GDT frames on this CPU.
pub fn load_gdt<M: Machine>(cx: &Cx<'_, M>, arch: &Arch<M>) {
    let mut frames = [Mfn::INVALID; 14];
    let mut count = 0;
    for (to, from) in frames
        .iter_mut()
        .zip(arch.gdt.iter().map_while(|frame| *frame))
    {
        *to = from;
        count += 1;
    }
    cx.machine().map_gdt(frames.get(..count).unwrap_or(&[]));
}

/// Takes a general and a descriptor-table reference on one of the caller's frames.
/// A descriptor page is validated in one go: on a restart another CPU is at it.
pub fn take_page<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn) -> Result<(), MmError> {
    types::get_held(cx.cpu, cx.domain(), mfn, PageType::Descriptors)
        .map(|_| ())
        .map_err(MmError::from)
}

/// The outcome of a hypercall with these two arguments that may have to be made again.
fn ended(outcome: Result<(), MmError>, first: u64, second: u64) -> HcResult {
    match outcome {
        Ok(()) => Ok(0),
        Err(MmError::Errno(errno)) => Err(errno.into()),
        Err(MmError::Restart) => Err(Stop::Restart([first, second, 0, 0, 0, 0])),
    }
}

fn drop_page<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn) {
    let _ = types::put_type(cx.cpu, mfn);
    crate::mm::put_page(cx.hv, mfn);
}

/// `HYPERVISOR_update_descriptor`: writes one descriptor at machine address `addr`.
#[inline(never)]
pub fn update_descriptor<M: Machine>(cx: &Cx<'_, M>, addr: u64, descriptor: u64) -> HcResult {
    let mfn = Mfn::containing(addr);
    let index = usize::try_from((addr & 0xfff) / 8).map_err(|_| Errno::EINVAL)?;
    let fixed = check(descriptor).ok_or(Errno::EINVAL)?;
    let domain = cx.domain();
    if addr & 7 != 0 || !crate::mm::get_page(cx.machine(), mfn, domain.id) {
        return Err(Errno::EINVAL.into());
    }
    let frame = cx.machine().frame(mfn).ok_or(Errno::EINVAL)?;
    // In use as descriptor table it stays one while we write; else it must be plain memory.
    let kind = match frame.types() {
        word if word.kind() == PageType::Descriptors && word.held() => PageType::Descriptors,
        _ => PageType::Writable,
    };
    let outcome = types::get_type(cx.cpu, domain, mfn, kind);
    if outcome.is_ok() {
        if let Some(entry) = cx.machine().page(mfn).and_then(|page| page.get(index)) {
            entry.store(fixed, Ordering::Release);
        }
        crate::mm::shadow::log::mark(cx.hv, domain, mfn);
        let _ = types::put_type(cx.cpu, mfn);
    }
    crate::mm::put_page(cx.hv, mfn);
    ended(outcome, addr, descriptor)
}

/// `MMUEXT_SET_LDT`: an LDT of `entries` descriptors at guest-virtual `addr`; its pages are
/// mapped when first used.
pub fn set_ldt<M: Machine>(cx: &Cx<'_, M>, addr: u64, entries: u64) -> Result<(), Errno> {
    let entries = u32::try_from(entries).map_err(|_| Errno::EINVAL)?;
    if entries > 8192 || addr & 0xfff != 0 || (entries > 0 && !is_guest_range(addr, entries)) {
        return Err(Errno::EINVAL);
    }
    let pages = {
        let mut arch = cx.vcpu.arch.lock();
        if arch.ldt == (addr, entries) && entries == 0 {
            return Ok(());
        }
        arch.ldt = (addr, entries);
        cx.machine().set_ldt(entries);
        core::mem::take(&mut arch.ldt_pages)
    };
    crate::mm::tlb::flush_local(cx.cpu);
    pages
        .into_iter()
        .flatten()
        .for_each(|mfn| drop_page(cx, mfn));
    Ok(())
}

fn is_guest_range(addr: u64, entries: u32) -> bool {
    let last = addr.saturating_add(u64::from(entries) * 8 - 1);
    walk::is_canonical(addr)
        && walk::is_canonical(last)
        && !walk::is_hypervisor(addr)
        && !walk::is_hypervisor(last)
}

/// The processor faulted on a page of this CPU's LDT window, `offset` bytes into it: maps the
/// guest's page there if it has one. `false` if the fault is the guest's own.
pub fn fault_in_ldt<M: Machine>(cx: &Cx<'_, M>, offset: u64) -> bool {
    let page = usize::try_from(offset >> 12).unwrap_or(usize::MAX);
    let (base, root) = {
        let arch = cx.vcpu.arch.lock();
        let (base, entries) = arch.ldt;
        if offset >= u64::from(entries) * 8 || arch.ldt_pages.get(page).is_none_or(Option::is_some)
        {
            return false;
        }
        (base, arch.kernel_root)
    };
    let Some(root) = root else { return false };
    let Some((entry, _)) = walk::translate(cx.machine(), root, base + ((page as u64) << 12)) else {
        return false;
    };
    let mfn = pte::frame(entry);
    match take_page(cx, mfn) {
        Ok(()) => {}
        // The guest's instruction looks the selector up again.
        Err(MmError::Restart) => return true,
        Err(MmError::Errno(_)) => return false,
    }
    let mut arch = cx.vcpu.arch.lock();
    if let Some(slot) = arch.ldt_pages.get_mut(page) {
        *slot = Some(mfn);
        cx.machine().map_ldt_page(page, mfn);
        return true;
    }
    false
}

/// Drops everything that a vCPU holds on descriptor tables (its domain dies, or its context is
/// replaced). It does not run.
pub fn release<M: Machine>(cpu: &crate::PerCpu<M>, vcpu: &Vcpu<M>) {
    let (gdt, ldt) = {
        let mut arch = vcpu.arch.lock();
        arch.gdt_entries = 0;
        arch.ldt = (0, 0);
        (
            core::mem::take(&mut arch.gdt),
            core::mem::take(&mut arch.ldt_pages),
        )
    };
    for mfn in gdt.into_iter().chain(ldt).flatten() {
        let _ = types::put_type(cpu, mfn);
        crate::mm::put_page(cpu.hv, mfn);
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn flat_segments_pass_with_dpl_3() {
        // 64-bit code, DPL 0: comes back with DPL 3 and accessed.
        assert_eq!(check(0x00af_9a00_0000_ffff), Some(0x00af_fb00_0000_ffff));
        assert_eq!(check(0x00cf_f300_0000_ffff), Some(0x00cf_f300_0000_ffff));
        assert_eq!(check(0), Some(0));
    }

    #[test]
    fn gates_and_system_segments_do_not() {
        assert_eq!(check(0x0000_ee00_0000_0000), None); // interrupt gate
        assert_eq!(check(0x0000_ec00_0000_0000), None); // call gate
        assert_eq!(check(0x0000_8900_0000_0067), None); // TSS
        assert_eq!(check(0x0000_8200_0000_0000), None); // LDT
        assert_eq!(check(0x00cf_9e00_0000_ffff), None); // conforming code
        assert_eq!(check(0x00ef_9a00_0000_ffff), None); // long and 32-bit
    }
}
