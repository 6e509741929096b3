//! Port I/O of guests: who may, and what each port is.
//!
//! A guest's kernel may with virtual IOPL 1 (or always, see [`shows_iopl`]), its processes with 3 or by the I/O bitmap; that is the
//! guest's own affair. Which ports the *domain* has is another: those it has not read as all ones
//! and ignore writes. dom0 has all that the hypervisor does not keep.

use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::xen::VMASST_TYPE_ARCHITECTURAL_IOPL;

use super::decode::{Instruction, Operation, Port};
use super::pci_port;
use super::privileged::{Outcome, segment_base};
use super::registers::low;
use crate::machine::{IoSize, Machine};
use crate::mm::walk;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

/// PCI configuration address.
const PCI_ADDRESS: u16 = 0xcf8;
/// PCI configuration data, four ports.
const PCI_DATA: u16 = 0xcfc;
/// Timer channel 2, which drives the speaker and calibrations.
const PIT_CHANNEL_2: u16 = 0x42;
/// Timer mode.
const PIT_MODE: u16 = 0x43;
/// Speaker and channel 2's gate.
const SPEAKER: u16 = 0x61;
/// Real-time clock: which register, and the register. The index that the chip has is that of the
/// last access, so each goes with one.
const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
/// Elements of a repeated string instruction that are done at a stretch.
const CHUNK: u64 = 128;

/// Whether the guest wants IOPL as the processor has it (`VMASST_TYPE_architectural_iopl`): in the
/// flags of trap and iret frames, and with a kernel that counts as ring 0, not 1.
#[inline]
pub(super) fn shows_iopl<M: Machine>(cx: &Cx<'_, M>) -> bool {
    cx.domain().vm_assist.load(Ordering::Relaxed) & (1 << VMASST_TYPE_ARCHITECTURAL_IOPL) != 0
}

/// The virtual IOPL where it is in RFLAGS. Apart, for few guests ask for it and all have traps.
#[cold]
#[inline(never)]
pub(super) fn iopl_flags<M: Machine>(cx: &Cx<'_, M>) -> u64 {
    u64::from(cx.vcpu.arch.lock().iopl & 3) << 12
}

/// Makes the virtual IOPL the one in `rflags`.
#[cold]
#[inline(never)]
pub(super) fn set_iopl_flags<M: Machine>(cx: &Cx<'_, M>, rflags: u64) {
    cx.vcpu.arch.lock().iopl = u8::try_from(rflags >> 12 & 3).unwrap_or(0);
}

/// Whether the guest's current mode has I/O privilege by its virtual IOPL.
pub(super) fn has_iopl<M: Machine>(cx: &Cx<'_, M>) -> bool {
    let needed = match cx.vcpu.kernel_mode.load(Ordering::Relaxed) {
        true if shows_iopl(cx) => 0,
        true => 1,
        false => 3,
    };
    cx.vcpu.arch.lock().iopl >= needed
}

/// Whether the guest's own rules let the current mode use `port`.
fn guest_allows<M: Machine>(cx: &Cx<'_, M>, port: u16, size: IoSize) -> bool {
    if has_iopl(cx) {
        return true;
    }
    if cx.vcpu.kernel_mode.load(Ordering::Relaxed) {
        return false;
    }
    let ((bitmap, ports), root) = {
        let arch = cx.vcpu.arch.lock();
        (arch.io_bitmap, arch.kernel_root)
    };
    let first = u32::from(port);
    let bytes = u32::from(size.bytes());
    if first + bytes > ports {
        return false;
    }
    // One bit a port, a set bit forbids. Two bytes hold all the bits, wherever they begin. The
    // kernel has the bitmap where a process cannot reach.
    let byte = |n| {
        let addr = bitmap.checked_add(u64::from(port / 8) + n)?;
        walk::read_byte(cx.hv, cx.domain().id, root?, addr)
    };
    let crosses = first % 8 + bytes > 8;
    let high = if crosses { byte(1) } else { Some(0xff) };
    let (Some(low), Some(high)) = (byte(0), high) else {
        return false;
    };
    let bits = u16::from_le_bytes([low, high]) >> (port % 8);
    bits & ((1 << bytes) - 1) == 0
}

/// Whether the domain has these ports.
fn domain_has<M: Machine>(cx: &Cx<'_, M>, port: u16, size: IoSize) -> bool {
    let first = u64::from(port);
    let last = first + u64::from(size.bytes()) - 1;
    cx.domain()
        .permissions
        .lock()
        .ports
        .contains_range(first, last)
}

/// Does an I/O instruction.
pub(super) fn perform<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    instruction: &Instruction,
) -> Outcome {
    let size = match instruction.size {
        1 => IoSize::Byte,
        2 => IoSize::Word,
        _ => IoSize::Dword,
    };
    let port = match instruction.operation {
        Operation::In(Port::Immediate(port)) | Operation::Out(Port::Immediate(port)) => {
            u16::from(port)
        }
        _ => u16::try_from(regs.rdx & 0xffff).unwrap_or(0),
    };
    if !guest_allows(cx, port, size) {
        return Outcome::Refused;
    }
    match instruction.operation {
        Operation::In(_) => {
            let value = read(cx, port, size);
            regs.rax = merge(regs.rax, value, size);
            Outcome::Done
        }
        Operation::Out(_) => {
            write(cx, port, size, low(regs.rax) & size.ones());
            Outcome::Done
        }
        _ => string(cx, regs, instruction, port, size),
    }
}

/// A register after an IN: a doubleword clears its upper half, the others leave the rest.
fn merge(old: u64, value: u32, size: IoSize) -> u64 {
    match size {
        IoSize::Dword => u64::from(value),
        IoSize::Byte | IoSize::Word => {
            let mask = u64::from(size.ones());
            (old & !mask) | (u64::from(value) & mask)
        }
    }
}

/// INS and OUTS, a bounded number of elements; the guest executes the rest again.
fn string<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    instruction: &Instruction,
    port: u16,
    size: IoSize,
) -> Outcome {
    let mask = match instruction.address_size {
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let input = instruction.operation == Operation::Ins;
    let count = if instruction.repeat {
        regs.rcx & mask
    } else {
        1
    };
    let bytes = u64::from(size.bytes());
    let step = if regs.rflags & (1 << 10) != 0 {
        bytes.wrapping_neg()
    } else {
        bytes
    };
    // INS ignores overrides.
    let base = if input {
        0
    } else {
        segment_base(cx, instruction)
    };
    let (mut done, mut fault) = (0, 0);
    while done < count.min(CHUNK) {
        let index = if input { &mut regs.rdi } else { &mut regs.rsi };
        let addr = base.wrapping_add(*index & mask);
        let moved = if input {
            let value = read(cx, port, size).to_le_bytes();
            let value = value.get(..usize::from(size.bytes())).unwrap_or(&[]);
            cx.machine().copy_to_guest(addr, value)
        } else {
            let mut value = [0; 4];
            let part = value
                .get_mut(..usize::from(size.bytes()))
                .unwrap_or(&mut []);
            let read = cx.machine().copy_from_guest(addr, part);
            if read.is_ok() {
                write(cx, port, size, u32::from_le_bytes(value));
            }
            read
        };
        if moved.is_err() {
            fault = addr;
            break;
        }
        let next = index.wrapping_add(step) & mask;
        *index = if mask == 0xffff {
            (*index & !mask) | next
        } else {
            next
        };
        done += 1;
    }
    if instruction.repeat {
        let left = (regs.rcx & mask).wrapping_sub(done);
        regs.rcx = if mask == 0xffff {
            (regs.rcx & !mask) | left
        } else {
            left
        };
    }
    match (done == count, done) {
        (true, _) => Outcome::Done,
        // The very first element faulted; or a later one, which will be the first.
        (false, 0) => Outcome::Fault {
            addr: fault,
            write: input,
        },
        (false, _) => Outcome::Again,
    }
}

/// Reads a port for the domain.
fn read<M: Machine>(cx: &Cx<'_, M>, port: u16, size: IoSize) -> u32 {
    match port {
        PCI_ADDRESS if size == IoSize::Dword => cx.vcpu.arch.lock().traps.pci_address,
        0xcfc..=0xcff if cx.domain().privileged => {
            let address = cx.vcpu.arch.lock().traps.pci_address;
            pci_port::read(cx, address, port - PCI_DATA, size)
        }
        PIT_CHANNEL_2 | SPEAKER if cx.domain().privileged && size == IoSize::Byte => {
            cx.machine().port_in(port, size)
        }
        RTC_INDEX | RTC_DATA if size == IoSize::Byte && domain_has(cx, port, size) => {
            let index = cx.domain().rtc_index.load(Ordering::Relaxed);
            if port == RTC_INDEX {
                return u32::from(index);
            }
            let _held = cx.hv.rtc.lock();
            cx.machine().port_out(RTC_INDEX, size, u32::from(index));
            cx.machine().port_in(RTC_DATA, size)
        }
        _ if domain_has(cx, port, size) => cx.machine().port_in(port, size),
        _ => size.ones(),
    }
}

/// Writes a port for the domain.
fn write<M: Machine>(cx: &Cx<'_, M>, port: u16, size: IoSize, value: u32) {
    match port {
        PCI_ADDRESS if size == IoSize::Dword => cx.vcpu.arch.lock().traps.pci_address = value,
        0xcfc..=0xcff if cx.domain().privileged => {
            let address = cx.vcpu.arch.lock().traps.pci_address;
            pci_port::write(cx, address, port - PCI_DATA, size, value);
        }
        PIT_CHANNEL_2 | SPEAKER if cx.domain().privileged && size == IoSize::Byte => {
            cx.machine().port_out(port, size, value);
        }
        // Only channel 2 is dom0's.
        PIT_MODE if cx.domain().privileged && size == IoSize::Byte && value >> 6 == 2 => {
            cx.machine().port_out(port, size, value);
        }
        RTC_INDEX if size == IoSize::Byte && domain_has(cx, port, size) => {
            let index = u8::try_from(value & 0x7f).unwrap_or(0);
            cx.domain().rtc_index.store(index, Ordering::Relaxed);
        }
        RTC_DATA if size == IoSize::Byte && domain_has(cx, port, size) => {
            let index = cx.domain().rtc_index.load(Ordering::Relaxed);
            let _held = cx.hv.rtc.lock();
            cx.machine().port_out(RTC_INDEX, size, u32::from(index));
            cx.machine().port_out(RTC_DATA, size, value);
        }
        _ if domain_has(cx, port, size) => cx.machine().port_out(port, size, value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::merge;
    use crate::machine::IoSize;

    #[test]
    fn an_input_changes_what_its_size_says() {
        let old = 0x1122_3344_5566_7788;
        assert_eq!(merge(old, 0xab, IoSize::Byte), 0x1122_3344_5566_77ab);
        assert_eq!(merge(old, 0xffff_abcd, IoSize::Word), 0x1122_3344_5566_abcd);
        assert_eq!(merge(old, 0x1, IoSize::Dword), 1);
    }
}
