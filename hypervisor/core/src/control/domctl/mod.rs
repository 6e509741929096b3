//! `domctl`: making, changing, watching and ending domains (domctl.h, version 0x15).

mod affinity;
mod context;
mod create;
mod device;
mod extended;
pub(super) mod info;
mod memory;
mod policy;
mod shadow;
mod state;

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;

use super::{Answer, Outcome, Union, check_privilege};
use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::growth::with_room;
use crate::percpu::Cx;
use crate::types::DomId;

/// `HYPERVISOR_domctl`. `EACCES` for another version of the interface, `ESRCH` for a domain that
/// there is not, `ENOSYS` for an unknown sub-operation.
#[inline(never)]
pub fn domctl<M: Machine>(cx: &Cx<'_, M>, arg: u64) -> HcResult {
    check_privilege(cx)?;
    let handle = GuestHandle::<Domctl>::new(arg);
    let mut op = handle.read(cx.machine())?;
    if op.interface_version != XEN_DOMCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    let outcome = match op.cmd {
        XEN_DOMCTL_CREATEDOMAIN => create::create(cx, &mut op),
        XEN_DOMCTL_GETDOMAININFO => info::next(cx, &mut op),
        _ => {
            let domain = cx.hv.domains.get(DomId(op.domain)).ok_or(Errno::ESRCH)?;
            on_domain(cx, &domain, op.cmd, &mut op.u)
        }
    };
    match outcome {
        Ok(Answer::Done) => Ok(0),
        Ok(Answer::Reply) => {
            handle.write(cx.machine(), &op)?;
            Ok(0)
        }
        Ok(Answer::Refuse(errno)) => {
            handle.write(cx.machine(), &op)?;
            Err(errno.into())
        }
        // What was done so far is kept in the domain, so the same call goes on from there.
        Err(Stop::Restart(_)) => Err(Stop::Restart([arg, 0, 0, 0, 0, 0])),
        Err(stop) => Err(stop),
    }
}

/// Sub-operations on a domain that there is.
fn on_domain<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    cmd: u32,
    u: &mut Union,
) -> Outcome {
    match cmd {
        XEN_DOMCTL_DESTROYDOMAIN => state::destroy(cx, domain),
        XEN_DOMCTL_PAUSEDOMAIN => state::pause(cx, domain),
        XEN_DOMCTL_UNPAUSEDOMAIN => state::unpause(cx, domain),
        XEN_DOMCTL_RESUMEDOMAIN => state::resume(cx, domain),
        XEN_DOMCTL_SETDOMAINHANDLE => state::set_handle(domain, u),
        XEN_DOMCTL_SETTIMEOFFSET => state::set_time_offset(cx, domain, u),
        XEN_DOMCTL_SETTSCINFO => state::set_tsc(cx, domain, u),
        XEN_DOMCTL_GETTSCINFO => state::get_tsc(cx, u),
        XEN_DOMCTL_SENDTRIGGER => state::trigger(cx, domain, u),
        XEN_DOMCTL_SET_VIRQ_HANDLER => state::set_virq_handler(cx, domain, u),

        XEN_DOMCTL_MAX_VCPUS => create::max_vcpus(cx, domain, u),
        XEN_DOMCTL_GETVCPUINFO => info::vcpu(cx, domain, u),
        XEN_DOMCTL_SETVCPUCONTEXT => context::set(cx, domain, u),
        XEN_DOMCTL_GETVCPUCONTEXT => context::get(cx, domain, u),
        XEN_DOMCTL_SET_EXT_VCPUCONTEXT => context::set_extended(cx, domain, u),
        XEN_DOMCTL_GET_EXT_VCPUCONTEXT => context::get_extended(domain, u),
        XEN_DOMCTL_GETVCPUEXTSTATE => extended::get_state(cx, domain, u),
        XEN_DOMCTL_SETVCPUEXTSTATE => extended::set_state(cx, domain, u),
        XEN_DOMCTL_GET_VCPU_MSRS => extended::get_msrs(cx, domain, u),
        XEN_DOMCTL_SET_VCPU_MSRS => extended::set_msrs(cx, domain, u),
        XEN_DOMCTL_SETVCPUAFFINITY => affinity::set(cx, domain, u),
        XEN_DOMCTL_GETVCPUAFFINITY => affinity::get(cx, domain, u),
        XEN_DOMCTL_SETNODEAFFINITY => affinity::set_nodes(cx, u),
        XEN_DOMCTL_GETNODEAFFINITY => affinity::get_nodes(cx, u),
        XEN_DOMCTL_SCHEDULER_OP => affinity::scheduler(domain, u),

        XEN_DOMCTL_MAX_MEM => memory::max_mem(domain, u),
        XEN_DOMCTL_HYPERCALL_INIT => memory::hypercall_page(cx, domain, u),
        XEN_DOMCTL_SET_ADDRESS_SIZE => memory::set_address_size(u),
        XEN_DOMCTL_GET_ADDRESS_SIZE => memory::get_address_size(u),
        XEN_DOMCTL_GETPAGEFRAMEINFO3 => memory::frame_types(cx, domain, u),
        XEN_DOMCTL_SHADOW_OP => shadow::operate(cx, domain, u),

        XEN_DOMCTL_IRQ_PERMISSION => device::irq(cx, domain, u),
        XEN_DOMCTL_IOMEM_PERMISSION => device::iomem(cx, domain, u),
        XEN_DOMCTL_IOPORT_PERMISSION => device::ports(cx, domain, u),
        XEN_DOMCTL_MEMORY_MAPPING => device::mapping(cx, u),

        XEN_DOMCTL_GET_CPU_POLICY => with_room(cx.cpu, || policy::get(cx, domain, u)),
        XEN_DOMCTL_SET_CPU_POLICY => with_room(cx.cpu, || policy::set(cx, domain, u)),

        // No IOMMU; no paging of the hypervisor's; no cache control, no virtual NUMA.
        XEN_DOMCTL_ASSIGN_DEVICE
        | XEN_DOMCTL_TEST_ASSIGN_DEVICE
        | XEN_DOMCTL_DEASSIGN_DEVICE
        | XEN_DOMCTL_GET_DEVICE_GROUP
        | XEN_DOMCTL_GET_PAGING_MEMPOOL_SIZE
        | XEN_DOMCTL_SET_PAGING_MEMPOOL_SIZE
        | XEN_DOMCTL_PSR_CMT_OP
        | XEN_DOMCTL_PSR_ALLOC
        | XEN_DOMCTL_SETVNUMAINFO
        | XEN_DOMCTL_SETDEBUGGING
        | XEN_DOMCTL_VMTRACE_OP => Err(Errno::EOPNOTSUPP.into()),
        // For HVM guests only.
        XEN_DOMCTL_GETHVMCONTEXT
        | XEN_DOMCTL_SETHVMCONTEXT
        | XEN_DOMCTL_GETHVMCONTEXT_PARTIAL
        | XEN_DOMCTL_SET_TARGET
        | XEN_DOMCTL_BIND_PT_IRQ
        | XEN_DOMCTL_UNBIND_PT_IRQ
        | XEN_DOMCTL_IOPORT_MAPPING => Err(Errno::EINVAL.into()),
        _ => Err(Errno::ENOSYS.into()),
    }
}
