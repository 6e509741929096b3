//! A panic says so on the console and crashes the domain.

use core::panic::PanicInfo;

use oxen_abi::sched::SHUTDOWN_CRASH;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::println!("PANIC {info}");
    crate::kernel::shutdown(SHUTDOWN_CRASH)
}
