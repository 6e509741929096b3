//! Frames on a guest's stack.

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_KERNEL_CS, FLAT_KERNEL_SS, IretContext};
use zerocopy::FromBytes;

use crate::machine::SegmentState;
use crate::trap::bounce::{Target, frame, frame_address};

const PLAIN: Target = Target {
    address: 0x1000,
    masks: false,
    error: None,
    segments: None,
};

fn interrupted() -> CpuUserRegs {
    CpuUserRegs {
        rcx: 1,
        r11: 2,
        rip: 0x4000,
        cs: FLAT_KERNEL_CS,
        rflags: 0x246,
        rsp: 0x7ff8,
        ss: FLAT_KERNEL_SS,
        ..CpuUserRegs::default()
    }
}

#[test]
fn a_frame_has_the_abis_order() {
    let target = Target {
        error: Some(6),
        ..PLAIN
    };
    let frame = frame(&interrupted(), true, true, &target);
    let cs = u64::from(FLAT_KERNEL_CS & !3) | (1 << 32);
    // Masked: IF is clear. Kernel mode: privilege level 0.
    assert_eq!(
        frame.words(),
        [1, 2, 6, 0x4000, cs, 0x46, 0x7ff8, u64::from(FLAT_KERNEL_SS)]
    );
}

#[test]
fn a_users_frame_keeps_its_privilege_level_and_shows_events_on() {
    let frame = frame(&interrupted(), false, false, &PLAIN);
    assert_eq!(frame.words()[3], u64::from(FLAT_KERNEL_CS));
    assert_eq!(frame.words()[4], 0x246);
}

#[test]
fn the_failsafe_frame_has_the_selectors_after_r11() {
    let segments = SegmentState {
        ds: 0xa,
        es: 0xb,
        fs: 0xc,
        gs: 0xd,
        ..SegmentState::default()
    };
    let target = Target {
        segments: Some(segments),
        ..PLAIN
    };
    let frame = frame(&interrupted(), true, false, &target);
    assert_eq!(frame.words()[..7], [1, 2, 0xa, 0xb, 0xc, 0xd, 0x4000]);
    assert_eq!(frame.words().len(), 11);
}

#[test]
fn the_part_above_the_error_code_is_aligned() {
    assert_eq!(frame_address(0x7ff8, 7), 0x7ff0 - 56);
    assert_eq!(frame_address(0x7ff8, 8), 0x7ff0 - 64);
    // A stack at the end of the address space wraps and is refused by the copy.
    assert_eq!(frame_address(8, 7), 0u64.wrapping_sub(56));
}

#[test]
fn what_a_trap_pushes_is_what_iret_takes() {
    // The guest drops RCX, R11 and the error code and pushes RAX, R11, RCX and flags of its own.
    let frame = frame(&interrupted(), true, false, &PLAIN);
    let mut bytes = std::vec![0u8; 32];
    for word in &frame.words()[2..] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let (iret, _) = IretContext::read_from_prefix(&bytes).expect("nine words");
    assert_eq!((iret.rip, iret.rsp, iret.rflags), (0x4000, 0x7ff8, 0x246));
    assert_eq!(iret.cs & 3, 0);
}
