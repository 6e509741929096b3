//! Device memory that dom0 may read but not write: MSI-X tables, which the hypervisor programs,
//! and MMCONFIG, where it looks at what is written. Such pages are mapped read-only; a write
//! faults and is carried out here as far as it is allowed.

use oxen_abi::arch_x86::CpuUserRegs;

use crate::hypervisor::Hypervisor;
use crate::irq::pci::{Function, config_write};
use crate::machine::{IoSize, Machine, Mmconfig};
use crate::mm::{pte, ptwr, walk};
use crate::percpu::Cx;
use crate::types::{Mfn, PAGE_SIZE};

/// Bytes of configuration space of a bus.
const BUS: u64 = 1 << 20;

/// Whether a frame of device memory must not be mapped writable by any guest.
pub fn is_read_only_mmio<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) -> bool {
    let addr = mfn.address();
    let last = addr | (PAGE_SIZE - 1);
    let tables = hv.irqs.tables.read();
    tables
        .iter()
        .any(|(first, end)| *first <= last && addr <= *end)
        || mmconfig_at(&hv.machine, addr).is_some()
}

/// The function and the register that a physical address of MMCONFIG stands for.
fn mmconfig_at<M: Machine>(machine: &M, addr: u64) -> Option<(Function, u16)> {
    (0..)
        .map_while(|index| machine.mmconfig(index))
        .find_map(|range| decode(&range, addr))
}

fn decode(range: &Mmconfig, addr: u64) -> Option<(Function, u16)> {
    let offset = addr.checked_sub(range.base)?;
    let bus = u8::try_from(offset / BUS).ok()?;
    if !(range.first_bus..=range.last_bus).contains(&bus) {
        return None;
    }
    let devfn = u8::try_from((offset >> 12) & 0xff).ok()?;
    let register = u16::try_from(offset & 0xfff).ok()?;
    Some((
        Function {
            segment: range.segment,
            bus,
            devfn,
        },
        register,
    ))
}

/// A write fault of dom0's kernel at `addr`: carries the write out if it is one to such a page.
/// `false` if the fault is the guest's own.
pub(crate) fn read_only_write<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    addr: u64,
) -> bool {
    if !cx.domain().privileged {
        return false;
    }
    let Some(root) = cx.vcpu.arch.lock().kernel_root else {
        return false;
    };
    let Some((entry, _)) = walk::translate(cx.machine(), root, addr) else {
        return false;
    };
    let frame = pte::frame(entry);
    if entry & pte::RW != 0 || !is_read_only_mmio(cx.hv, frame) {
        return false;
    }
    let Some(stored) = ptwr::stored(cx, regs) else {
        return false;
    };
    let Some(size) = io_size(stored.size) else {
        return false;
    };
    let at = frame.address() | (addr % PAGE_SIZE);
    if !at.is_multiple_of(u64::from(stored.size)) {
        return false;
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "four bytes at the most are stored"
    )]
    let value = stored.value as u32;
    match mmconfig_at(cx.machine(), at) {
        Some((function, register)) => config_write(cx.hv, function, register, size, value),
        None => beside_table(cx.hv, at, size, value),
    }
    regs.rip = regs.rip.wrapping_add(u64::from(stored.length));
    true
}

fn io_size(bytes: u8) -> Option<IoSize> {
    match bytes {
        1 => Some(IoSize::Byte),
        2 => Some(IoSize::Word),
        4 => Some(IoSize::Dword),
        _ => None,
    }
}

/// A write to a page with an MSI-X table: to the table it is left out, to registers that share
/// the page it is done. Those are four bytes wide in every device known.
fn beside_table<M: Machine>(hv: &Hypervisor<M>, at: u64, size: IoSize, value: u32) {
    let inside = hv
        .irqs
        .tables
        .read()
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&at));
    if !inside && size == IoSize::Dword {
        hv.machine.mmio_write32(at, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Function, Mmconfig, decode};

    #[test]
    fn addresses_name_functions() {
        let range = Mmconfig {
            base: 0xb000_0000,
            segment: 1,
            first_bus: 2,
            last_bus: 3,
        };
        let found = decode(&range, 0xb020_0000 + (0x1b << 12) + 0x104);
        assert_eq!(
            found,
            Some((
                Function {
                    segment: 1,
                    bus: 2,
                    devfn: 0x1b
                },
                0x104
            ))
        );
        assert_eq!(decode(&range, 0xb010_0000), None);
        assert_eq!(
            decode(&range, 0xb03f_ffff).map(|(at, _)| at.devfn),
            Some(0xff)
        );
        assert_eq!(decode(&range, 0xb040_0000), None);
        assert_eq!(decode(&range, 0xafff_ffff), None);
        assert_eq!(decode(&range, u64::MAX), None);
    }
}
