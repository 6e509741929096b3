//! Loading microcode, and which revision the CPU has.

use oxen_core::microcode::Vendor;

use crate::msr::{rdmsr, try_write, wrmsr};
use crate::num::low32;

/// IA32_BIOS_UPDT_TRIG (SDM volume 4).
const INTEL_LOAD: u32 = 0x79;
/// Bytes of an update's header, which Intel's processors do not look at.
const INTEL_HEADER: usize = 48;
/// PATCH_LOADER (AMD's BIOS and kernel developer's guides).
const AMD_LOAD: u32 = 0xc001_0020;
/// IA32_BIOS_SIGN_ID; AMD: PATCH_LEVEL.
const REVISION: u32 = 0x8b;

/// This CPU's revision.
pub(crate) fn revision(vendor: Vendor) -> u32 {
    match vendor {
        Vendor::Amd => low32(rdmsr(REVISION)),
        Vendor::Intel => {
            // SAFETY: zero, and CPUID 1, which writes the revision into the register's high half (SDM volume 3, 10.11.7.1).
            unsafe { wrmsr(REVISION, 0) };
            core::arch::x86_64::__cpuid(1);
            low32(rdmsr(REVISION) >> 32)
        }
    }
}

/// Has this CPU load the update that `update` begins with. Nothing happens if that is not at a multiple of 16 bytes.
pub(crate) fn load(vendor: Vendor, update: &[u8]) {
    let (register, place) = match vendor {
        Vendor::Intel => (INTEL_LOAD, update.get(INTEL_HEADER..)),
        Vendor::Amd => (AMD_LOAD, Some(update)),
    };
    let Some(place) = place.filter(|place| place.as_ptr().addr().is_multiple_of(16)) else {
        return;
    };
    // SAFETY: the processor reads the update there, which nobody writes, and takes it only if its maker has signed it. A
    // refusal shows in the revision.
    unsafe { try_write(register, place.as_ptr() as u64) };
}
