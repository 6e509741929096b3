//! Whatever a guest's registers, code and tables are, its traps end in a value or in its own end.

use alloc::vec;
use alloc::vec::Vec;

use oxen_abi::arch_x86::CpuUserRegs;
use proptest::prelude::*;

use crate::entry::Exception;
use crate::error::Stop;
use crate::sync::atomic::Ordering;
use crate::testing::{GUEST_BASE, Host};
use crate::trap::{self, Callback, CallbackKind, Gate};
use crate::types::VcpuId;

/// An address: in the guest's memory, at its borders, or anywhere.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        GUEST_BASE..GUEST_BASE + 0x1_0000,
        Just(0),
        Just(u64::MAX),
        Just(u64::MAX - 7),
        Just(0x7fff_ffff_ffff),
        Just(0xffff_8000_0000_0000),
        any::<u64>(),
    ]
}

/// Code that begins like something that is emulated, or any.
fn code() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(vec![0x0f]),
        Just(vec![0xf3, 0x6e]),
        Just(vec![0x66, 0xef]),
        Just(vec![0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2]),
        Just(vec![]),
    ];
    (start, prop::collection::vec(any::<u8>(), 16)).prop_map(|(mut start, rest)| {
        start.extend(rest);
        start
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn exceptions_never_panic(
        vector in prop_oneof![0u8..32, Just(0x80)],
        error in prop_oneof![Just(0), any::<u32>()],
        cr2 in address(),
        rip in address(),
        rsp in address(),
        values in any::<[u64; 6]>(),
        selectors in any::<[u16; 2]>(),
        code in code(),
        kernel: bool,
        iopl in 0u8..4,
        privileged: bool,
        roots: [bool; 2],
    ) {
        let host = Host::with_frames(64);
        let domain = host.domain(u16::from(!privileged), 1, 16);
        let vcpu = domain.vcpu(VcpuId(0)).expect("it has one");
        let root = host.ram(&domain);
        {
            let mut arch = vcpu.arch.lock();
            arch.kernel_root = roots[0].then_some(root);
            arch.user_root = roots[1].then_some(root);
            arch.iopl = iopl;
            arch.ldt = (values[5], 8192);
            arch.io_bitmap = (values[4], 0x1_0000);
            arch.traps.kernel_sp = rsp;
            for vector in 0..=255 {
                arch.traps.set_gate(vector, Gate { address: cr2, cs: 0, flags: vector });
            }
            let callback = Callback { address: cr2, masks: true };
            arch.traps.set_callback(CallbackKind::Failsafe, callback);
        }
        vcpu.kernel_mode.store(kernel, Ordering::Relaxed);
        host.put(0x100, code.as_slice());
        let rip = if roots[0] { GUEST_BASE + 0x100 } else { rip };
        let [rax, rcx, rdx, rsi, rflags, rdi] = values;
        let [cs, ss] = selectors;
        let mut regs = CpuUserRegs {
            rax, rcx, rdx, rsi, rdi, rip, rsp, rflags, cs, ss, ..CpuUserRegs::default()
        };
        let cx = host.cx(&vcpu);
        let exception = Exception { vector, error, cr2 };
        let ends = |outcome: Result<(), Stop>| {
            matches!(outcome, Ok(()) | Err(Stop::Crash(_)))
        };
        prop_assert!(ends(trap::exception(&cx, &mut regs, exception)));
        prop_assert!(ends(trap::return_fault(&cx, &mut regs, exception)));
        prop_assert!(ends(trap::guest_syscall(&cx, &mut regs)));
        prop_assert!(ends(trap::deliver_pending(&cx, &mut regs)));
        prop_assert!(ends(trap::iret(&cx, &mut regs)));
    }
}
