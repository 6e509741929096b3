//! Guest frames that the hypervisor writes to: a general reference and the writable type keep
//! them the guest's and keep them from being page tables.

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::types::{get_type, put_type};
use crate::mm::{MmError, get_page, put_page};
use crate::percpu::PerCpu;
use crate::types::Mfn;

/// Takes both references on a frame of the domain's.
pub(crate) fn hold_writable<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
) -> Result<(), MmError> {
    if !get_page(&cpu.hv.machine, mfn, domain.id) {
        return Err(Errno::EINVAL.into());
    }
    get_type(cpu, domain, mfn, PageType::Writable).inspect_err(|_| put_page(cpu.hv, mfn))
}

/// Drops both.
pub(crate) fn let_go<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) {
    // Only page tables can be unfinished; this type is no page table's.
    let _ = put_type(cpu, mfn);
    put_page(cpu.hv, mfn);
}
