//! The hypercall page: 32 bytes of code for each hypercall, which the guest calls.

use oxen_abi::hypercall::HYPERVISOR_IRET;

use crate::machine::Machine;
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
