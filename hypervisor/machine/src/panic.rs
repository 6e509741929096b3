//! The end of the hypervisor.

use core::panic::PanicInfo;

use crate::console::PanicConsole;
use crate::reboot;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    use core::fmt::Write as _;
    let _ = writeln!(PanicConsole, "\nOxen {info}");
    reboot::debug_exit(0x7f)
}
