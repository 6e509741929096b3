//! What the entry code leaves on the stack.

use oxen_abi::arch_x86::CpuUserRegs;

use crate::percpu::{RSP0_OFFSET, this_header};

/// Registers of interrupted code, as the entry code pushes them: the part of [`CpuUserRegs`] below ES. An entry from a
/// guest lies so that the rest of `CpuUserRegs` follows it; an entry from the hypervisor has only this.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "registers by their names")]
pub struct HostFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub error_code: u32,
    pub entry_vector: u32,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
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

impl HostFrame {
    /// Whether guest code (ring 3) was interrupted.
    pub const fn from_guest(&self) -> bool {
        self.cs & 3 != 0
    }
}

/// The guest's register frame at the top of this CPU's main stack.
pub(crate) fn guest_frame() -> *mut CpuUserRegs {
    let header = this_header() as usize;
    (header - size_of::<CpuUserRegs>()) as *mut CpuUserRegs
}
