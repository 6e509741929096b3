//! Reading what a physical CPU counts, for tools that watch caches and memory (`xl psr-cmt-show`).

use oxen_abi::Errno;
use oxen_abi::platform::{
    ResourceEntry, ResourceOp, XEN_RESOURCE_OP_MSR_READ, XEN_RESOURCE_OP_MSR_WRITE,
};

use super::super::{Union, take};
use super::cpu;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// Most entries of a call, as in Xen.
const MOST: u32 = 3;
/// IA32_TIME_STAMP_COUNTER: to be read, for the time of the other entries.
const TSC: u64 = 0x10;

/// `resource_op`: returns how many of the entries, from the first on, were done; the one after
/// them has its errno in `cmd`. The counters of cache monitoring are not driven here, so that the
/// time is all there is to read. As in Xen it is system time, in nanoseconds, which tells nothing
/// of the processor's own counter. `EINVAL` for more than three entries, `ENODEV` for a CPU that
/// does not run.
pub(super) fn access<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> HcResult {
    let ResourceOp {
        nr_entries,
        cpu,
        entries,
    } = take(u);
    if nr_entries > MOST {
        return Err(Errno::EINVAL.into());
    }
    let handle = GuestHandle::<ResourceEntry>::new(entries);
    for index in 0..u64::from(nr_entries) {
        let mut entry = handle.read_at(cx.machine(), index)?;
        if let Err(errno) = allowed(&entry) {
            entry.cmd = (-errno.0).cast_unsigned();
            handle.write_at(cx.machine(), index, &entry)?;
            return Ok(index);
        }
        if !cpu::is_online(cx, cpu) {
            return Err(Errno::ENODEV.into());
        }
        entry.cmd = 0;
        entry.val = cx.machine().now();
        handle.write_at(cx.machine(), index, &entry)?;
    }
    Ok(u64::from(nr_entries))
}

fn allowed(entry: &ResourceEntry) -> Result<(), Errno> {
    match (entry.rsvd, entry.cmd, entry.idx) {
        (1.., _, _) => Err(Errno::EINVAL),
        (0, XEN_RESOURCE_OP_MSR_READ, TSC) => Ok(()),
        (0, XEN_RESOURCE_OP_MSR_READ | XEN_RESOURCE_OP_MSR_WRITE, _) => Err(Errno::EPERM),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
