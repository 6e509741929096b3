//! The lowest module: entry, hypercalls and everything else that needs unsafe code.

mod boot;
pub mod hypercall;
mod panic;

pub use boot::start_info;
