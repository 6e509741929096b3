//! What a guest's trap, return or event does to its registers, stack and masks.

use alloc::sync::Arc;

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_KERNEL_CS, FLAT_USER_CS, IretContext, TI_IF};
use oxen_abi::hypercall::{
    HYPERVISOR_IRET, HYPERVISOR_MULTICALL, HYPERVISOR_XEN_VERSION, MulticallEntry,
};
use oxen_abi::xen::VMASST_TYPE_ARCHITECTURAL_IOPL;

use crate::entry::Exception;
use crate::error::Stop;
use crate::event;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::testing::{GUEST_BASE, Host, Sim};
use crate::trap::{self, Callback, CallbackKind, Gate};
use crate::types::VcpuId;
use crate::vcpu::Vcpu;

const STACK: u64 = GUEST_BASE + 0x8000;
const USER_ENTRY_STACK: u64 = GUEST_BASE + 0xa000;
const HANDLER: u64 = 0xffff_ffff_8100_0000;

struct Guest {
    host: Host,
    vcpu: Arc<Vcpu<Sim>>,
}

impl Guest {
    fn new() -> Self {
        let host = Host::new();
        let domain = host.domain(1, 1, 16);
        let vcpu = domain.vcpu(VcpuId(0)).expect("it has one");
        let root = host.ram(&domain);
        {
            let mut arch = vcpu.arch.lock();
            arch.kernel_root = Some(root);
            arch.user_root = Some(root);
            arch.traps.kernel_sp = USER_ENTRY_STACK;
        }
        Self { host, vcpu }
    }

    fn cx(&self) -> Cx<'_, Sim> {
        self.host.cx(&self.vcpu)
    }

    fn gate(&self, vector: u8, flags: u8) {
        let gate = Gate {
            address: HANDLER + u64::from(vector),
            cs: FLAT_KERNEL_CS,
            flags,
        };
        self.vcpu.arch.lock().traps.set_gate(vector, gate);
    }

    fn callback(&self, kind: CallbackKind) {
        let callback = Callback {
            address: HANDLER,
            masks: false,
        };
        self.vcpu.arch.lock().traps.set_callback(kind, callback);
    }

    fn masked(&self) -> bool {
        event::upcall_mask(self.host.machine(), &self.vcpu)
    }

    fn mask(&self, masked: bool) {
        event::set_upcall_mask(self.host.machine(), &self.vcpu, masked);
    }

    fn raise(&self, regs: &mut CpuUserRegs, vector: u8, error: u32) -> Result<(), Stop> {
        let exception = Exception {
            vector,
            error,
            cr2: 0x1234_5000,
        };
        trap::exception(&self.cx(), regs, exception)
    }

    fn words<const N: usize>(&self, addr: u64) -> [u64; N] {
        core::array::from_fn(|n| self.host.get(addr + 8 * n as u64))
    }
}

fn regs() -> CpuUserRegs {
    CpuUserRegs {
        rip: GUEST_BASE + 0x100,
        cs: FLAT_KERNEL_CS,
        rsp: STACK,
        rflags: 0x202,
        rcx: 0xc,
        r11: 0x11,
        ..CpuUserRegs::default()
    }
}

#[test]
fn an_exception_enters_the_handler() {
    let guest = Guest::new();
    guest.mask(false);
    guest.gate(13, TI_IF);
    let mut regs = regs();
    assert_eq!(guest.raise(&mut regs, 13, 0x18), Ok(()));
    assert_eq!((regs.rip, regs.rsp), (HANDLER + 13, STACK - 64));
    // SYSRET can take it there.
    assert_eq!((regs.rcx, regs.r11), (regs.rip, regs.rflags));
    assert!(guest.masked());
    let [rcx, r11, error, rip, cs, flags, rsp, _] = guest.words(regs.rsp);
    assert_eq!((rcx, r11, error), (0xc, 0x11, 0x18));
    assert_eq!((rip, rsp), (GUEST_BASE + 0x100, STACK));
    assert_eq!((cs >> 32, cs & 3, flags & 0x200), (0, 0, 0x200));
}

#[test]
fn a_guest_that_cannot_take_a_trap_ends() {
    let guest = Guest::new();
    let mut regs = regs();
    assert!(matches!(guest.raise(&mut regs, 0, 0), Err(Stop::Crash(_))));
    guest.gate(0, 0);
    regs.rsp = 0x10;
    assert!(matches!(guest.raise(&mut regs, 0, 0), Err(Stop::Crash(_))));
}

#[test]
fn a_users_trap_goes_to_the_kernels_stack() {
    let guest = Guest::new();
    guest.gate(0, 0);
    guest.vcpu.kernel_mode.store(false, Ordering::Relaxed);
    let mut regs = CpuUserRegs {
        cs: FLAT_USER_CS,
        rsp: 0x7000,
        ..regs()
    };
    assert_eq!(guest.raise(&mut regs, 0, 0), Ok(()));
    assert_eq!(regs.rsp, USER_ENTRY_STACK - 56);
    assert!(guest.vcpu.kernel_mode.load(Ordering::Relaxed));
    let [.., cs, _, rsp, _] = guest.words::<7>(regs.rsp);
    assert_eq!((cs & 3, rsp), (3, 0x7000));
}

#[test]
fn a_page_fault_shows_whose_it_is() {
    let guest = Guest::new();
    guest.gate(14, 0);
    for (kernel, shown) in [(true, 2), (false, 6)] {
        guest.vcpu.kernel_mode.store(kernel, Ordering::Relaxed);
        let mut regs = regs();
        assert_eq!(guest.raise(&mut regs, 14, 6), Ok(()));
        let [_, _, error] = guest.words(regs.rsp);
        assert_eq!(error, shown);
        let info = event::info(guest.host.machine(), &guest.vcpu).expect("it has one");
        assert_eq!(info.cr2(), 0x1234_5000);
    }
}

#[test]
fn software_interrupts_ask_the_guests_own_gate() {
    const SOFTWARE_0X81: u32 = (0x81 << 3) | 2;
    let guest = Guest::new();
    guest.gate(13, 0);
    guest.gate(0x81, 0);
    // From the kernel: allowed, and RIP is behind the instruction.
    let mut kernel = regs();
    assert_eq!(guest.raise(&mut kernel, 13, SOFTWARE_0X81), Ok(()));
    assert_eq!(kernel.rip, HANDLER + 0x81);
    assert_eq!(guest.words::<3>(kernel.rsp)[2], GUEST_BASE + 0x102);
    // From user mode: only with DPL 3.
    guest.vcpu.kernel_mode.store(false, Ordering::Relaxed);
    let mut user = regs();
    assert_eq!(guest.raise(&mut user, 13, SOFTWARE_0X81), Ok(()));
    assert_eq!(user.rip, HANDLER + 13);
    assert_eq!(
        guest.words::<4>(user.rsp)[2..],
        [u64::from(SOFTWARE_0X81), GUEST_BASE + 0x100]
    );
}

#[test]
fn iret_takes_everything_from_its_frame() {
    let guest = Guest::new();
    guest.mask(true);
    let frame = IretContext {
        rax: 1,
        r11: 2,
        rcx: 3,
        flags: 0,
        rip: 0x4000,
        cs: u64::from(FLAT_USER_CS),
        rflags: 0x3202,
        rsp: 0x6000,
        ss: 0xe02b,
    };
    let mut regs = CpuUserRegs {
        rsp: guest.host.put(0x2000, &frame),
        ..regs()
    };
    assert_eq!(trap::iret(&guest.cx(), &mut regs), Ok(()));
    assert_eq!((regs.rax, regs.rcx, regs.r11), (1, 3, 2));
    // The privilege level for I/O is never the processor's.
    assert_eq!((regs.rip, regs.rsp, regs.rflags), (0x4000, 0x6000, 0x202));
    assert!(!guest.vcpu.kernel_mode.load(Ordering::Relaxed));
    assert!(!guest.masked());
}

#[test]
fn iret_without_a_frame_or_a_page_table_ends_the_guest() {
    let guest = Guest::new();
    let mut lost = CpuUserRegs { rsp: 8, ..regs() };
    assert!(matches!(
        trap::iret(&guest.cx(), &mut lost),
        Err(Stop::Crash(_))
    ));
    guest.vcpu.arch.lock().user_root = None;
    let frame = IretContext {
        cs: u64::from(FLAT_USER_CS),
        ..IretContext::default()
    };
    let mut regs = CpuUserRegs {
        rsp: guest.host.put(0x2000, &frame),
        ..regs()
    };
    assert!(matches!(
        trap::iret(&guest.cx(), &mut regs),
        Err(Stop::Crash(_))
    ));
}

#[test]
fn an_event_is_delivered_once_and_only_unmasked() {
    let guest = Guest::new();
    guest.callback(CallbackKind::Event);
    let info = event::info(guest.host.machine(), &guest.vcpu).expect("it has one");
    info.raise();
    guest.mask(true);
    let mut regs = regs();
    assert_eq!(trap::deliver_pending(&guest.cx(), &mut regs), Ok(()));
    assert_eq!(regs.rip, GUEST_BASE + 0x100);
    guest.mask(false);
    assert_eq!(trap::deliver_pending(&guest.cx(), &mut regs), Ok(()));
    assert_eq!((regs.rip, regs.rsp), (HANDLER, STACK - 56));
    assert!(guest.masked());
    assert_eq!(trap::deliver_pending(&guest.cx(), &mut regs), Ok(()));
    assert_eq!(regs.rsp, STACK - 56);
}

#[test]
fn the_next_nmi_waits_for_the_iret_of_the_last() {
    let guest = Guest::new();
    guest.callback(CallbackKind::Nmi);
    guest.mask(true);
    let mut regs = regs();
    for handled in [true, false] {
        guest.vcpu.nmi_pending.store(true, Ordering::Relaxed);
        assert_eq!(trap::deliver_pending(&guest.cx(), &mut regs), Ok(()));
        assert_eq!(guest.vcpu.nmi_pending.load(Ordering::Relaxed), !handled);
    }
    let frame = IretContext {
        cs: u64::from(FLAT_KERNEL_CS & !3),
        ..IretContext::default()
    };
    let mut back = CpuUserRegs {
        rsp: guest.host.put(0x2000, &frame),
        ..regs
    };
    assert_eq!(trap::iret(&guest.cx(), &mut back), Ok(()));
    assert!(!guest.vcpu.in_nmi.load(Ordering::Relaxed));
}

#[test]
fn the_emulation_prefix_makes_cpuid_ours() {
    let guest = Guest::new();
    let code = [0x0f_u8, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];
    guest.host.put(0x100, &code);
    let mut regs = CpuUserRegs {
        rax: 0x4000_0001,
        ..regs()
    };
    assert_eq!(guest.raise(&mut regs, 6, 0), Ok(()));
    assert_eq!((regs.rip, regs.rax), (GUEST_BASE + 0x107, 0x4_0011));
}

#[test]
fn a_system_call_needs_a_callback() {
    let guest = Guest::new();
    guest.gate(6, 0);
    guest.vcpu.kernel_mode.store(false, Ordering::Relaxed);
    let mut without = regs();
    assert_eq!(trap::guest_syscall(&guest.cx(), &mut without), Ok(()));
    // #UD, at the instruction.
    assert_eq!(without.rip, HANDLER + 6);
    assert_eq!(guest.words::<3>(without.rsp)[2], GUEST_BASE + 0xfe);
    guest.callback(CallbackKind::Syscall);
    guest.vcpu.kernel_mode.store(false, Ordering::Relaxed);
    let mut with = regs();
    assert_eq!(trap::guest_syscall(&guest.cx(), &mut with), Ok(()));
    assert_eq!(with.rip, HANDLER);
}

#[test]
fn an_iret_ends_a_multicall() {
    let guest = Guest::new();
    let frame = IretContext {
        rax: 0x77,
        rip: GUEST_BASE + 0x500,
        cs: u64::from(FLAT_KERNEL_CS & !3),
        rsp: STACK,
        ..IretContext::default()
    };
    let entry = |op| MulticallEntry {
        op,
        result: 0x5555,
        ..MulticallEntry::default()
    };
    let list = guest.host.put(
        0x3000,
        &[entry(HYPERVISOR_IRET), entry(HYPERVISOR_XEN_VERSION)],
    );
    let mut regs = CpuUserRegs {
        rax: HYPERVISOR_MULTICALL,
        rdi: list,
        rsi: 2,
        rsp: guest.host.put(0x2000, &frame),
        ..regs()
    };
    crate::hypercall::dispatch(&guest.cx(), &mut regs);
    assert_eq!((regs.rax, regs.rip, regs.rsp), (0x77, frame.rip, STACK));
    let [_, second]: [MulticallEntry; 2] = guest.host.get(list);
    assert_eq!(second.result, 0x5555, "it was carried out for user mode");
}

#[test]
fn frames_have_the_iopl_for_guests_that_want_it() {
    const IOPL: u64 = 3 << 12;
    let guest = Guest::new();
    guest.gate(13, 0);
    let frame = IretContext {
        cs: u64::from(FLAT_KERNEL_CS & !3),
        rflags: 0x202 | IOPL,
        ..IretContext::default()
    };
    let assists = &guest.vcpu.domain.vm_assist;
    for (assist, seen) in [(0, 0), (1 << VMASST_TYPE_ARCHITECTURAL_IOPL, IOPL)] {
        assists.store(assist, Ordering::Relaxed);
        let mut back = CpuUserRegs {
            rsp: guest.host.put(0x2000, &frame),
            ..regs()
        };
        assert_eq!(trap::iret(&guest.cx(), &mut back), Ok(()));
        assert_eq!(back.rflags & IOPL, 0, "the processor's own stays 0");
        assert_eq!(u64::from(guest.vcpu.arch.lock().iopl) << 12, seen);
        let mut regs = regs();
        assert_eq!(guest.raise(&mut regs, 13, 0x18), Ok(()));
        let [_, _, _, _, _, flags] = guest.words(regs.rsp);
        assert_eq!(flags & IOPL, seen);
    }
}
