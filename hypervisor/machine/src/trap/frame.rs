//! What the entry code leaves on the stack.

use oxen_abi::arch_x86::CpuUserRegs;

use crate::percpu::{RSP0_OFFSET, this_header};

/// Registers of interrupted code, as the entry code pushes them: the part of [`CpuUserRegs`] below ES. An entry from a
/// guest lies so that the rest of `CpuUserRegs` follows it; an entry from the hypervisor has only this.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "registers by their names")]
pub(crate) struct HostFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) error_code: u32,
    pub(crate) entry_vector: u32,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// Bytes of general registers at the bottom of a frame.
pub(crate) const GENERAL_BYTES: usize = core::mem::offset_of!(HostFrame, error_code);
/// Size of the pushed part.
pub(crate) const PUSHED_BYTES: usize = size_of::<HostFrame>();

const _: () = {
    use core::mem::offset_of;
    assert!(PUSHED_BYTES == offset_of!(CpuUserRegs, es));
    assert!(GENERAL_BYTES == offset_of!(CpuUserRegs, error_code));
    assert!(offset_of!(HostFrame, rip) == offset_of!(CpuUserRegs, rip));
    assert!(offset_of!(HostFrame, cs) == offset_of!(CpuUserRegs, cs));
    assert!(offset_of!(HostFrame, rsp) == offset_of!(CpuUserRegs, rsp));
    assert!(
        RSP0_OFFSET + (size_of::<CpuUserRegs>() - PUSHED_BYTES) as u64
            == crate::percpu::HEADER_OFFSET
    );
};

/// The guest's register frame at the top of this CPU's main stack.
pub(crate) fn guest_frame() -> *mut CpuUserRegs {
    let header = this_header() as usize;
    (header - size_of::<CpuUserRegs>()) as *mut CpuUserRegs
}
