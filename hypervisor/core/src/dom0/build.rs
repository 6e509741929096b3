//! The steps of building dom0.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::arch_x86::{
    FLAT_KERNEL_CS, FLAT_KERNEL_DS, FLAT_KERNEL_SS, VGCF_IN_KERNEL, VGCF_ONLINE, VcpuGuestContext,
};
use oxen_abi::xen::{MAX_GUEST_CMDLINE, XEN_LEGACY_MAX_VCPUS};

use super::elf::Kernel;
use super::error::{BuildError, Why};
use super::extents::Extents;
use super::files::{Files, Module};
use super::load::{Image, LoadError};
use super::plan::{Extent, Plan, PlanError};
use super::write::Memory;
use super::{Boot, access};
use crate::domain::{self, Domain, Limits};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::mm::heap::MAX_ORDER;
use crate::mm::types::{self, MmError};
use crate::mm::{Purpose, adopt_frames, alloc_frames, get_page};
use crate::percpu::PerCpu;
use crate::sync::atomic::Ordering;
use crate::types::{CpuId, DomId, Mfn, PAGE_SHIFT, PAGE_SIZE};
use crate::vcpu::Paused;

/// Memory beside the kernel's own in the block that it is loaded to, to begin with: page tables,
/// stack, padding.
const BESIDE: usize = 8 << 20;
/// Frames that dom0 never gets: the hypervisor's own needs.
const KEPT: u64 = 1024;
/// Highest event-channel port of dom0: what FIFO event channels have room for.
const EVENT_PORTS: u32 = (1 << 17) - 1;

/// Builds dom0 and lets it run. The files may be overwritten once this has returned.
pub fn build<M: Machine>(cpu: &PerCpu<M>, boot: &Boot<'_>) -> Result<(), BuildError> {
    try_build(cpu, boot).map_err(BuildError::from)
}

fn try_build<M: Machine>(cpu: &PerCpu<M>, boot: &Boot<'_>) -> Result<(), Why> {
    let hv = cpu.hv;
    let files = Files::tell_apart(boot.modules).ok_or(Why::NoKernel)?;
    name_files(hv, boot.modules, &files);
    let module = files.initrd.map_or(&[][..], |initrd| initrd.bytes);
    let available = available(hv);
    let loaded = load(hv, files.kernel, module.len() as u64, available)?;
    describe(hv, &loaded, module.len());

    let domain = create(cpu, &loaded, available)?;
    let frames = give_frames(cpu, &domain, &loaded)?;
    fill(hv, &domain, &loaded, &frames, &files, boot)?;
    start_vcpus(cpu, &domain, &loaded, &frames)?;
    access::allow(hv, &domain, boot);
    crate::console::give_input_to_dom0(hv);
    crate::mm::growth::start(cpu);
    hv.low_memory.start(hv.heap.free_frames());
    domain::unpause_by_controller(cpu, &domain);
    Ok(())
}

/// The frames that dom0 may have at most: what is free, without the hypervisor's own needs and
/// what `dma_emergency_pool=` keeps.
fn available<M: Machine>(hv: &Hypervisor<M>) -> u64 {
    let low = 1u64 << hv.options.dma_bits.saturating_sub(PAGE_SHIFT).min(63);
    let pool = (hv.options.dma_emergency_pool >> PAGE_SHIFT).min(low);
    hv.heap.free_frames().saturating_sub(KEPT + pool)
}

/// Says what each of the boot loader's files is taken for.
fn name_files<M: Machine>(hv: &Hypervisor<M>, modules: &[Module<'_>], files: &Files<'_>) {
    for (number, (module, found)) in modules.iter().zip(&files.uses).enumerate() {
        let kib = module.bytes.len().div_ceil(1024);
        if found.is_odd() {
            crate::log_warning!(hv, "Module {number}, {kib} KiB: {found}");
        } else {
            crate::log_info!(hv, "Module {number}, {kib} KiB: {found}");
        }
    }
}

/// A kernel in a block of frames that nobody owns yet.
struct Loaded {
    kernel: Kernel,
    plan: Plan,
    /// The block's first frame and order.
    first: Mfn,
    order: u8,
    /// How it was compressed.
    format: &'static str,
}

/// Loads the kernel. How large a block it takes is known for sure only once it is decoded, so a
/// block that turns out too small is given back and a larger one tried.
fn load<M: Machine>(
    hv: &Hypervisor<M>,
    kernel: Module<'_>,
    module: u64,
    available: u64,
) -> Result<Loaded, Why> {
    let image = Image::new(kernel.bytes).map_err(LoadError::Image)?;
    let mut room = image.room().saturating_add(BESIDE);
    // A decoder jumps about in all that it has written. QEMU's TLB grows only when it is flushed
    // and was full then; without this it would take a third longer there.
    let mut next_flush = 1 << 20;
    let mut pause = |made| {
        if made >= next_flush {
            hv.machine.flush_tlb_local();
            next_flush *= 2;
        }
    };
    loop {
        let (first, order) = take_block(hv, room)?;
        let frames = 1u64 << order;
        let mut outcome = Err(LoadError::Room(room));
        hv.machine
            .with_unowned_frames(first, frames, &mut |memory| {
                outcome = image.load(memory, &mut pause)
            });
        let next = match outcome {
            Ok(kernel) => match plan(hv, &kernel, module, available) {
                Ok(plan) if plan.mapped <= frames => {
                    let format = image.format().name();
                    return Ok(Loaded {
                        kernel,
                        plan,
                        first,
                        order,
                        format,
                    });
                }
                Ok(plan) => Ok(usize::try_from(plan.mapped << PAGE_SHIFT).unwrap_or(usize::MAX)),
                Err(error) => Err(Why::Plan(error)),
            },
            Err(LoadError::Room(needed)) if needed > room => Ok(needed),
            Err(error) => Err(error.into()),
        };
        hv.heap.free(&hv.machine, first, order);
        room = next?;
    }
}

/// Takes a block of at least `room` bytes from the heap.
fn take_block<M: Machine>(hv: &Hypervisor<M>, room: usize) -> Result<(Mfn, u8), Why> {
    let frames = (room as u64).div_ceil(PAGE_SIZE);
    (0..=MAX_ORDER)
        .find(|order| 1u64 << order >= frames)
        .and_then(|order| Some((hv.heap.alloc(&hv.machine, order, 64)?, order)))
        .ok_or(Why::NoBlock(room))
}

/// Lays dom0 out in as much memory as the options say, or in what it needs if that is more.
fn plan<M: Machine>(
    hv: &Hypervisor<M>,
    kernel: &Kernel,
    module: u64,
    available: u64,
) -> Result<Plan, PlanError> {
    let mut frames = hv.options.dom0_mem.frames(available, 0);
    loop {
        match Plan::new(kernel, module, frames) {
            Err(PlanError::Memory { needed, .. }) if needed <= available && needed > frames => {
                crate::log_warning!(
                    hv,
                    "dom0_mem= gives dom0 {} MiB; it gets the {} MiB that it needs to start",
                    frames >> 8,
                    needed.div_ceil(256)
                );
                frames = needed;
            }
            Err(PlanError::Memory { needed, .. }) => {
                return Err(PlanError::Memory { needed, available });
            }
            outcome => return outcome,
        }
    }
}

fn describe<M: Machine>(hv: &Hypervisor<M>, loaded: &Loaded, module: usize) {
    let Loaded { kernel, plan, .. } = loaded;
    let address = |extent: Extent| (plan.address(extent.first), plan.address(extent.end()));
    let start = kernel
        .segments
        .first()
        .map_or(0, |segment| segment.place as u64);
    crate::log_always!(
        hv,
        "Dom0 kernel: {} {}, {}, {:#x}-{:#x}, entry {:#x}",
        kernel.notes.guest_os,
        kernel.notes.guest_version,
        loaded.format,
        kernel.base + start,
        kernel.base + kernel.end as u64,
        kernel.entry
    );
    let (tables, tables_end) = address(plan.tables);
    crate::log_always!(
        hv,
        "Dom0 layout: start_info {:#x}, page tables {tables:#x}-{tables_end:#x}, P2M {:#x}, \
         stack {:#x}, end {:#x}",
        plan.address(plan.start_info),
        plan.p2m_address,
        plan.address(plan.stack),
        plan.address(plan.mapped)
    );
    crate::log_always!(
        hv,
        "Dom0 has {} MiB of memory ({} frames), initrd {} KiB",
        plan.frames >> 8,
        plan.frames,
        module >> 10
    );
}

/// Makes the domain, with nothing but its limits.
fn create<M: Machine>(
    cpu: &PerCpu<M>,
    loaded: &Loaded,
    available: u64,
) -> Result<Arc<Domain<M>>, Why> {
    let vcpus = u32::try_from(vcpu_count(cpu.hv)).unwrap_or(1);
    let limits = Limits {
        max_event_port: EVENT_PORTS,
        max_vcpus: vcpus,
        ..Limits::default()
    };
    let domain = domain::create(cpu, DomId::DOM0, true, &limits).map_err(Why::Create)?;
    let max = cpu
        .hv
        .options
        .dom0_mem
        .max_frames(available, loaded.plan.frames);
    domain.memory.max.store(max, Ordering::Release);
    cpu.hv.dom0.call_once(|| Arc::clone(&domain));
    Ok(domain)
}

/// Gives dom0 the kernel's block, without what is past its share, and the rest of its memory.
fn give_frames<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    loaded: &Loaded,
) -> Result<Extents, Why> {
    let hv = cpu.hv;
    let wanted = loaded.plan.frames;
    let block = 1u64 << loaded.order;
    let kept = block.min(wanted);
    for frame in kept..block {
        hv.heap.free(&hv.machine, loaded.first.offset(frame), 0);
    }
    if !adopt_frames(hv, domain, loaded.first, kept) {
        return Err(Why::NoMemory("dom0's kernel"));
    }
    let mut extents = Extents::default();
    extents.push(loaded.first, kept);
    let mut order = MAX_ORDER;
    while extents.total() < wanted {
        let left = wanted - extents.total();
        while 1 << order > left {
            order -= 1;
        }
        match alloc_frames(cpu, domain, order, 64, Purpose::Built) {
            Some(first) => extents.push(first, 1 << order),
            None if order > 0 => order -= 1,
            None => return Err(Why::NoMemory("dom0's memory")),
        }
    }
    Ok(extents)
}

/// Writes everything that dom0 finds at its start.
fn fill<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain<M>,
    loaded: &Loaded,
    frames: &Extents,
    files: &Files<'_>,
    boot: &Boot<'_>,
) -> Result<(), Why> {
    let Loaded { kernel, plan, .. } = loaded;
    let memory = Memory {
        machine: &hv.machine,
        frames,
    };
    let loaded_pages = (kernel.end as u64).div_ceil(PAGE_SIZE);
    memory.clear(Extent {
        first: loaded_pages,
        count: plan.mapped - loaded_pages,
    });
    memory.p2m(plan.p2m);
    let module = files.initrd.map_or(&[][..], |initrd| initrd.bytes);
    if let Some(extent) = plan.module {
        memory.module(extent, module);
    }
    memory.tables(plan);
    let shared = *domain
        .memory
        .shared_info
        .get()
        .ok_or(Why::NoMemory("shared_info"))?;
    let by_pfn = kernel.notes.module_by_pfn;
    let command_line = command_line(hv, files.kernel.command_line);
    memory.start_info(plan, shared, module.len(), by_pfn, &command_line, boot.vga);
    // Events are masked until the kernel is ready for them.
    for vcpu in 0..XEN_LEGACY_MAX_VCPUS {
        hv.machine.write_frame(shared, vcpu * 64 + 1, &[1]);
    }
    fill_hypercall_page(hv, loaded, frames);
    Ok(())
}

fn fill_hypercall_page<M: Machine>(hv: &Hypervisor<M>, loaded: &Loaded, frames: &Extents) {
    let Loaded { kernel, plan, .. } = loaded;
    let page = kernel
        .notes
        .hypercall_page
        .and_then(|address| address.checked_sub(plan.base))
        .map(|offset| offset >> PAGE_SHIFT)
        .filter(|page| *page < plan.mapped)
        .and_then(|page| frames.get(page));
    if let Some(mfn) = page {
        crate::hypercall::page::fill(&hv.machine, mfn);
    }
}

/// dom0's command line: its own, and the hypervisor's options that are its business too.
fn command_line<M: Machine>(hv: &Hypervisor<M>, own: &str) -> String {
    let mut line = String::from(own.trim());
    if !hv.options.dom0_extra.is_empty() {
        line.push(' ');
        line.push_str(&hv.options.dom0_extra);
    }
    if line.len() >= MAX_GUEST_CMDLINE {
        crate::log_warning!(
            hv,
            "dom0's command line is cut off at {MAX_GUEST_CMDLINE} bytes"
        );
    }
    line
}

/// Gives dom0 its vCPUs and makes the first one ready to run at the kernel's entry.
fn start_vcpus<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    loaded: &Loaded,
    frames: &Extents,
) -> Result<(), Why> {
    let hv = cpu.hv;
    let count = vcpu_count(hv);
    domain::add_vcpus(cpu, domain, count).map_err(Why::Create)?;
    if hv.options.dom0_vcpus_pin {
        pin_vcpus(hv, domain);
    }
    let Loaded { kernel, plan, .. } = loaded;
    let l4 = frames
        .get(plan.tables.first)
        .ok_or(Why::NoMemory("page tables"))?;
    if !get_page(&hv.machine, l4, domain.id) {
        return Err(Why::NoMemory("page tables"));
    }
    finish(cpu, || types::pin(cpu, domain, l4, 4))?;

    let vcpu = domain
        .vcpu(crate::VcpuId(0))
        .ok_or(Why::NoMemory("vCPUs"))?;
    let stack = plan.address(plan.stack + 1);
    let mut context = alloc::boxed::Box::<VcpuGuestContext>::default();
    context.flags = VGCF_IN_KERNEL | VGCF_ONLINE;
    let regs = &mut context.user_regs;
    regs.rip = kernel.entry;
    regs.rsp = stack;
    regs.rsi = plan.address(plan.start_info);
    regs.rflags = 1 << 9;
    regs.cs = FLAT_KERNEL_CS;
    regs.ss = FLAT_KERNEL_SS;
    [regs.ds, regs.es, regs.fs, regs.gs] = [FLAT_KERNEL_DS; 4];
    context.kernel_ss = u64::from(FLAT_KERNEL_SS);
    context.kernel_sp = stack;
    context.ctrlreg[3] = l4.address();
    finish(cpu, || {
        crate::vcpu::context::apply(cpu, domain, &vcpu, &context)
    })?;
    vcpu.paused
        .fetch_and(!Paused::DOWN.bits(), Ordering::SeqCst);
    let cpus = hv.machine.cpus().iter().count();
    crate::log_always!(hv, "Dom0 has {count} vCPUs on {cpus} CPUs");
    Ok(())
}

fn vcpu_count<M: Machine>(hv: &Hypervisor<M>) -> usize {
    hv.options
        .dom0_max_vcpus
        .count(hv.machine.cpus().iter().count())
}

/// Work on page tables that stops when something is pending is simply done again: nothing else
/// runs yet.
fn finish<M: Machine>(
    cpu: &PerCpu<M>,
    mut work: impl FnMut() -> Result<(), MmError>,
) -> Result<(), Why> {
    loop {
        cpu.entered();
        match work() {
            Ok(()) => return Ok(()),
            Err(MmError::Restart) => {}
            Err(MmError::Errno(errno)) => return Err(Why::Tables(errno)),
        }
    }
}

/// `dom0_vcpus_pin`: vCPU n runs on CPU n only, round and round if there are more vCPUs.
fn pin_vcpus<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>) {
    let online = hv.machine.cpus();
    let cpus: Vec<CpuId> = online.iter().collect();
    for (vcpu, cpu) in domain.vcpus.read().iter().zip(cpus.iter().cycle()) {
        let mut mask = CpuMask::EMPTY;
        mask.insert(*cpu);
        // It has not run, so it has not tied itself to a CPU.
        let _ = vcpu.sched.set_hard_affinity(Some(mask));
    }
}
