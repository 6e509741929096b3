//! The order in which the machine is brought up.

use crate::{console, reboot};

/// First Rust code: on the boot stack, with the boot page tables, interrupts off.
///
/// `magic` and `info` are what the loader left in EAX and EBX.
pub(super) extern "C" fn oxen_boot(magic: u32, info: u32) -> ! {
    console::init();
    console::println!("Oxen {}", env!("CARGO_PKG_VERSION"));
    console::println!("multiboot magic {magic:#x} information at {info:#x}");
    reboot::debug_exit(0)
}
