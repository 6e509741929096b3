//! Defences against speculative side channels, from guests to the hypervisor and from domain to domain.
//!
//! What a processor needs is decided once, by `core`. The entry code looks at one byte on the way in and one on the way
//! out, both zero where there is nothing to do, and does the rest out of line.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering};

use oxen_core::options::SpecCtrl;
use oxen_core::speculation::{Ibrs, Plan, Processor};

use crate::console::println;
use crate::msr::{rdmsr, try_read, try_write};
use crate::num::low32;
use crate::paging::MapError;
use crate::{cpuid, isolation};

/// IA32_SPEC_CTRL.
const SPEC_CTRL: u32 = 0x48;
const SPEC_CTRL_IBRS: u32 = 1 << 0;
const SPEC_CTRL_SSBD: u32 = 1 << 2;
/// IA32_PRED_CMD, and its command to forget indirect branch predictions.
const PRED_CMD: u32 = 0x49;
const PRED_CMD_IBPB: u64 = 1;
const ARCH_CAPABILITIES: u32 = 0x10a;
const EFER: u32 = 0xc000_0080;
const EFER_AUTOMATIC_IBRS: u64 = 1 << 21;

/// Bit of [`ON_ENTRY`]: overwrite the return stack.
pub(crate) const ENTRY_RSB: u8 = 1;
/// Bit of [`ON_ENTRY`]: SPEC_CTRL gets [`HOST_SPEC_CTRL`].
pub(crate) const ENTRY_IBRS: u8 = 2;
/// Bit of [`ON_ENTRY`]: forget branch predictions.
pub(crate) const ENTRY_IBPB: u8 = 4;
/// Bit of [`ON_ENTRY`]: the full page tables, if the guest's are isolated.
pub(crate) const ENTRY_ISOLATION: u8 = 8;
/// Bit of [`ON_RETURN`]: SPEC_CTRL gets [`GUEST_SPEC_CTRL`].
pub(crate) const RETURN_IBRS: u8 = 1;
/// Bit of [`ON_RETURN`]: VERW.
pub(crate) const RETURN_VERW: u8 = 2;
/// Bit of [`ON_RETURN`]: the guest's own page tables, if they are isolated.
pub(crate) const RETURN_ISOLATION: u8 = 4;

/// What the entry code does when a guest is interrupted.
#[unsafe(link_section = ".entry_data")]
pub(crate) static ON_ENTRY: AtomicU8 = AtomicU8::new(0);
/// What the entry code does on the way back to a guest.
#[unsafe(link_section = ".entry_data")]
pub(crate) static ON_RETURN: AtomicU8 = AtomicU8::new(0);
/// SPEC_CTRL while the hypervisor runs.
#[unsafe(link_section = ".entry_data")]
pub(crate) static HOST_SPEC_CTRL: AtomicU32 = AtomicU32::new(0);
/// SPEC_CTRL while a guest runs.
#[unsafe(link_section = ".entry_data")]
pub(crate) static GUEST_SPEC_CTRL: AtomicU32 = AtomicU32::new(0);
/// Written to EFER on each CPU.
static AUTOMATIC: AtomicBool = AtomicBool::new(false);
/// Predictions are forgotten between vCPUs.
static BETWEEN_VCPUS: AtomicBool = AtomicBool::new(false);

/// Decides and says what is done, and begins with it on the boot CPU, before any guest runs.
pub(crate) fn init(asked: &SpecCtrl) -> Result<(), MapError> {
    let cpuid = |leaf, subleaf| {
        let result = cpuid::cpuid(leaf, subleaf);
        [result.eax, result.ebx, result.ecx, result.edx]
    };
    let processor = Processor::read(cpuid, || try_read(ARCH_CAPABILITIES));
    let plan = Plan::make(&processor, asked);
    let set = |flag: bool, bit: u8| if flag { bit } else { 0 };
    let swaps = plan.ibrs == Ibrs::OnEntry;
    let guest = if plan.ssbd { SPEC_CTRL_SSBD } else { 0 };
    let always = if plan.ibrs == Ibrs::Always {
        SPEC_CTRL_IBRS
    } else {
        0
    };
    GUEST_SPEC_CTRL.store(guest | always, Ordering::Relaxed);
    let host = if swaps { SPEC_CTRL_IBRS } else { always };
    HOST_SPEC_CTRL.store(guest | host, Ordering::Relaxed);
    AUTOMATIC.store(plan.ibrs == Ibrs::Automatic, Ordering::Relaxed);
    BETWEEN_VCPUS.store(plan.ibpb, Ordering::Relaxed);
    let isolates = plan.isolate_dom0 || plan.isolate_domu;
    if isolates {
        isolation::init(plan.isolate_dom0, plan.isolate_domu)?;
    }
    ON_ENTRY.store(
        set(plan.rsb, ENTRY_RSB)
            | set(swaps, ENTRY_IBRS)
            | set(plan.ibpb_on_entry, ENTRY_IBPB)
            | set(isolates, ENTRY_ISOLATION),
        Ordering::Release,
    );
    ON_RETURN.store(
        set(swaps, RETURN_IBRS) | set(plan.verw, RETURN_VERW) | set(isolates, RETURN_ISOLATION),
        Ordering::Release,
    );
    if isolates {
        // Only now: the entry code leaves these stacks when it knows of isolation.
        crate::trap::use_entry_stacks(crate::percpu::this_cpu());
    }
    println!("Speculation: {plan}");
    say_isolation(&plan);
    init_cpu();
    Ok(())
}

/// Says whose page tables are isolated, in Xen's words, and who could read all memory.
fn say_isolation(plan: &Plan) {
    let word = |on: bool| if on { "enabled" } else { "disabled" };
    println!(
        "XPTI (64-bit PV only): Dom0 {}, DomU {} (without PCID)",
        word(plan.isolate_dom0),
        word(plan.isolate_domu)
    );
    if isolation::is_on() {
        println!(
            "XPTI: a guest's page tables have {} pages of the hypervisor's",
            isolation::exposed_pages()
        );
    }
    let exposed = match (plan.isolate_dom0, plan.isolate_domu) {
        _ if !plan.meltdown => return,
        (true, true) => return,
        (false, true) => "dom0",
        (true, false) => "any domain but dom0",
        (false, false) => "any domain",
    };
    println!(
        "WARNING: this processor is open to Meltdown: {exposed} could read all memory, for the boot options keep its \
         page tables from being isolated"
    );
}

/// Sets this CPU up as [`init`] has decided.
pub(crate) fn init_cpu() {
    let value = HOST_SPEC_CTRL.load(Ordering::Relaxed);
    if value != 0 {
        // SAFETY: restricts speculation only.
        unsafe { try_write(SPEC_CTRL, value.into()) };
    }
    if AUTOMATIC.load(Ordering::Relaxed) {
        // SAFETY: restricts speculation only; the other bits stay as they are.
        unsafe { try_write(EFER, rdmsr(EFER) | EFER_AUTOMATIC_IBRS) };
    }
}

/// This CPU is going to run another vCPU: what the last one taught the branch predictors is forgotten.
#[inline]
pub(crate) fn forget_branches() {
    if BETWEEN_VCPUS.load(Ordering::Relaxed) {
        // SAFETY: a command that changes predictions only.
        unsafe { try_write(PRED_CMD, PRED_CMD_IBPB) };
    }
}

/// Around a wait for interrupts: a sibling thread must neither be slowed down by this CPU's IBRS nor find the
/// buffers as they are.
#[inline]
pub(crate) fn while_idle(wait: impl FnOnce()) {
    let work = ON_RETURN.load(Ordering::Relaxed);
    if work == 0 {
        return wait();
    }
    if work & RETURN_VERW != 0 {
        verw();
    }
    if work & RETURN_IBRS != 0 {
        // SAFETY: what guests run with.
        unsafe { try_write(SPEC_CTRL, GUEST_SPEC_CTRL.load(Ordering::Relaxed).into()) };
    }
    wait();
    if work & RETURN_IBRS != 0 {
        // SAFETY: restricts speculation only.
        unsafe { try_write(SPEC_CTRL, HOST_SPEC_CTRL.load(Ordering::Relaxed).into()) };
    }
}

fn verw() {
    // SAFETY: checks a selector, which changes flags only; overwrites the processor's buffers on the side.
    unsafe {
        core::arch::asm!("verw word ptr [rip + {}]", sym VERW_SELECTOR, options(nostack, readonly));
    }
}

/// A data selector for VERW, which overwrites buffers only in its form with a memory operand.
#[unsafe(link_section = ".entry_data")]
pub(crate) static VERW_SELECTOR: AtomicU16 =
    AtomicU16::new(crate::trap::descriptors::DATA_SELECTOR);

/// Where the caller's index is not to be speculated past: `index` if it is below `length`, else 0.
#[inline(always)]
pub(crate) fn clamp(index: u64, length: u64) -> u64 {
    let mask: u64;
    // SAFETY: arithmetic on registers.
    unsafe {
        core::arch::asm!("cmp {index}, {length}", "sbb {mask}, {mask}",
                         index = in(reg) index, length = in(reg) length, mask = lateout(reg) mask,
                         options(pure, nomem, nostack));
    }
    index & mask
}

const _: () = assert!(low32(PRED_CMD_IBPB) == 1);
