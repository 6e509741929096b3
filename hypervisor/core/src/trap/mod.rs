//! Traps of a PV guest: its own handlers, how they are entered and left, and what the hypervisor
//! does on the guest's behalf when an instruction faults.

mod bounce;
mod callback;
mod control_register;
pub mod cpu_policy;
pub mod cpuid;
mod debug;
mod decode;
mod deliver;
mod exception;
mod io_port;
mod iret;
mod mode;
mod msr;
mod page_fault;
mod pci_port;
mod privileged;
mod registers;
mod segment;
mod state;
#[cfg(test)]
mod tests;

pub use callback::{callback_op, nmi_op, set_callbacks, set_trap_table, stack_switch};
pub use control_register::{allowed_cr4, fpu_taskswitch};
pub use debug::{get_debugreg, is_valid_debugreg, set_debugreg};
pub use deliver::deliver_pending;
pub use exception::{exception, guest_syscall};
pub use iret::{iret, return_fault, segments_refused};
pub use mode::{enter_kernel, enter_user};
pub use msr::TSC_AUX;
pub(crate) use segment::load_segments;
pub use segment::set_segment_base;
pub use state::{Callback, CallbackKind, Gate, TrapState};

/// `entry_vector` of a register frame made by SYSCALL from 64-bit code.
pub const ENTRY_SYSCALL: u32 = 0x100;
/// `entry_vector` of a register frame made by SYSCALL from 32-bit code.
pub const ENTRY_SYSCALL32: u32 = 0x101;
/// `entry_vector` of a register frame made by SYSENTER.
pub const ENTRY_SYSENTER: u32 = 0x102;
