//! Page-table isolation: while a guest runs, CR3 is that of page tables without the hypervisor's memory, for a processor
//! that lets ring 3 read in speculation what only ring 0 may (Meltdown; Xen's name for this is XPTI).
//!
//! Each CPU has a root of its own ([`tables`]). Of the hypervisor's slots it has what an entry touches before the full
//! tables are loaded, and the machine-to-physical table, which guests may read anyway. The other slots are a copy of
//! those of the guest's L4, made on the way out whenever it is not up to date:
//!
//! - CR3 was loaded ([`set_source`]). That is also how a table that is given up is forgotten: a vCPU's root is only freed
//!   once its CPU has loaded another, and an idle CPU never gets to the way out.
//! - Someone has changed an entry of that L4 ([`changed`]). A CPU that runs a guest with it is interrupted, and the change
//!   is not complete before that CPU has answered: a table that the old entry led to is let go of after that, and a new
//!   entry is there for every vCPU when the hypercall returns.
//!
//! The hypervisor itself works in the guest's own L4, as without isolation. CPUs have no global pages (CR4.PGE is off)
//! and PCIDs are not used, so each load of CR3 forgets all translations.
//!
//! Where isolation is off, nothing here runs: the entry code tests one byte for this and for other defences together.

mod tables;

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oxen_core::CpuId;
use oxen_core::machine::CpuMask;

pub(crate) use tables::{exposed_pages, make};

use crate::layout::MAX_CPUS;
use crate::paging::MapError;
use crate::percpu::{self, ENTRY_PAGE, FRAME_PAGE, this_cpu, this_header};
use crate::trap::{CALL_ROOM, root_words};

/// A CPU's root for guests, and what is copied into it.
struct Root {
    /// Its physical address; 0 until it is made.
    table: AtomicU64,
    /// Physical address of the L4 that the CPU has loaded while the hypervisor runs.
    source: AtomicU64,
    /// The copy is to be made before a guest runs.
    stale: AtomicBool,
}

static ROOTS: [Root; MAX_CPUS] = [const {
    Root {
        table: AtomicU64::new(0),
        source: AtomicU64::new(0),
        stale: AtomicBool::new(false),
    }
}; MAX_CPUS];

/// Some domain's page tables are isolated.
static ON: AtomicBool = AtomicBool::new(false);
/// dom0's are.
static DOM0: AtomicBool = AtomicBool::new(false);
/// Other domains' are.
static DOMU: AtomicBool = AtomicBool::new(false);

/// Turns isolation on for dom0, other domains or both, and makes this CPU's root. Called once, on the boot CPU, before
/// other CPUs are made; the entry code is told by the caller.
pub(crate) fn init(dom0: bool, domu: bool) -> Result<(), MapError> {
    DOM0.store(dom0, Ordering::Relaxed);
    DOMU.store(domu, Ordering::Relaxed);
    make(this_cpu())?;
    ON.store(true, Ordering::Release);
    Ok(())
}

/// Whether any domain's page tables are isolated.
#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn own() -> Option<&'static Root> {
    ROOTS.get(usize::try_from(this_cpu().cpu).ok()?)
}

/// Notes the L4, by its physical address, that this CPU is about to load: the guest's, or the hypervisor's own.
#[cold]
pub(crate) fn set_source(root: u64) {
    let (full, _) = root_words();
    // SAFETY: this CPU's own header. The entry code loads the word on the way in from a guest only.
    unsafe { (*this_header()).entry[full] = root }
    if let Some(own) = own() {
        // In this order, and before the copy: `changed` looks at the source after it has written the entry.
        own.source.store(root, Ordering::SeqCst);
        own.stale.store(true, Ordering::SeqCst);
    }
}

/// This CPU is going to run another vCPU, of dom0 or not: with isolated tables or with the full ones. What entries of the
/// last one have left on the pages that isolated tables map is wiped out.
#[inline]
pub(crate) fn change_guest(control: bool) {
    if is_on() {
        begin(if control { &DOM0 } else { &DOMU });
    }
}

#[cold]
fn begin(isolated: &AtomicBool) {
    let root = match own() {
        Some(own) if isolated.load(Ordering::Relaxed) => own.table.load(Ordering::Relaxed),
        _ => 0,
    };
    let (_, guest) = root_words();
    // SAFETY: this CPU's own header. CR3 is that of full tables now, so that no entry is on its way with the old value.
    unsafe { (*this_header()).entry[guest] = root }
    let block = this_cpu().stack_block();
    // SAFETY: the stacks of handlers that have ended, and the room between the guest's frame and the stack that this
    // runs on, which begins below the frame page.
    unsafe {
        wipe(block + ENTRY_PAGE, crate::layout::PAGE_SIZE);
        wipe(block + FRAME_PAGE, CALL_ROOM);
    }
}

/// # Safety
/// The memory is mapped and in nobody's use; address and size are multiples of 8.
unsafe fn wipe(address: u64, bytes: u64) {
    // SAFETY: by the caller's promise.
    unsafe {
        asm!("rep stosq", inout("rcx") bytes / 8 => _, inout("rdi") address => _, in("rax") 0u64,
             options(nostack, preserves_flags));
    }
}

/// An entry of the L4 at physical address `table` has been changed. Returns when no CPU runs a guest with a copy from
/// before. To be called without a lock that another CPU could spin on with interrupts off.
#[cold]
pub(crate) fn changed(table: u64) {
    let here = this_cpu().cpu;
    let mut others = CpuMask::EMPTY;
    for (number, root) in (0..percpu::cpu_count()).zip(&ROOTS) {
        if root.source.load(Ordering::SeqCst) == table {
            root.stale.store(true, Ordering::SeqCst);
            if let Some(number) = u16::try_from(number).ok().filter(|_| number != here) {
                others.insert(CpuId(number));
            }
        }
    }
    if !others.is_empty() {
        // Any interrupt would do, but this one is waited for.
        crate::apic::ipi::flush_others(&others);
    }
}

/// On the way out to a guest: brings the copy up to date and returns CR3 for the guest, 0 if it keeps the full tables.
pub(crate) extern "C" fn on_return() -> u64 {
    let (_, guest) = root_words();
    // SAFETY: this CPU's own header.
    let table = unsafe { (*this_header()).entry[guest] };
    if let Some(own) = own().filter(|_| table != 0)
        && own.stale.swap(false, Ordering::SeqCst)
    {
        tables::copy_guest_slots(own.source.load(Ordering::SeqCst), table);
    }
    table
}
