//! A root page table that two vCPUs run with: when the hypercall that changes an entry returns, both have the new entry,
//! and after a flush neither has the old one. (A hypervisor that isolates page tables runs guests with copies of it.)

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::arch_x86::PTE_PRESENT;
use oxen_abi::mmu::MMUEXT_TLB_FLUSH_ALL;

use super::timers::wait_for;
use super::{Suite, ensure, faulted, good, mmuext_for, same, some};
use crate::pagetable::{self, RW, index};
use crate::sys::frame::Frame;
use crate::sys::{probe, vcpu};

/// What the second vCPU is told to do: it looks at addresses, and makes no hypercall meanwhile.
pub(crate) const LOOK: u64 = 5;
/// An address in a slot of the root that is not used otherwise.
const ADDRESS: u64 = 0xffff_c000_0000_0000;
/// What lies there while it is mapped.
const VALUE: u64 = 0x1234_5678_9abc_def0;
/// The second vCPU has met a page fault there.
const FAULT: u64 = 1;

/// Looks that are asked for, and the last one that was taken.
static ASKED: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// What it has shown.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// The second vCPU's part.
pub(crate) fn look() {
    while vcpu::COMMAND.load(Ordering::SeqCst) == LOOK {
        let asked = ASKED.load(Ordering::SeqCst);
        if asked != TAKEN.load(Ordering::SeqCst) {
            SEEN.store(probe::read(ADDRESS).unwrap_or(FAULT), Ordering::SeqCst);
            TAKEN.store(asked, Ordering::SeqCst);
        }
        core::hint::spin_loop();
    }
}

/// With the second vCPU in its loop.
pub(super) fn run(s: &mut Suite<'_>) {
    s.check("smp/root_entry_reaches_both_vcpus", || {
        let entry = some!(pagetable::entry(ADDRESS, 4));
        same!(entry.value & PTE_PRESENT, 0);
        let [l1, l2, l3, page] = core::array::from_fn(|_| Frame::new());
        page.fill(VALUE);
        for (table, level, child) in [(l1, 1, page), (l2, 2, l1), (l3, 3, l2)] {
            let slot = usize::try_from(index(ADDRESS, level)).unwrap_or(0);
            table.words()[slot].store(child.mfn() << 12 | RW, Ordering::SeqCst);
        }
        for table in [l1, l2, l3] {
            good!(pagetable::make_read_only(table));
        }
        vcpu::COMMAND.store(LOOK, Ordering::SeqCst);
        let look = || {
            let wanted = ASKED.fetch_add(1, Ordering::SeqCst) + 1;
            wait_for("a look by the other vCPU", || {
                TAKEN.load(Ordering::SeqCst) == wanted
            })?;
            Ok(SEEN.load(Ordering::SeqCst))
        };
        let outcome = (|| {
            for _ in 0..20 {
                same!(look()?, FAULT);
                same!(pagetable::update(entry.machine, l3.mfn() << 12 | RW), Ok(0));
                same!(look()?, VALUE);
                same!(probe::read(ADDRESS), Ok(VALUE));
                same!(pagetable::update(entry.machine, 0), Ok(0));
                good!(mmuext_for(
                    MMUEXT_TLB_FLUSH_ALL,
                    0,
                    0,
                    oxen_abi::xen::DOMID_SELF
                ));
                same!(look()?, FAULT);
                faulted(probe::read(ADDRESS), probe::PF)?;
            }
            Ok(())
        })();
        vcpu::COMMAND.store(0, Ordering::SeqCst);
        let seen = vcpu::ROUNDS.load(Ordering::SeqCst);
        wait_for("another round", || {
            vcpu::ROUNDS.load(Ordering::SeqCst) > seen
        })?;
        outcome?;
        for table in [l1, l2, l3] {
            good!(pagetable::make_writable(table));
        }
        // Nobody holds them as tables any more.
        ensure!(probe::write(l3.address(), 0).is_ok(), "it is still a table");
        Ok(())
    });
}
