//! The lowest module: entry, hypercalls and everything else that needs unsafe code.

pub mod bench;
mod boot;
pub mod cpu;
pub mod frame;
pub mod hypercall;
mod panic;
pub mod probe;
pub mod shared;
pub mod trap;
pub mod vcpu;

pub use boot::{entry_address, start_info};
