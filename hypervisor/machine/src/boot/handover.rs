//! From the machine to `core`: its hypervisor, each CPU's data, and dom0's files.

use ::alloc::boxed::Box;
use ::alloc::vec::Vec;

use oxen_abi::memory::E820Entry;
use oxen_abi::start_info::{Dom0VgaConsoleInfo, XEN_VGATYPE_TEXT_MODE_3};
use oxen_core::dom0::{self, Boot};
use oxen_core::firmware::Firmware;
use oxen_core::hypervisor::{HostInfo, Hypervisor};
use oxen_core::mm::nodes::Nodes;
use oxen_core::{CpuId, Mfn};
use spin::Once;

use super::e820::{Kind, Ranges, Region, sanitise};
use super::info::{BootInfo, Module};
use crate::acpi::{self, Space};
use crate::apic::{ioapic, ipi, route};
use crate::layout::{PAGE_SHIFT, PAGE_SIZE};
use crate::num::{low32, to_usize};
use crate::percpu::{self, PerCpu, this_cpu};
use crate::smp::{self, topology::Topology};
use crate::trap::{self, vectors};
use crate::x86::X86;
use crate::{console, memory, paging, reboot};

static HYPERVISOR: Once<&'static Hypervisor<X86>> = Once::new();

/// `core`'s hypervisor, once there is one.
pub(crate) fn hypervisor() -> Option<&'static Hypervisor<X86>> {
    HYPERVISOR.get().copied()
}

/// Memory that guests may have, in bytes.
#[derive(Debug)]
pub(super) struct GuestMemory {
    /// What nobody uses.
    pub(super) free: Ranges,
    /// What the boot loader's files take; free as soon as dom0 is built.
    pub(super) modules: Ranges,
    /// All RAM that is used, the hypervisor's own included, in bytes.
    pub(super) total: u64,
    /// First byte of RAM that is not used (`mem=`).
    pub(super) end: u64,
}

/// Starts `core` on this CPU, then on the others, and builds dom0.
pub(super) fn start(boot: &BootInfo, memory: Box<GuestMemory>, firmware: Firmware) -> ! {
    let GuestMemory { free, modules, .. } = &*memory;
    memory::set_guest_ram(free);
    crate::frames::mark_devices();
    let frames = |&(start, end): &(u64, u64)| (Mfn(start >> PAGE_SHIFT), Mfn(end >> PAGE_SHIFT));
    let hv = oxen_core::start::hypervisor(
        X86,
        &boot.command_line,
        &console::boot_log(),
        host_info(&memory, firmware),
        free.iter().map(frames),
        to_usize(percpu::cpu_count().into()),
    );
    reboot::set_no_reboot(hv.options.noreboot);
    HYPERVISOR.call_once(|| hv);
    let cpu = oxen_core::start::cpu(hv, CpuId(0));
    trap::set_core_cpu(cpu);
    smp::release();
    listen(0, hv.options.com1.irq);
    listen(1, hv.options.com2.irq);

    let files: Vec<_> = boot.modules.iter().filter_map(file).collect();
    let given = Boot {
        modules: &files,
        vga: vga(),
        pm_timer: pm_timer(),
    };
    match dom0::build(cpu, &given) {
        Ok(()) => {}
        Err(error) => super::start::stop("dom0", &error),
    }
    if !hv.options.vga_keep {
        console::release_screen();
    }
    drop(files);
    memory::set_guest_ram(modules);
    for (first, end) in modules.iter().map(frames) {
        hv.heap.add(&hv.machine, first, end);
    }
    super::run::run_guests()
}

/// What a started CPU goes on to.
pub(crate) fn run_cpu(data: &'static PerCpu) -> ! {
    let id = u16::try_from(data.cpu).map(CpuId);
    match (HYPERVISOR.get(), id) {
        (Some(hv), Ok(id)) => {
            let cpu = oxen_core::start::cpu(hv, id);
            trap::set_core_cpu(cpu);
            // The boot CPU may have asked for a flush already, which could not be answered until now.
            ipi::serve_flush(cpu);
            super::run::run_guests()
        }
        _ => reboot::halt(),
    }
}

/// A file in memory as `core` sees it; nothing if it does not lie in RAM.
fn file(module: &Module) -> Option<dom0::Module<'_>> {
    let inside = |region: &Region| {
        region.kind == Kind::Ram && region.start <= module.start && module.end <= region.end()
    };
    if module.start < 1 << 20 || !memory::map().iter().any(inside) {
        return None;
    }
    let place = paging::direct(module.start)?;
    // SAFETY: RAM that was kept out of the free memory and is not the hypervisor's own; it is given to `core` only after
    // the last use of the file.
    let bytes = unsafe { core::slice::from_raw_parts(place, to_usize(module.end - module.start)) };
    Some(dom0::Module {
        bytes,
        command_line: &module.command_line,
    })
}

/// Facts that tools and dom0 ask for.
fn host_info(memory: &GuestMemory, firmware: Firmware) -> HostInfo {
    let topology = Topology::read();
    let places = (0..percpu::cpu_count())
        .filter_map(percpu::get)
        .map(|data| topology.place(data.apic_id));
    let (threads, cores) = places.fold((0, 0), |most, place| {
        (most.0.max(place.thread), most.1.max(place.core))
    });
    HostInfo {
        nodes: nodes(),
        threads_per_core: threads + 1,
        cores_per_socket: cores + 1,
        total_frames: memory.total >> PAGE_SHIFT,
        e820: e820(memory.end),
        firmware,
        ..HostInfo::default()
    }
}

/// The nodes that the firmware names. RAM counts, not the firmware's gaps in it.
#[inline(never)]
fn nodes() -> Nodes {
    let numa = &acpi::info().numa;
    let mut memory = Vec::new();
    for piece in numa.memory() {
        for (start, end) in &super::e820::ram_pages(memory::map()) {
            let (first, last) = (piece.start.max(*start), piece.end.min(*end));
            if first < last {
                memory.push((
                    Mfn(first >> PAGE_SHIFT),
                    Mfn(last >> PAGE_SHIFT),
                    piece.node,
                ));
            }
        }
    }
    let cpus = (0..percpu::cpu_count())
        .map(|cpu| percpu::get(cpu).map_or(0, |data| numa.node_of_cpu(data.apic_id)))
        .collect();
    if numa.nodes() > 1 {
        console::println!("NUMA: {} nodes", numa.nodes());
    }
    Nodes::new(numa.nodes(), memory, cpus, |from, to| {
        numa.distance(from, to)
    })
}

/// The memory map for dom0, not inlined for its long lists. RAM ends at `end`; the interrupt controllers are reserved.
///
/// The RAM that the hypervisor keeps counts as RAM, as in Xen. A kernel wants what is reserved mapped one to one, which
/// is refused for the hypervisor's frames, and Linux 5.10 overlooks that: what it has mapped there stays, a second time
/// beside its new place, and can become no page table.
#[inline(never)]
fn e820(end: u64) -> Vec<E820Entry> {
    let reserved = |start, size| Region {
        start,
        size,
        kind: Kind::Reserved,
    };
    let mut regions: Vec<Region> = memory::map().to_vec();
    for region in regions.iter_mut().filter(|region| region.kind == Kind::Ram) {
        region.size = region.end().min(end).saturating_sub(region.start);
    }
    if let Some(madt) = &acpi::info().madt {
        regions.push(reserved(madt.lapic_base, PAGE_SIZE));
        regions.extend(
            madt.io_apics
                .iter()
                .map(|apic| reserved(apic.address.into(), PAGE_SIZE)),
        );
    }
    let entry = |region: &Region| E820Entry {
        addr: region.start,
        size: region.size,
        kind: region.kind.to_e820(),
    };
    sanitise(&regions).iter().map(entry).collect()
}

/// The text screen that the firmware leaves.
fn vga() -> Option<Dom0VgaConsoleInfo> {
    if acpi::info().fadt.is_some_and(|fadt| fadt.no_vga) {
        return None;
    }
    // Font height and cursor column, cursor row and rows, columns: 16 bits each.
    let (row, rows) = console::screen_rows().map_or((24, 25), |(row, rows)| {
        (
            u32::try_from(row).unwrap_or(0),
            u32::try_from(rows).unwrap_or(25),
        )
    });
    let (font, column, columns) = (16, 0, 80);
    let mut u = [0; 9];
    u[..3].copy_from_slice(&[font | column << 16, row | rows << 16, columns]);
    Some(Dom0VgaConsoleInfo {
        video_type: XEN_VGATYPE_TEXT_MODE_3,
        u,
        ..Dom0VgaConsoleInfo::default()
    })
}

fn pm_timer() -> Option<u16> {
    let timer = acpi::info()
        .fadt?
        .pm_timer
        .filter(|register| register.space == Space::Io)?;
    u16::try_from(low32(timer.address)).ok()
}

/// Lets a serial line (0 for com1, 1 for com2) interrupt the boot CPU; one without an interrupt is polled.
fn listen(line: usize, irq: u8) {
    if !console::is_open(line) {
        return;
    }
    let (gsi, mode) = route::isa(irq);
    let interrupts = irq != 0
        && route::claim(gsi)
        && ioapic::route(
            gsi,
            mode.level,
            mode.active_low,
            this_cpu().apic_id,
            vectors::SERIAL,
            false,
        );
    console::listen(line, interrupts);
}
