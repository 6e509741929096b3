//! Starting the other CPUs, one at a time (SDM volume 3, 9.4.4).

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};

use super::trampoline;
use crate::acpi::Cpu;
use crate::apic::{lapic, timer};
use crate::paging::{self, MapError};
use crate::percpu::{self, FRAME_PAGE, PerCpu, this_cpu};
use crate::{clock, control, cpu, isolation, machine_check, memory, speculation, stacks, trap};

/// Between INIT and the first start-up interrupt.
const AFTER_INIT_NS: u64 = 10_000_000;
/// Between the two start-up interrupts.
const AFTER_STARTUP_NS: u64 = 200_000;
/// How long a CPU may take to come up.
const PATIENCE_NS: u64 = 10_000_000_000;

/// The started CPUs may go on to `core`.
static RELEASED: AtomicBool = AtomicBool::new(false);

/// Makes data and stacks of a CPU that will be `number`.
pub(crate) fn make(number: u32, cpu: &Cpu) -> Result<&'static PerCpu, MapError> {
    let data: &'static PerCpu = Box::leak(Box::new(PerCpu::new(number, cpu.apic_id, cpu.acpi_id)));
    stacks::make(data)?;
    if isolation::is_on() {
        isolation::make(data)?;
    }
    if !percpu::register(data) {
        return Err(MapError::InUse(data.stack_block()));
    }
    Ok(data)
}

/// Starts every CPU that has been made but for the one that executes this; they wait for [`release`]. Returns how many
/// came up.
pub(crate) fn start_all() -> u32 {
    let Some(page) = trampoline::pick_page(memory::map()) else {
        return 0;
    };
    // SAFETY: all RAM below 1 MiB is kept out of the free memory, for this.
    unsafe { trampoline::install(page) }
    let others = (1..percpu::cpu_count()).filter_map(percpu::get);
    others.fold(0, |count, data| count + u32::from(start(data, page)))
}

/// Starts one CPU and waits until it is online.
fn start(data: &'static PerCpu, page: u8) -> bool {
    trampoline::set_target(paging::own_l4(), data.stack_block() + FRAME_PAGE);
    lapic::send_init(data.apic_id);
    clock::delay(AFTER_INIT_NS);
    for _ in 0..2 {
        lapic::send_startup(data.apic_id, page);
        clock::delay(AFTER_STARTUP_NS);
    }
    let deadline = clock::now() + PATIENCE_NS;
    while !data.online.load(Ordering::Acquire) {
        if clock::now() > deadline {
            // It must not wake up later and take the next one's stack.
            lapic::send_init(data.apic_id);
            return false;
        }
        clock::answer();
        core::hint::spin_loop();
    }
    true
}

/// First Rust code of a started CPU: on its own stack, with the hypervisor's page tables, interrupts off.
pub(super) extern "C" fn oxen_start_cpu() -> ! {
    let data = this_cpu();
    cpu::set_pat();
    trap::init_cpu(data);
    speculation::init_cpu();
    machine_check::init();
    lapic::init();
    data.tsc_offset.store(clock::measure(), Ordering::Release);
    timer::init();
    data.online.store(true, Ordering::Release);
    while !RELEASED.load(Ordering::Acquire) {
        control::wait_for_interrupt();
    }
    crate::boot::run_cpu(data)
}

/// Lets the started CPUs go on.
pub(crate) fn release() {
    RELEASED.store(true, Ordering::Release);
    for data in (0..percpu::cpu_count()).filter_map(percpu::get) {
        if data.cpu != this_cpu().cpu && data.online.load(Ordering::Acquire) {
            lapic::send_interrupt(data.apic_id, trap::vectors::KICK);
        }
    }
}
