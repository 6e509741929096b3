//! User mode: its own L4, system calls, faults.

use core::sync::atomic::Ordering;

use oxen_abi::arch_x86::{
    FLAT_KERNEL_SS, FLAT_USER_CS, FLAT_USER_SS, IretContext, MACH2PHYS_VIRT_START, VGCF_IN_SYSCALL,
};
use oxen_abi::hypercall::{
    HYPERVISOR_IRET, HYPERVISOR_MMUEXT_OP, HYPERVISOR_MULTICALL, HYPERVISOR_PHYSDEV_OP,
    HYPERVISOR_STACK_SWITCH, HYPERVISOR_VM_ASSIST, HYPERVISOR_XEN_VERSION, MulticallEntry,
};
use oxen_abi::mmu::{MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuextOp};
use oxen_abi::physdev::{PHYSDEVOP_SET_IOBITMAP, PHYSDEVOP_SET_IOPL, SetIobitmap, SetIopl};
use oxen_abi::xen::{
    DOMID_SELF, VMASST_CMD_DISABLE, VMASST_CMD_ENABLE, VMASST_TYPE_ARCHITECTURAL_IOPL,
    VMASST_TYPE_M2P_STRICT,
};

use super::traps::faulted;
use super::{Outcome, Suite, ensure, good, same};
use crate::pagetable::{self, RO, RW, index};
use crate::sys::frame::{Frame, VIRT_BASE};
use crate::sys::{cpu, hypercall, probe, trap, vcpu};

/// Where the user's page of code and its stack are.
const CODE: u64 = 0x40_0000;
const STACK: u64 = CODE + 4096;

fn mmuext(cmd: u32, mfn: u64) -> hypercall::Result {
    let mut op = MmuextOp {
        cmd,
        arg1: mfn,
        ..MmuextOp::default()
    };
    hypercall::call(
        HYPERVISOR_MMUEXT_OP,
        [hypercall::address(&mut op), 1, 0, u64::from(DOMID_SELF)],
    )
}

/// The frame that leads there, with `VGCF_*` flags.
fn frame(flags: u64) -> IretContext {
    IretContext {
        flags,
        ..probe::user_frame(CODE, STACK + 4096)
    }
}

/// A user address space: one page of code, one of stack.
struct Space {
    l4: Frame,
    code: Frame,
    stack: Frame,
}

impl Space {
    fn new() -> Outcome<Self> {
        let [l1, l2, l3, l4, code, stack] = core::array::from_fn(|_| Frame::new());
        let put = |table: Frame, address: u64, level: u32, value: u64| {
            let slot = usize::try_from(index(address, level)).unwrap_or(0);
            table.words()[slot].store(value, Ordering::Relaxed);
        };
        put(l1, CODE, 1, code.mfn() << 12 | RO);
        put(l1, STACK, 1, stack.mfn() << 12 | RW);
        put(l2, CODE, 2, l1.mfn() << 12 | RW);
        put(l3, CODE, 3, l2.mfn() << 12 | RW);
        put(l4, CODE, 4, l3.mfn() << 12 | RW);
        for table in [l1, l2, l3, l4] {
            good!(pagetable::make_read_only(table));
        }
        same!(mmuext(MMUEXT_PIN_L4_TABLE, l4.mfn()), Ok(0));
        same!(mmuext(MMUEXT_NEW_USER_BASEPTR, l4.mfn()), Ok(0));
        Ok(Space { l4, code, stack })
    }

    /// Runs up to 8 bytes of code until they trap.
    fn run(&self, code: &[u8], flags: u64) -> probe::Probe<()> {
        self.put(code);
        probe::user(&frame(flags))
    }

    fn put(&self, code: &[u8]) {
        let mut word = [0xcc; 8];
        for (slot, byte) in word.iter_mut().zip(code) {
            *slot = *byte;
        }
        self.code.words()[0].store(u64::from_le_bytes(word), Ordering::SeqCst);
    }

    fn end(self) -> Outcome {
        same!(mmuext(MMUEXT_NEW_USER_BASEPTR, 0), Ok(0));
        same!(mmuext(MMUEXT_UNPIN_TABLE, self.l4.mfn()), Ok(0));
        Ok(())
    }
}

/// Runs code in a fresh user space and returns how it trapped.
fn in_user_mode(code: &[u8], flags: u64, vector: u64) -> Outcome<probe::Fault> {
    let space = Space::new()?;
    let fault = faulted(space.run(code, flags), vector)?;
    same!(fault.cs & 3, 3);
    space.end()?;
    Ok(fault)
}

pub(super) fn run(s: &mut Suite<'_>) {
    // All checks need it, whichever are asked for.
    let top = vcpu::user_trap_stack_top();
    let set = hypercall::call(HYPERVISOR_STACK_SWITCH, [u64::from(FLAT_KERNEL_SS), top]);
    s.check("stack_switch/set", || {
        same!(set, Ok(0));
        Ok(())
    });
    checks(s);
    port_checks(s);
    s.check("user/m2p_strict", || {
        let assist = |cmd: u32| {
            let kind = u64::from(VMASST_TYPE_M2P_STRICT);
            hypercall::call(HYPERVISOR_VM_ASSIST, [u64::from(cmd), kind])
        };
        let entry = MACH2PHYS_VIRT_START + 8 * Frame::new().mfn();
        // mov rax, [rax]; int3
        let look = |vector| -> Outcome<probe::Fault> {
            let space = Space::new()?;
            space.put(&[0x48, 0x8b, 0x00, 0xcc]);
            let from = IretContext {
                rax: entry,
                ..frame(0)
            };
            let fault = faulted(probe::user(&from), vector)?;
            space.end()?;
            Ok(fault)
        };
        // Xen 4.17 was seen to keep user mode out in any case.
        let without = if super::version::is_oxen()? {
            probe::BP
        } else {
            probe::PF
        };
        look(without)?;
        same!(assist(VMASST_CMD_ENABLE), Ok(0));
        let kept_out = look(probe::PF);
        // The kernel reads it all the same.
        let kernel = probe::read(entry);
        same!(assist(VMASST_CMD_DISABLE), Ok(0));
        same!(kept_out?.address, entry);
        ensure!(kernel.is_ok(), "{kernel:?}");
        look(without)?;
        Ok(())
    });
}

/// A process that may use a port by its I/O bitmap.
fn port_checks(s: &mut Suite<'_>) {
    s.check("user/port_io_by_bitmap", || {
        let bitmap = Frame::new();
        let set = |nr_ports: u32| {
            let mut arg = SetIobitmap {
                bitmap: bitmap.address(),
                nr_ports,
                ..SetIobitmap::default()
            };
            hypercall::op(HYPERVISOR_PHYSDEV_OP, PHYSDEVOP_SET_IOBITMAP, &mut arg)
        };
        let set_iopl = |iopl| {
            let mut arg = SetIopl { iopl };
            hypercall::op(HYPERVISOR_PHYSDEV_OP, PHYSDEVOP_SET_IOPL, &mut arg)
        };
        // in al, 0x80; int3
        let code = [0xe4, 0x80, 0xcc];
        bitmap.fill(0);
        good!(set_iopl(1));
        same!(set(0x81), Ok(0));
        let allowed = in_user_mode(&code, 0, probe::BP).map(|_| ());
        // One bit a port: set, it forbids.
        bitmap.words()[2].store(1, Ordering::SeqCst);
        let forbidden = in_user_mode(&code, 0, probe::GP).map(|_| ());
        // Ports past the end of the bitmap are forbidden.
        bitmap.fill(0);
        same!(set(0x80), Ok(0));
        let beyond = in_user_mode(&code, 0, probe::GP).map(|_| ());
        same!(set(0), Ok(0));
        let none = in_user_mode(&code, 0, probe::GP).map(|_| ());
        // IOPL 3 is for all ports.
        good!(set_iopl(3));
        let by_iopl = in_user_mode(&code, 0, probe::BP).map(|_| ());
        good!(set_iopl(1));
        allowed?;
        forbidden?;
        beyond?;
        none?;
        by_iopl
    });
}

fn checks(s: &mut Suite<'_>) {
    s.check("user/syscall", || {
        // syscall
        let fault = in_user_mode(&[0x0f, 0x05], 0, trap::SYSCALL)?;
        same!(fault.rip, CODE + 2);
        same!(fault.rax, 0x77);
        Ok(())
    });
    s.check("user/return_as_sysret", || {
        let fault = in_user_mode(&[0x0f, 0x05], VGCF_IN_SYSCALL, trap::SYSCALL)?;
        same!(fault.rip, CODE + 2);
        Ok(())
    });
    s.check("user/breakpoint", || {
        let fault = in_user_mode(&[0xcc], 0, probe::BP)?;
        same!(fault.rip, CODE + 1);
        Ok(())
    });
    s.check("user/page_fault", || {
        // mov rax, [rax]: RAX is 0x77.
        let fault = in_user_mode(&[0x48, 0x8b, 0x00], 0, probe::PF)?;
        same!(fault.address, 0x77);
        // The user bit tells the kernel whose fault it is.
        same!(fault.error, 4);
        Ok(())
    });
    s.check("user/code_is_read_only", || {
        // mov [rip - 6], al
        let fault = in_user_mode(&[0x88, 0x05, 0xfa, 0xff, 0xff, 0xff], 0, probe::PF)?;
        same!(fault.error, 7);
        Ok(())
    });
    s.check("user/privileged_instructions", || {
        // cli; hlt; mov rax, cr0; in al, dx
        for code in [&[0xfa][..], &[0xf4], &[0x0f, 0x20, 0xc0], &[0xec]] {
            in_user_mode(code, 0, probe::GP)?;
        }
        Ok(())
    });
    s.check("user/by_multicall", || {
        // What comes behind an iret in a list is left out.
        let space = Space::new()?;
        space.put(&[0x0f, 0x05]);
        let version = MulticallEntry {
            op: HYPERVISOR_XEN_VERSION,
            result: 0x5555,
            ..MulticallEntry::default()
        };
        let mut list = [version; 3];
        list[1].op = HYPERVISOR_IRET;
        let address = hypercall::slice_address(&mut list);
        let probe = probe::user_by(&frame(0), HYPERVISOR_MULTICALL, [address, 3]);
        let fault = faulted(probe, trap::SYSCALL)?;
        same!((fault.rip, fault.rax), (CODE + 2, 0x77));
        ensure!(list[0].result != 0x5555, "the first call was left out");
        same!(list[2].result, 0x5555);
        space.end()
    });
    s.check("user/iopl_in_frames", || {
        const IOPL: u64 = 3 << 12;
        let assist = |cmd: u32| {
            let kind = u64::from(VMASST_TYPE_ARCHITECTURAL_IOPL);
            hypercall::call(HYPERVISOR_VM_ASSIST, [u64::from(cmd), kind])
        };
        let set_iopl = |iopl| {
            let mut arg = SetIopl { iopl };
            hypercall::op(HYPERVISOR_PHYSDEV_OP, PHYSDEVOP_SET_IOPL, &mut arg)
        };
        // cli; int3
        let cli = |rflags, vector| {
            let space = Space::new()?;
            space.put(&[0xfa, 0xcc]);
            let frame = IretContext { rflags, ..frame(0) };
            let fault = faulted(probe::user(&frame), vector)?;
            space.end()?;
            Ok(fault.rflags & IOPL)
        };
        // By hypercall only, with a kernel that counts as ring 1.
        good!(set_iopl(0));
        same!(cli(0x202 | IOPL, probe::GP)?, 0);
        faulted(probe::cli(), probe::GP)?;
        good!(set_iopl(3));
        same!(cli(0x202, probe::BP)?, 0);
        // As the processor has it.
        same!(assist(VMASST_CMD_ENABLE), Ok(0));
        let with = cli(0x202 | IOPL, probe::BP)?;
        let without = cli(0x202, probe::GP)?;
        let kernel = probe::cli();
        let disabled = assist(VMASST_CMD_DISABLE);
        let restored = set_iopl(1);
        same!((with, without), (IOPL, 0));
        good!(kernel);
        same!((disabled, restored), (Ok(0), Ok(0)));
        Ok(())
    });
    s.check("user/time_stamp_disable", || {
        const TSD: u64 = 1 << 2;
        let cr4 = good!(probe::read_cr4());
        // rdtsc; int3
        in_user_mode(&[0x0f, 0x31, 0xcc], 0, probe::BP)?;
        good!(probe::write_cr4(cr4 | TSD));
        same!(probe::read_cr4(), Ok(cr4 | TSD));
        let user = in_user_mode(&[0x0f, 0x31, 0xcc], 0, probe::GP);
        // The kernel goes on reading it.
        let before = cpu::rdtsc();
        let after = cpu::rdtsc();
        good!(probe::write_cr4(cr4));
        user?;
        ensure!(before < after, "{before} to {after}");
        in_user_mode(&[0x0f, 0x31, 0xcc], 0, probe::BP)?;
        Ok(())
    });
    s.check("user/kernel_is_out_of_reach", || {
        // mov rax, [abs32]: sign-extended into the kernel.
        let low = u32::try_from((VIRT_BASE + 0x10_1000) & 0xffff_ffff).unwrap_or(0);
        let mut code = [0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0];
        code[4..].copy_from_slice(&low.to_le_bytes());
        let fault = in_user_mode(&code, 0, probe::PF)?;
        same!(fault.error & 4, 4);
        Ok(())
    });
    s.check("user/stack_works", || {
        // push rax; syscall
        let space = Space::new()?;
        faulted(space.run(&[0x50, 0x0f, 0x05], 0), trap::SYSCALL)?;
        same!(space.stack.words()[511].load(Ordering::SeqCst), 0x77);
        space.end()
    });
    s.check("user/without_l4", || {
        // No user L4: the domain may be killed for it elsewhere, but the base pointer is kept.
        let space = Space::new()?;
        ensure!(
            mmuext(MMUEXT_NEW_USER_BASEPTR, space.stack.mfn()).is_err(),
            "a page became the user's L4"
        );
        faulted(space.run(&[0x0f, 0x05], 0), trap::SYSCALL)?;
        space.end()
    });
    s.check("user/bad_selectors", || {
        // Past the end of the GDT, a data segment as code, a code segment as stack, null.
        let space = Space::new()?;
        for (cs, ss, bad) in [
            (0x6fff, FLAT_USER_SS, 0x6ffc),
            (FLAT_USER_SS, FLAT_USER_SS, u64::from(FLAT_USER_SS & !3)),
            (FLAT_USER_CS, FLAT_USER_CS, u64::from(FLAT_USER_CS & !3)),
            (3, FLAT_USER_SS, 0),
            (FLAT_USER_CS, 3, 0),
        ] {
            let probe = probe::user(&IretContext {
                cs: u64::from(cs),
                ss: u64::from(ss),
                ..frame(0)
            });
            let fault = faulted(probe, probe::GP)?;
            // The fault is the user's, and the frame shows what was refused.
            same!((fault.rip, fault.cs & 0xffff), (CODE, u64::from(cs)));
            same!(fault.error, bad);
        }
        // The next good frame works.
        faulted(space.run(&[0x0f, 0x05], 0), trap::SYSCALL)?;
        space.end()
    });
    s.check("user/non_canonical_addresses", || {
        let space = Space::new()?;
        faulted(space.run(&[0x0f, 0x05], 0), trap::SYSCALL)?;
        for flags in [0, VGCF_IN_SYSCALL] {
            for rip in [1 << 47, 0x8000_0000_0000_0000, 0xffff_7fff_ffff_ffff] {
                // Where it is noticed depends on the processor: at the return, or at the fetch.
                let vector = probe::user(&IretContext {
                    rip,
                    ..frame(flags)
                })
                .err()
                .map(|fault| fault.vector);
                ensure!(
                    vector.is_some_and(|v| [trap::FAILSAFE, probe::GP, probe::PF].contains(&v)),
                    "{rip:#x} ended in {vector:x?}"
                );
            }
            // A stack pointer is only looked at when it is used.
            let rsp = 1 << 47;
            let frame = IretContext {
                rsp,
                ..frame(flags)
            };
            faulted(probe::user(&frame), trap::SYSCALL)?;
        }
        space.end()
    });
    s.check("user/l4_freed_after_use", || {
        for _ in 0..4 {
            in_user_mode(&[0x0f, 0x05], 0, trap::SYSCALL)?;
        }
        Ok(())
    });
}
