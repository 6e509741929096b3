//! `read_memtype`: the variable memory-type ranges that firmware has set up (SDM volume 3,
//! 12.11). dom0's kernel looks at them; they are not to be changed.

use oxen_abi::Errno;
use oxen_abi::platform::ReadMemtype;

use super::super::{Outcome, Union, put, take};
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::PAGE_SHIFT;

/// IA32_MTRRCAP: the number of ranges is in its low byte.
const CAPABILITIES: u32 = 0xfe;
/// IA32_MTRR_PHYSBASE0; each range has a base and a mask.
const FIRST_BASE: u32 = 0x200;
/// The range is in use.
const VALID: u64 = 1 << 11;

/// Reads one range. `EINVAL` past the last one.
pub(super) fn read<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: ReadMemtype = take(u);
    let machine = cx.machine();
    let ranges = machine.rdmsr(CAPABILITIES).unwrap_or(0) & 0xff;
    if u64::from(request.reg) >= ranges {
        return Err(Errno::EINVAL.into());
    }
    let at = FIRST_BASE + 2 * request.reg;
    let base = machine.rdmsr(at).ok_or(Errno::EINVAL)?;
    let mask = machine.rdmsr(at + 1).ok_or(Errno::EINVAL)?;
    let width = (machine.cpuid(0x8000_0008, 0)[0] & 0xff).clamp(PAGE_SHIFT + 1, 52);
    let frames = (1u64 << (width - PAGE_SHIFT)) - 1;
    (request.mfn, request.nr_mfns, request.type_) = if mask & VALID == 0 {
        (0, 0, 0)
    } else {
        let type_ = u32::try_from(base & 0xff).unwrap_or(0);
        let size = (!(mask >> PAGE_SHIFT) & frames) + 1;
        (base >> PAGE_SHIFT & frames, size, type_)
    };
    put(u, &request)
}
