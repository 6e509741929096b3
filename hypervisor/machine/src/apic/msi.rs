//! Message-signalled interrupts: what a device writes where (SDM volume 3, 11.11).

/// Address and data of the message that delivers `vector`, fixed and edge-triggered, to a LAPIC.
pub(crate) const fn message(apic_id: u32, vector: u8) -> (u64, u32) {
    (0xfee0_0000 | ((apic_id as u64 & 0xff) << 12), vector as u32)
}
