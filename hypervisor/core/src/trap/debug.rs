//! Debug registers.

use oxen_abi::errno::Errno;

use crate::error::HcResult;
use crate::machine::Machine;
use crate::mm::walk::{is_canonical, is_hypervisor};
use crate::percpu::Cx;

/// DR6 with nothing reported; these bits read as ones.
const DR6_ONES: u64 = 0xffff_0ff0;
/// What DR6 reports: B0-B3, BD, BS, BT.
const DR6_REPORTS: u64 = 0xe00f;
/// DR7's bit that is always one.
const DR7_ONE: u64 = 1 << 10;
/// DR7: enables and LE, GE.
const DR7_LOW: u64 = 0x3ff;
/// DR7: trap accesses to the debug registers, which would be the hypervisor's own.
const DR7_GENERAL_DETECT: u64 = 1 << 13;
/// CR4.DE.
const CR4_DE: u64 = 1 << 3;
/// DR7: an I/O breakpoint's type.
const TYPE_IO: u64 = 2;

/// Takes what a #DB reports into the guest's DR6.
pub(super) fn note<M: Machine>(cx: &Cx<'_, M>) {
    let reported = cx.machine().take_dr6() & DR6_REPORTS;
    let mut arch = cx.vcpu.arch.lock();
    arch.debug[6] = (arch.debug[6] & !0xf) | reported | DR6_ONES;
}

/// Reports a single step into the guest's DR6.
pub(super) fn note_step<M: Machine>(cx: &Cx<'_, M>) {
    const SINGLE_STEP: u64 = 1 << 14;
    cx.vcpu.arch.lock().debug[6] |= SINGLE_STEP;
}

/// What a debug register becomes when a guest sets it, or the error.
fn adjusted(register: usize, value: u64, cr4: u64) -> Result<u64, Errno> {
    match register {
        0..=3 if is_canonical(value) && !is_hypervisor(value) => Ok(value),
        6 if value >> 32 == 0 => Ok((value & DR6_REPORTS) | DR6_ONES),
        7 if value >> 32 == 0 && value & DR7_GENERAL_DETECT == 0 => {
            let value = value & (0xffff_0000 | DR7_LOW) | DR7_ONE;
            let io =
                (0..4).any(|n| value >> (2 * n) & 3 != 0 && value >> (16 + 4 * n) & 3 == TYPE_IO);
            if io && cr4 & CR4_DE == 0 {
                Err(Errno::EPERM)
            } else {
                Ok(value)
            }
        }
        0..=3 | 6 | 7 => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// The register that a number means: without CR4.DE, DR4 and DR5 are DR6 and DR7 (SDM volume 3,
/// 18.2.2).
fn meant(register: u64, cr4: u64) -> Result<usize, Errno> {
    match register {
        4 | 5 if cr4 & CR4_DE == 0 => Ok(if register == 4 { 6 } else { 7 }),
        0..=3 | 6 | 7 => usize::try_from(register).map_err(|_| Errno::ENODEV),
        _ => Err(Errno::ENODEV),
    }
}

/// Whether a vCPU may be given this value in a debug register (`setvcpucontext`).
pub fn is_valid_debugreg(register: usize, value: u64, cr4: u64) -> bool {
    adjusted(register, value, cr4).is_ok()
}

/// `HYPERVISOR_set_debugreg`.
#[inline(never)]
pub fn set_debugreg<M: Machine>(cx: &Cx<'_, M>, register: u64, value: u64) -> HcResult {
    let mut arch = cx.vcpu.arch.lock();
    let register = meant(register, arch.cr4)?;
    let value = adjusted(register, value, arch.cr4)?;
    if let Some(place) = arch.debug.get_mut(register) {
        *place = value;
    }
    cx.machine().load_debug(&arch.debug);
    Ok(0)
}

/// `HYPERVISOR_get_debugreg`.
#[inline(never)]
pub fn get_debugreg<M: Machine>(cx: &Cx<'_, M>, register: u64) -> HcResult {
    let arch = cx.vcpu.arch.lock();
    let register = meant(register, arch.cr4)?;
    let value = arch.debug.get(register).copied();
    value.ok_or_else(|| Errno::ENODEV.into())
}

#[cfg(test)]
mod tests {
    use super::{CR4_DE, adjusted};

    #[test]
    fn breakpoints_stay_out_of_the_hypervisor() {
        assert!(adjusted(0, 0x1000, 0).is_ok());
        assert!(adjusted(3, 0xffff_8800_0000_0000, 0).is_ok());
        assert!(adjusted(0, 0xffff_8000_0000_0000, 0).is_err());
        assert!(adjusted(0, 0x8000_0000_0000_0000, 0).is_err());
    }

    #[test]
    fn dr7_is_checked() {
        assert_eq!(adjusted(7, 0, 0), Ok(0x400));
        assert!(adjusted(7, 1 << 13, 0).is_err());
        // An I/O breakpoint needs CR4.DE.
        assert!(adjusted(7, 0x2_0001, 0).is_err());
        assert_eq!(adjusted(7, 0x2_0001, CR4_DE), Ok(0x2_0401));
        assert!(adjusted(4, 0, 0).is_err());
        assert!(adjusted(usize::MAX, 0, 0).is_err());
    }
}
