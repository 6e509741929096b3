//! `vcpu_guest_context`: a vCPU's whole state as tools and guests hand it over.

use alloc::boxed::Box;

use oxen_abi::arch_x86::*;
use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::types::{MmError, get_type, put_type};
use crate::mm::{get_page, growth, put_page};
use crate::percpu::{Cx, PerCpu};
use crate::sync::atomic::Ordering;
use crate::types::Mfn;
use crate::vcpu::Vcpu;

/// RFLAGS bits that a guest may have: the arithmetic ones, DF, AC, ID, TF, and IF which is always
/// set while a guest runs.
const RFLAGS_ALLOWED: u64 = 0x0024_0dd5;
const RFLAGS_ALWAYS: u64 = 0x0202;

/// CR3 in the ABI's form holds the frame number rotated left by 12 (`xen_pfn_to_cr3`).
const fn cr3_to_frame(cr3: u64) -> Mfn {
    Mfn(cr3 >> 12)
}

/// Reads a context from the caller's memory and applies it to a vCPU of its own domain.
pub fn set_from_guest<M: Machine>(
    cx: &Cx<'_, M>,
    vcpu: &Vcpu<M>,
    context: GuestHandle<VcpuGuestContext>,
) -> Result<(), MmError> {
    let context = growth::boxed(cx.cpu, context.read(cx.machine())?)?;
    apply(cx.cpu, cx.domain(), vcpu, &context)
}

/// Applies a context to a vCPU of `domain` that does not run and has none yet, or whose tools
/// replace it. On an error nothing has changed.
pub fn apply<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    vcpu: &Vcpu<M>,
    context: &VcpuGuestContext,
) -> Result<(), MmError> {
    let machine = &cpu.hv.machine;
    if context.gdt_ents > u64::from(FIRST_RESERVED_GDT_ENTRY) || context.ldt_ents > 8192 {
        return Err(Errno::EINVAL.into());
    }
    let kernel_root = cr3_to_frame(context.ctrlreg.get(3).copied().unwrap_or(0));
    let user_root = cr3_to_frame(context.ctrlreg.get(1).copied().unwrap_or(0) & !1);
    take(cpu, domain, kernel_root, PageType::L4)?;
    let user_root = if user_root.0 == 0 {
        None
    } else {
        take(cpu, domain, user_root, PageType::L4).inspect_err(|_| drop_one(cpu, kernel_root))?;
        Some(user_root)
    };
    let mut gdt = [None; 14];
    let pages = usize::try_from(context.gdt_ents.div_ceil(512)).unwrap_or(0);
    for (slot, frame) in gdt.iter_mut().zip(context.gdt_frames).take(pages) {
        match take(cpu, domain, Mfn(frame), PageType::Descriptors) {
            Ok(()) => *slot = Some(Mfn(frame)),
            Err(error) => {
                gdt.into_iter().flatten().for_each(|mfn| drop_one(cpu, mfn));
                drop_one(cpu, kernel_root);
                user_root.into_iter().for_each(|mfn| drop_one(cpu, mfn));
                return Err(error);
            }
        }
    }
    let cr4 = context.ctrlreg.get(4).copied().unwrap_or(0);
    let cr4 = crate::trap::allowed_cr4(machine, domain, cr4);
    // The old tables go once the new ones are held.
    crate::mm::descriptor::release(cpu, vcpu);
    let old_roots = {
        let mut arch = vcpu.arch.lock();
        arch.regs = sanitise(context);
        arch.segments.ds = context.user_regs.ds;
        arch.segments.es = context.user_regs.es;
        arch.segments.fs = context.user_regs.fs;
        arch.segments.gs = context.user_regs.gs;
        arch.segments.fs_base = canonical(context.fs_base);
        let kernel = context.flags & VGCF_IN_KERNEL != 0;
        let (live, shadow) = if kernel {
            (context.gs_base_kernel, context.gs_base_user)
        } else {
            (context.gs_base_user, context.gs_base_kernel)
        };
        arch.segments.gs_base = canonical(live);
        arch.segments.gs_shadow = canonical(shadow);
        if context.flags & VGCF_I387_VALID != 0 {
            let image = context.fpu_ctxt;
            machine.set_fpu_legacy(&mut arch.fpu, &image);
        }
        arch.gdt = gdt;
        arch.gdt_entries = u32::try_from(context.gdt_ents).unwrap_or(0);
        arch.ldt = (
            context.ldt_base,
            u32::try_from(context.ldt_ents).unwrap_or(0),
        );
        // The virtual I/O privilege level comes in the flags; the real one is always 0.
        arch.iopl = u8::try_from((context.user_regs.rflags >> 12) & 3).unwrap_or(0);
        arch.cr4 = cr4;
        for (slot, value) in arch.debug.iter_mut().zip(context.debugreg).take(4) {
            *slot = canonical(value);
        }
        arch.traps.load_context(context);
        let old = [arch.kernel_root.replace(kernel_root), arch.user_root.take()];
        arch.user_root = user_root;
        old
    };
    old_roots
        .into_iter()
        .flatten()
        .for_each(|mfn| drop_one(cpu, mfn));
    vcpu.kernel_mode
        .store(context.flags & VGCF_IN_KERNEL != 0, Ordering::Release);
    vcpu.initialised.store(true, Ordering::Release);
    domain.vm_assist.fetch_or(
        context.vm_assist & crate::hypercall::VM_ASSIST_ALLOWED,
        Ordering::AcqRel,
    );
    // Builders clear the shared page before they give the first vCPU its context, and no guest writes it before.
    if vcpu.id.0 == 0 {
        crate::time::update_wallclock(cpu.hv, domain);
    }
    Ok(())
}

fn take<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    kind: PageType,
) -> Result<(), MmError> {
    if !get_page(&cpu.hv.machine, mfn, domain.id) {
        return Err(Errno::EINVAL.into());
    }
    get_type(cpu, domain, mfn, kind).inspect_err(|_| put_page(cpu.hv, mfn))
}

/// Drops a type and a general reference; what is long to undo stays partial and is found when
/// the domain dies.
fn drop_one<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) {
    let _ = put_type(cpu, mfn);
    put_page(cpu.hv, mfn);
}

const fn canonical(addr: u64) -> u64 {
    if crate::mm::walk::is_canonical(addr) {
        addr
    } else {
        0
    }
}

/// Registers that can be loaded without harm: ring 3 selectors, flags that a guest may have.
fn sanitise(context: &VcpuGuestContext) -> CpuUserRegs {
    let mut regs = context.user_regs;
    regs.cs |= 3;
    regs.ss |= 3;
    regs.rflags = regs.rflags & RFLAGS_ALLOWED | RFLAGS_ALWAYS;
    regs.error_code = 0;
    regs.entry_vector = 0;
    regs
}

/// Writes down the context of a vCPU that does not run. `ENOMEM`.
pub fn read<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>) -> Result<Box<VcpuGuestContext>, Errno> {
    let machine = &cpu.hv.machine;
    let mut context: Box<VcpuGuestContext> = growth::boxed(cpu, crate::guest::zeroed())?;
    let arch = vcpu.arch.lock();
    let kernel = vcpu.kernel_mode.load(Ordering::Acquire);
    context.user_regs = arch.regs;
    context.user_regs.ds = arch.segments.ds;
    context.user_regs.es = arch.segments.es;
    context.user_regs.fs = arch.segments.fs;
    context.user_regs.gs = arch.segments.gs;
    context.fs_base = arch.segments.fs_base;
    let (live, shadow) = (arch.segments.gs_base, arch.segments.gs_shadow);
    (context.gs_base_kernel, context.gs_base_user) = if kernel {
        (live, shadow)
    } else {
        (shadow, live)
    };
    context.fpu_ctxt = machine.fpu_legacy(&arch.fpu);
    context.flags = VGCF_I387_VALID | if kernel { VGCF_IN_KERNEL } else { 0 };
    if vcpu.paused.load(Ordering::Acquire) & crate::vcpu::Paused::DOWN.bits() == 0 {
        context.flags |= VGCF_ONLINE;
    }
    for (to, from) in context.gdt_frames.iter_mut().zip(arch.gdt) {
        *to = from.map_or(0, |mfn| mfn.0);
    }
    context.user_regs.rflags |= u64::from(arch.iopl & 3) << 12;
    context.gdt_ents = u64::from(arch.gdt_entries);
    (context.ldt_base, context.ldt_ents) = (arch.ldt.0, u64::from(arch.ldt.1));
    context.ctrlreg[0] = 0x8005_003b;
    context.ctrlreg[1] = arch.user_root.map_or(0, Mfn::address);
    context.ctrlreg[3] = arch.kernel_root.map_or(0, Mfn::address);
    context.ctrlreg[4] = arch.cr4;
    context.debugreg = arch.debug;
    context.vm_assist = vcpu.domain.vm_assist.load(Ordering::Acquire);
    arch.traps.store_context(&mut context);
    Ok(context)
}
