//! The interrupt descriptor table: one for all CPUs.

use core::mem::MaybeUninit;

use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

use super::descriptors::{CODE_SELECTOR, Ist};
use super::{entry, vectors};

/// A 64-bit gate (SDM volume 3, 6.14.1).
type Gate = [u64; 2];

#[repr(C, align(4096))]
struct Table([Gate; 256]);

struct Shared(core::cell::UnsafeCell<MaybeUninit<Table>>);

// SAFETY: written once, by the boot CPU in `load` while it is alone, and only read by the hardware after that.
unsafe impl Sync for Shared {}

static IDT: Shared = Shared(core::cell::UnsafeCell::new(MaybeUninit::zeroed()));

/// Address of the table, which is a page.
pub(crate) fn page() -> u64 {
    IDT.0.get() as u64
}

/// Loads the table on this CPU; the first call fills it. (The boot CPU calls it twice: the table stays the same.)
pub(super) fn load() {
    static FILLED: spin::Once<()> = spin::Once::new();
    let table = IDT.0.get();
    FILLED.call_once(|| {
        let gates = core::array::from_fn(|vector| {
            #[expect(clippy::cast_possible_truncation, reason = "the table has 256 gates")]
            let vector = vector as u8;
            gate(entry::gate(vector), ist(vector), dpl(vector))
        });
        // SAFETY: `call_once` makes this the only access; no CPU has loaded the table yet.
        unsafe { (*table).write(Table(gates)) };
    });
    let pointer = DescriptorTablePointer {
        limit: 4095,
        base: VirtAddr::new(table as u64),
    };
    // SAFETY: the table is static, and every gate leads to entry code.
    unsafe { lidt(&pointer) }
}

/// The stack that a vector switches to; 0 = RSP0 on a change of ring, else none.
const fn ist(vector: u8) -> u64 {
    match vector as u32 {
        vectors::DEBUG => Ist::Debug as u64,
        vectors::NMI => Ist::Nmi as u64,
        vectors::DOUBLE_FAULT => Ist::DoubleFault as u64,
        vectors::MACHINE_CHECK => Ist::MachineCheck as u64,
        _ => 0,
    }
}

/// The ring from which INT reaches the gate; elsewhere it is a #GP, from which `core` finds the guest's own gate.
/// INT3, INTO and `int 0x80` come straight in, for their speed and because the CPU has no error code for the first two.
const fn dpl(vector: u8) -> u64 {
    match vector {
        3 | 4 | vectors::INT80 => 3,
        _ => 0,
    }
}

/// An interrupt gate (IF is cleared on entry).
const fn gate(target: u64, ist: u64, dpl: u64) -> Gate {
    const PRESENT: u64 = 1 << 47;
    const INTERRUPT: u64 = 0xe << 40;
    [
        (target & 0xffff)
            | ((CODE_SELECTOR as u64) << 16)
            | (ist << 32)
            | INTERRUPT
            | (dpl << 45)
            | PRESENT
            | ((target & 0xffff_0000) << 32),
        target >> 32,
    ]
}
