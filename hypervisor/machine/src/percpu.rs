//! Per-CPU data, found from the stack pointer.
//!
//! All stacks of a CPU lie in one aligned block, so that RSP, wherever it points on any of them, leads to the CPU's
//! header at the block's top. The guest's GS base stays live while the hypervisor runs: no swapgs, and no window in
//! which an NMI or a #DB finds the wrong one.
//!
//! ```text
//! block + 0x0000  entry stubs: one page of the image (section .text.entry_stubs), mapped read-execute in every block.
//!                 It is at a fixed distance from the header, so `[rip + n]` there reaches this CPU's own header
//! block + 0x1000  #DF stack, 8 KiB
//! block + 0x3000  guard
//! block + 0x4000  NMI stack, 5 KiB, and above it the #DB stack, 3 KiB (its handler needs little: a guest's #DB goes
//!                 on on the main stack)
//! block + 0x6000  guard
//! block + 0x7000  #MC stack, 8 KiB
//! block + 0x9000  guards
//! block + 0xb000  where #DF, NMI, #MC and #DB begin instead while page tables are isolated: 1 KiB each
//! block + 0xc000  guards
//! block + 0x10000 main stack, 60 KiB
//! block + 0x1f000 frame page: the guest's register frame and what an entry pushes below it; TSS.RSP0 is RSP0_OFFSET.
//!                 Between it and the header are the 32 bytes of ES, DS, FS and GS with which the guest's register frame
//!                 (CpuUserRegs) ends. What the hypervisor calls has its frames in the pages below
//! block + 0x1ff80 CpuHeader, 128 bytes
//! ```
//!
//! While page tables are isolated (module `isolation`) a guest's tables map of all that the stubs, the page at 0xb000
//! and the frame page only.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, Ordering};

use crate::layout::{MAX_CPUS, PERCPU_BASE, PERCPU_STRIDE, STACK_BLOCK};

/// Offset of the entry stubs' page in a stack block.
pub const STUBS_OFFSET: u64 = 0;
/// Top of the #DF stack, as an offset in the block.
pub const DF_STACK_TOP: u64 = 0x3000;
/// Top of the NMI stack, as an offset in the block.
pub const NMI_STACK_TOP: u64 = 0x5400;
/// Top of the #DB stack, as an offset in the block. #DB needs its own because MOV SS followed by SYSCALL raises it
/// while RSP is still the guest's.
pub const DB_STACK_TOP: u64 = 0x6000;
/// Top of the #MC stack, as an offset in the block.
pub const MC_STACK_TOP: u64 = 0x9000;
/// The page in which the stacks of the interrupt stack table begin while page tables are isolated, as an offset in the
/// block.
pub const ENTRY_PAGE: u64 = 0xb000;
/// Bytes that each of the four has of it: #DF, NMI, #MC, #DB, in the order of the interrupt stack table.
pub const ENTRY_STACK: u64 = 0x400;
/// The page with the guest's register frame and the header, as an offset in the block. It is the top of the main stack
/// for whatever is not entered from a guest.
pub const FRAME_PAGE: u64 = STACK_BLOCK - crate::layout::PAGE_SIZE;
/// Lowest byte of the main stack, as an offset in the block.
pub const MAIN_STACK_BOTTOM: u64 = 0x1_0000;
/// Size of [`CpuHeader`].
pub const HEADER_SIZE: u64 = 128;
/// Offset of [`CpuHeader`] in the block.
pub const HEADER_OFFSET: u64 = STACK_BLOCK - HEADER_SIZE;
/// Top of the main stack (TSS.RSP0), as an offset in the block.
pub const RSP0_OFFSET: u64 = HEADER_OFFSET - 32;

/// The pages of a stack block that are backed by memory, as (offset, bytes); the rest are guards.
pub const STACKS: [(u64, u64); 5] = [
    (0x1000, 0x2000),
    (0x4000, 0x2000),
    (0x7000, 0x2000),
    (ENTRY_PAGE, crate::layout::PAGE_SIZE),
    (MAIN_STACK_BOTTOM, STACK_BLOCK - MAIN_STACK_BOTTOM),
];

/// What sits at the top of a CPU's stack block. Assembly reaches the fields by their offsets (`offset_of!`).
#[repr(C)]
#[derive(Debug)]
pub struct CpuHeader {
    /// The CPU's data; never null once the CPU runs on this block.
    pub percpu: *const PerCpu,
    /// CPU number, 0 for the boot CPU.
    pub cpu: u32,
    /// Local APIC id.
    pub apic_id: u32,
    /// The guest's RSP at SYSCALL, until it is in the register frame.
    pub scratch_rsp: u64,
    /// CR3 of the hypervisor's own tables, physical.
    pub own_cr3: u64,
    /// Words of the entry code, which gives them their meaning (trap/entry).
    pub entry: [u64; 12],
}

const _: () = assert!(size_of::<CpuHeader>() as u64 == HEADER_SIZE);

/// One CPU's data. Made before the CPU starts and never freed.
#[derive(Debug)]
pub struct PerCpu {
    /// CPU number, 0 for the boot CPU; dense.
    pub cpu: u32,
    /// Local APIC id.
    pub apic_id: u32,
    /// ACPI processor id (what dom0 names CPUs by in set_processor_pminfo).
    pub acpi_id: u32,
    /// The CPU has finished its own set-up and takes interrupts.
    pub online: AtomicBool,
    /// What to add to this CPU's TSC to get the boot CPU's.
    pub tsc_offset: AtomicI64,
}

impl PerCpu {
    /// Data of a CPU that has not started.
    pub const fn new(cpu: u32, apic_id: u32, acpi_id: u32) -> Self {
        Self {
            cpu,
            apic_id,
            acpi_id,
            online: AtomicBool::new(false),
            tsc_offset: AtomicI64::new(0),
        }
    }

    /// Lowest address of this CPU's stack block.
    pub const fn stack_block(&self) -> u64 {
        area(self.cpu)
    }
}

static PERCPU: [AtomicPtr<PerCpu>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];
static CPUS: AtomicU32 = AtomicU32::new(0);

/// Lowest address of the per-CPU area of CPU number `cpu` (below [`MAX_CPUS`]).
pub const fn area(cpu: u32) -> u64 {
    PERCPU_BASE + cpu as u64 * PERCPU_STRIDE
}

/// Number of CPUs that have been registered, started or not.
pub fn cpu_count() -> u32 {
    CPUS.load(Ordering::Acquire)
}

/// CPUs that have finished their own set-up, in order of number.
fn online_cpus() -> impl Iterator<Item = &'static PerCpu> {
    (0..cpu_count())
        .filter_map(get)
        .filter(|data| data.online.load(Ordering::Acquire))
}

/// The CPUs that have finished their own set-up.
#[cfg(target_os = "none")]
pub fn online() -> oxen_core::machine::CpuMask {
    let mut mask = oxen_core::machine::CpuMask::EMPTY;
    for data in online_cpus() {
        mask.insert(oxen_core::CpuId(
            u16::try_from(data.cpu).unwrap_or(u16::MAX),
        ));
    }
    mask
}

/// How many CPUs have finished their own set-up.
pub fn online_count() -> u32 {
    online_cpus().fold(0, |count, _| count + 1)
}

/// The data of CPU number `cpu`, if there is one.
pub fn get(cpu: u32) -> Option<&'static PerCpu> {
    let slot = PERCPU.get(usize::try_from(cpu).ok()?)?;
    // SAFETY: only `register` stores here, and it stores pointers made from `&'static PerCpu`.
    unsafe { slot.load(Ordering::Acquire).as_ref() }
}

/// Registers a CPU's data under its number. Returns false if the number is too large or taken.
pub fn register(data: &'static PerCpu) -> bool {
    let Some(slot) = PERCPU.get(data.cpu as usize) else {
        return false;
    };
    let fresh = core::ptr::from_ref(data).cast_mut();
    if slot
        .compare_exchange(
            core::ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .is_err()
    {
        return false;
    }
    CPUS.fetch_max(data.cpu + 1, Ordering::AcqRel);
    true
}

/// Writes the header of a CPU's stack block.
///
/// # Safety
/// The CPU's stack block is mapped, the CPU does not run on it yet, and nothing else writes to it.
pub unsafe fn write_header(data: &'static PerCpu, own_cr3: u64) {
    let header = (data.stack_block() + HEADER_OFFSET) as *mut CpuHeader;
    let value = CpuHeader {
        percpu: data,
        cpu: data.cpu,
        apic_id: data.apic_id,
        scratch_rsp: 0,
        own_cr3,
        entry: [0; 12],
    };
    // SAFETY: the caller promises that the block is mapped and unused; the header is inside it and aligned.
    unsafe { header.write(value) }
}

/// RSP as it is now.
#[inline(always)]
fn stack_pointer() -> u64 {
    let rsp: u64;
    // SAFETY: reads a register, touches no memory.
    unsafe {
        core::arch::asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags))
    }
    rsp
}

/// The header of the CPU that executes this.
///
/// Valid only on a stack of a per-CPU block: everywhere after the boot CPU has left its boot stack.
#[inline(always)]
pub fn this_header() -> *mut CpuHeader {
    ((stack_pointer() & !(STACK_BLOCK - 1)) + HEADER_OFFSET) as *mut CpuHeader
}

/// The data of the CPU that executes this.
///
/// Valid only on a stack of a per-CPU block (see [`this_header`]); [`try_this_cpu`] serves where that is not sure.
#[inline(always)]
pub fn this_cpu() -> &'static PerCpu {
    // SAFETY: on a per-CPU stack the header was written by `write_header` before the CPU came here, and is not moved.
    unsafe { &*(*this_header()).percpu }
}

/// The data of the CPU that executes this, or nothing while it still runs on the boot stack.
pub fn try_this_cpu() -> Option<&'static PerCpu> {
    let end = PERCPU_BASE + PERCPU_STRIDE * MAX_CPUS as u64;
    (PERCPU_BASE..end).contains(&stack_pointer()).then(this_cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_lie_inside_the_block_and_do_not_touch() {
        let mut last_end = 0x1000;
        for (offset, size) in STACKS {
            assert!(
                offset >= last_end && offset.is_multiple_of(0x1000) && size.is_multiple_of(0x1000)
            );
            last_end = offset
                + size
                + if offset == MAIN_STACK_BOTTOM {
                    0
                } else {
                    0x1000
                };
        }
        assert_eq!(last_end, STACK_BLOCK);
        for top in [
            DF_STACK_TOP,
            NMI_STACK_TOP,
            DB_STACK_TOP,
            MC_STACK_TOP,
            RSP0_OFFSET,
            FRAME_PAGE,
        ] {
            assert!(top.is_multiple_of(16));
        }
        assert_eq!(4 * ENTRY_STACK, crate::layout::PAGE_SIZE);
    }

    #[test]
    fn a_cpu_is_registered_once() {
        static SEVEN: PerCpu = PerCpu::new(7, 14, 8);
        assert!(get(7).is_none());
        assert!(register(&SEVEN));
        assert!(!register(&SEVEN));
        assert_eq!(get(7).map(|data| data.apic_id), Some(14));
        assert!(get(u32::MAX).is_none());
    }
}
