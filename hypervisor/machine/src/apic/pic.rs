//! The two 8259 interrupt controllers, which stay masked: all interrupts come through the APICs.

use crate::pio::{inb, outb};
use crate::trap::vectors::PIC_BASE;

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;

/// Initialises both, so that a spurious interrupt of theirs has a vector of its own, and masks every line.
pub(crate) fn mask() {
    // ICW1: edge, cascade, ICW4 follows; ICW2: vectors; ICW3: wiring; ICW4: 8086 mode.
    for (port, vectors, wiring) in [(MASTER, PIC_BASE, 1 << 2), (SLAVE, PIC_BASE + 8, 2)] {
        outb(port, 0x11);
        outb(port + 1, vectors);
        outb(port + 1, wiring);
        outb(port + 1, 1);
        outb(port + 1, 0xff);
        // A read-back keeps the accesses apart on old hardware.
        inb(port + 1);
    }
}
