//! The order in which the machine is brought up.

use core::fmt::Display;

use ::alloc::boxed::Box;
use spin::Mutex;

use super::alloc;
use super::e820::{self, Ranges, ram_pages, remove};
use super::info::BootInfo;
use super::phys::LowMemory;
use crate::console::println;
use crate::percpu::{self, PerCpu};
use crate::{acpi, clock, console, cpu, heap, image, memory, paging, reboot, stacks};

/// What the loader said.
static BOOT_INFO: Mutex<BootInfo> = Mutex::new(BootInfo::new());

/// First Rust code: on the boot stack, with the boot page tables, interrupts off.
///
/// `magic` and `info` are what the loader left in EAX and EBX.
pub(super) extern "C" fn oxen_boot(magic: u32, info: u32) -> ! {
    console::init();
    println!("Oxen {}", env!("CARGO_PKG_VERSION"));
    {
        let mut boot = BOOT_INFO.lock();
        or_stop(
            "the boot loader's information",
            boot.read(&LowMemory, magic, info),
        );
        reboot::set_debug_exit(
            boot.command_line
                .split_whitespace()
                .any(|word| word == "debug-exit"),
        );
        println!(
            "loader: {}; command line: {}",
            boot.loader, boot.command_line
        );
        acpi::init(&LowMemory, boot.rsdp.as_ref());
        memory::set_map(e820::sanitise(&boot.memory));
        alloc::start(free_memory(&boot));
    }
    cpu::set_pat();
    or_stop("the page tables", own_tables());
    // SAFETY: the image is mapped where it was, and so is the boot stack, in the direct map.
    unsafe { paging::activate() }
    or_stop("the frame table", memory::init());
    if !heap::init() {
        stop("the heap", &"not enough memory");
    }
    on_own_stack()
}

/// RAM that neither the firmware's low megabyte, the image nor a module takes.
fn free_memory(boot: &BootInfo) -> Ranges {
    let mut free = ram_pages(memory::map());
    remove(&mut free, 0, 1 << 20);
    let image = image::physical_range();
    remove(&mut free, image.start, image.end);
    for module in &boot.modules {
        remove(&mut free, module.start, module.end);
    }
    free
}

fn own_tables() -> Result<(), paging::MapError> {
    paging::init()?;
    paging::map_image()?;
    paging::map_direct(memory::map())
}

/// Makes the boot CPU's stacks and goes on there.
fn on_own_stack() -> ! {
    let data: &'static PerCpu = Box::leak(Box::new(PerCpu::new(0, 0, 0)));
    percpu::register(data);
    or_stop("the boot CPU's stacks", stacks::make(data));
    // SAFETY: the stack was mapped just now and nothing is on it; `with_heap` never returns.
    unsafe {
        core::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {go}",
            "ud2",
            top = in(reg) data.stack_block() + percpu::RSP0_OFFSET - 512,
            go = sym with_heap,
            options(noreturn)
        )
    }
}

/// From here on there are a heap, per-CPU data and the hypervisor's own page tables.
extern "C" fn with_heap() -> ! {
    let tables = acpi::info();
    println!(
        "ACPI: {} tables, {} CPUs",
        tables.tables,
        tables.madt.as_ref().map_or(0, |madt| madt.cpus.len())
    );
    let (reference, hz) = clock::init();
    println!(
        "TSC: {}.{:03} MHz by the {reference}",
        hz / 1_000_000,
        hz / 1000 % 1000
    );
    println!("wall clock: {} s since 1970", clock::boot_wallclock());
    println!("memory: {} MiB", memory::total_ram() >> 20);
    let free = alloc::finish();
    memory::set_guest_ram(&free);
    let left: u64 = free.iter().map(|(start, end)| end - start).sum();
    println!("memory left for guests: {} KiB", left >> 10);
    if reboot::debug_exit_wanted() {
        reboot::debug_exit(0)
    }
    reboot::halt()
}

fn or_stop<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => stop(what, &error),
    }
}

/// The machine cannot be brought up.
fn stop(what: &str, why: &dyn Display) -> ! {
    println!("Oxen cannot start: {what}: {why}");
    if reboot::debug_exit_wanted() {
        reboot::debug_exit(1)
    }
    reboot::halt()
}
