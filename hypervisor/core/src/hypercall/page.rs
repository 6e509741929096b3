//! The hypercall page: 32 bytes of code for each hypercall, which the guest calls.

use oxen_abi::hypercall::HYPERVISOR_IRET;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::shadow;
use crate::mm::types::{MmError, get_held, put_held};
use crate::percpu::PerCpu;
use crate::types::Mfn;

/// Bytes for each hypercall.
const STUB: usize = 32;

/// The code for hypercall `number`: RCX and R11, which SYSCALL overwrites, are saved on the
/// stack. `iret` never returns and finds RAX saved on the stack as its frame wants it.
#[allow(clippy::cast_possible_truncation, reason = "there are 128 stubs")]
fn stub(number: usize) -> [u8; STUB] {
    let mut code = [0xcc; STUB];
    let number32 = (number as u32).to_le_bytes();
    let mut at = 0;
    let mut emit = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(place) = code.get_mut(at) {
                *place = *byte;
            }
            at += 1;
        }
    };
    if number as u64 == HYPERVISOR_IRET {
        emit(&[0x51, 0x41, 0x53, 0x50]); // push %rcx; push %r11; push %rax
        emit(&[0xb8]); // mov $number, %eax
        emit(&number32);
        emit(&[0x0f, 0x05]); // syscall
    } else {
        emit(&[0x51, 0x41, 0x53]); // push %rcx; push %r11
        emit(&[0xb8]);
        emit(&number32);
        emit(&[0x0f, 0x05]);
        emit(&[0x41, 0x5b, 0x59, 0xc3]); // pop %r11; pop %rcx; ret
    }
    code
}

/// Fills a frame with the stubs.
pub fn fill<M: Machine>(machine: &M, mfn: Mfn) {
    for number in 0..4096 / STUB {
        machine.write_frame(mfn, number * STUB, &stub(number));
    }
}

/// Fills a frame of a domain's with the stubs. `EINVAL` if it is not its own or is in use as a page table, `EBUSY` if it
/// has too many references.
pub fn install<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>, mfn: Mfn) -> Result<(), MmError> {
    let frame = get_held(cpu, domain, mfn, PageType::Writable)?;
    fill(&cpu.hv.machine, mfn);
    shadow::log::mark(cpu.hv, domain, mfn);
    // A frame that is only written to has no entries to let go of.
    let _ = put_held(cpu, mfn, frame);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::stub;

    #[test]
    fn stubs_load_their_number() {
        assert_eq!(
            stub(12).get(..7),
            Some(&[0x51, 0x41, 0x53, 0xb8, 12, 0, 0][..])
        );
        assert_eq!(
            stub(23).get(..6),
            Some(&[0x51, 0x41, 0x53, 0x50, 0xb8, 23][..])
        );
    }
}
