//! What a vCPU's context has no room for: the XSAVE area, and MSRs of its own. A tool that moves a
//! domain carries them along.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::Errno;
use oxen_abi::domctl::*;

use super::super::{Answer, Outcome, Union, put, take};
use super::context::standing;
use crate::domain::Domain;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::trap::TSC_AUX;

/// Before the area: XCR0, and the components that the vCPU has used so far.
const HEAD: u64 = 16;

/// `getvcpuextstate`. Without a buffer, or with neither size nor mask, it tells these two; else the
/// mask must be as told and the size not be less (`EINVAL`). All components count as used.
pub(super) fn get_state<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &mut Union,
) -> Outcome {
    let mut request: VcpuExtState = take(u);
    let mask = cx.machine().fpu_components();
    standing(cx, domain, request.vcpu, |vcpu| {
        let arch = vcpu.arch.lock();
        let (xcr0, area) = cx.machine().fpu_area(&arch.fpu).unwrap_or((0, &[]));
        let size = HEAD + area.len() as u64;
        if request.buffer == 0 || (request.size == 0 && request.xfeature_mask == 0) {
            (request.size, request.xfeature_mask) = (size, mask);
            return put(u, &request);
        }
        if request.size < size || request.xfeature_mask != mask {
            return Err(Errno::EINVAL.into());
        }
        request.size = size;
        let head = GuestHandle::<u64>::new(request.buffer);
        head.write_at(cx.machine(), 0, &xcr0)?;
        head.write_at(cx.machine(), 1, &mask)?;
        cx.machine()
            .copy_to_guest(head.at(2)?.addr(), area)
            .map_err(|_| Errno::EFAULT)?;
        put(u, &request)
    })
}

/// `setvcpuextstate`: `EINVAL` for a size that no state here has, or a state that the processor would
/// refuse.
pub(super) fn set_state<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let request: VcpuExtState = take(u);
    standing(cx, domain, request.vcpu, |vcpu| {
        let most = {
            let arch = vcpu.arch.lock();
            cx.machine()
                .fpu_area(&arch.fpu)
                .map_or(0, |(_, area)| area.len())
        };
        let length = request.size.checked_sub(HEAD);
        let length = length
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= most)
            .ok_or(Errno::EINVAL)?;
        let head = GuestHandle::<u64>::new(request.buffer);
        let xcr0 = head.read_at(cx.machine(), 0)?;
        let used = head.read_at(cx.machine(), 1)?;
        if length == 0 {
            // From a vCPU without such a state.
            return if xcr0 == 0 && used == 0 {
                Ok(Answer::Done)
            } else {
                Err(Errno::EINVAL.into())
            };
        }
        let mut area = Vec::new();
        area.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
        area.resize(length, 0);
        cx.machine()
            .copy_from_guest(head.at(2)?.addr(), &mut area)
            .map_err(|_| Errno::EFAULT)?;
        let components = u64::from(domain.cpu_policy.read().components(u32::MAX));
        if used & !cx.machine().fpu_components() != 0
            || xcr0 & !(used & components) != 0
            || !cx
                .machine()
                .set_fpu_area(&mut vcpu.arch.lock().fpu, xcr0, &area)
        {
            return Err(Errno::EINVAL.into());
        }
        Ok(Answer::Done)
    })
}

/// MSRs that a PV guest has of its own, beside the segment bases of its context.
const MSRS: u32 = 1;

/// `get_vcpu_msrs`: those that are not zero. A null handle asks for the most there can be; `ENOBUFS`
/// where not all have room, and the count tells how many there are.
pub(super) fn get_msrs<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &mut Union,
) -> Outcome {
    let mut request: VcpuMsrs = take(u);
    standing(cx, domain, request.vcpu, |vcpu| {
        if request.msrs == 0 {
            request.msr_count = MSRS;
            return put(u, &request);
        }
        let aux = vcpu.arch.lock().traps.tsc_aux;
        let room = request.msr_count;
        request.msr_count = u32::from(aux != 0);
        if aux != 0 && room > 0 {
            let msr = VcpuMsr {
                index: TSC_AUX,
                reserved: 0,
                value: u64::from(aux),
            };
            GuestHandle::new(request.msrs).write(cx.machine(), &msr)?;
        }
        put(u, &request)?;
        if request.msr_count > room {
            return Ok(Answer::Refuse(Errno::ENOBUFS));
        }
        Ok(Answer::Reply)
    })
}

/// `set_vcpu_msrs`. `EINVAL` at the first that a guest has not of its own; the count tells how many
/// were set.
pub(super) fn set_msrs<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &mut Union,
) -> Outcome {
    let mut request: VcpuMsrs = take(u);
    standing(cx, domain, request.vcpu, |vcpu| {
        if request.msr_count > MSRS {
            return Err(Errno::EINVAL.into());
        }
        let handle = GuestHandle::<VcpuMsr>::new(request.msrs);
        for at in 0..request.msr_count {
            let msr = handle.read_at(cx.machine(), u64::from(at))?;
            let value = u32::try_from(msr.value).ok();
            let value = value.filter(|_| msr.reserved == 0 && msr.index == TSC_AUX);
            let Some(value) = value else {
                request.msr_count = at;
                put(u, &request)?;
                return Ok(Answer::Refuse(Errno::EINVAL));
            };
            vcpu.arch.lock().traps.tsc_aux = value;
        }
        Ok(Answer::Done)
    })
}
