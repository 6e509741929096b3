//! The order in which the machine is brought up.

use core::fmt::Display;

use ::alloc::boxed::Box;
use oxen_core::options::{EarlyConsole, Options};
use spin::Mutex;

use super::e820::{self, Ranges, ram_pages, remove};
use super::handover::{self, GuestMemory};
use super::info::{BootInfo, MAX_COMMAND_LINE};
use super::phys::LowMemory;
use super::{alloc, devices};
use crate::console::println;
use crate::layout::PAGE_SIZE;
use crate::{
    acpi, bios, console, cpu, heap, image, memory, paging, percpu, reboot, smp, trap, watchdog,
};

/// What the loader said.
static BOOT_INFO: Mutex<BootInfo> = Mutex::new(BootInfo::new());

/// First Rust code: on the boot stack, with the boot page tables, interrupts off.
///
/// `magic` and `info` are what the loader left in EAX and EBX.
pub(super) extern "C" fn oxen_boot(magic: u32, info: u32) -> ! {
    trap::init_early();
    {
        let mut boot = BOOT_INFO.lock();
        let read = boot.read(&LowMemory, magic, info);
        if read.is_ok() {
            console::init(&EarlyConsole::parse(&boot.command_line));
        } else {
            console::init_usual();
        }
        println!("Oxen {}", env!("CARGO_PKG_VERSION"));
        or_stop("the boot loader's information", read);
        reboot::set_debug_exit(debug_exit(&boot.command_line));
        println!(
            "loader: {}; command line: {}",
            boot.loader, boot.command_line
        );
        if boot.cut {
            println!(
                "WARNING: the command line is longer than {} bytes, the rest is ignored",
                MAX_COMMAND_LINE - 1
            );
        }
        acpi::init(&LowMemory, boot.rsdp.as_ref());
        memory::set_map(e820::sanitise(&boot.memory));
        bios::look(boot.uefi);
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

/// The port of the boot option `debug-exit`, which has to work before the options are parsed: they need the heap.
fn debug_exit(command_line: &str) -> Option<u16> {
    let value = command_line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("debug-exit"))?;
    let port = value.strip_prefix('=').unwrap_or("0xf4");
    u16::from_str_radix(port.strip_prefix("0x")?, 16).ok()
}

/// RAM but for the firmware's low megabyte and the image.
fn usable_memory() -> Ranges {
    let mut usable = ram_pages(memory::map());
    remove(&mut usable, 0, 1 << 20);
    let image = image::physical_range();
    remove(&mut usable, image.start, image.end);
    usable
}

/// The part of it that no module takes.
fn free_memory(boot: &BootInfo) -> Ranges {
    let mut free = usable_memory();
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
    let cpus = acpi::info()
        .madt
        .as_ref()
        .map_or(&[][..], |madt| madt.cpus.as_slice());
    let order = smp::topology::order(cpus, smp::topology::own_apic_id(), true);
    let Some(own) = order.first() else {
        stop("the boot CPU", &"it has no place in the order of CPUs")
    };
    let data = or_stop("the boot CPU's stacks", smp::make(0, own));
    // SAFETY: the stack was mapped just now and nothing is on it; `with_heap` never returns.
    unsafe {
        core::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {go}",
            "ud2",
            top = in(reg) data.stack_block() + percpu::FRAME_PAGE,
            go = sym with_heap,
            options(noreturn)
        )
    }
}

/// From here on there are a heap, per-CPU data and the hypervisor's own page tables.
extern "C" fn with_heap() -> ! {
    trap::init_cpu(percpu::this_cpu());
    let boot = BOOT_INFO.lock();
    let (options, _) = Options::parse(&boot.command_line);
    reboot::set_debug_exit(options.debug_exit);
    let firmware = bios::ask(&options);
    console::attach_screen();
    devices::init(&options);
    if options.watchdog {
        watchdog::start(options.watchdog_timeout);
    }
    or_stop(
        "the guests' page tables",
        crate::speculation::init(&options.spec_ctrl),
    );
    crate::machine_check::init();
    or_stop("the other CPUs' stacks", devices::make_cpus(&options));
    let started = smp::start_all();
    println!("CPUs: {} of {}", started + 1, percpu::cpu_count());
    if !heap::make_room(percpu::cpu_count()) {
        stop("the heap", &"there is not enough memory for so many CPUs");
    }

    handover::start(&boot, guest_memory(&boot, &options), firmware)
}

/// Ends the boot allocator and sorts out what is left. Boxed and not inlined: the lists are long for a stack.
#[inline(never)]
fn guest_memory(boot: &BootInfo, options: &Options) -> Box<GuestMemory> {
    let end = options.mem.unwrap_or(u64::MAX);
    let mut memory = Box::new(GuestMemory {
        free: alloc::finish(),
        modules: module_memory(boot),
        total: memory::ram_below(end),
        end,
    });
    let GuestMemory {
        free,
        modules,
        total,
        ..
    } = &mut *memory;
    for ranges in [&mut *free, modules] {
        remove(ranges, end, u64::MAX);
        for page in &options.bad_pages {
            if let Some(start) = page.checked_mul(PAGE_SIZE) {
                remove(ranges, start, start.saturating_add(PAGE_SIZE));
            }
        }
    }
    let left: u64 = free.iter().map(|(start, end)| end - start).sum();
    println!(
        "memory: {} MiB, {} MiB of it free",
        *total >> 20,
        left >> 20
    );
    memory
}

/// What the modules take of the RAM that could be free.
fn module_memory(boot: &BootInfo) -> Ranges {
    let mut modules = usable_memory();
    for (start, end) in &free_memory(boot) {
        remove(&mut modules, *start, *end);
    }
    modules
}

pub(super) fn or_stop<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => stop(what, &error),
    }
}

/// The machine cannot be brought up.
pub(super) fn stop(what: &str, why: &dyn Display) -> ! {
    println!("Oxen cannot start: {what}: {why}");
    reboot::failed()
}
