//! sched_op without events.

use oxen_abi::Errno;
use oxen_abi::domctl::XEN_VCPUAFFINITY_FORCE;
use oxen_abi::hypercall::{HYPERVISOR_SCHED_OP, HYPERVISOR_SCHED_OP_COMPAT};
use oxen_abi::sched as abi;

use super::vcpus::{hard_affinity, set_hard_affinity};
use super::version::UNMAPPED;
use super::{Suite, ensure, same, skip};
use crate::sys::hypercall::{self, Result};

fn sched(cmd: u32, address: u64) -> Result {
    hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(cmd), address])
}

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("sched_op/yield", || {
        same!(sched(abi::SCHEDOP_YIELD, 0), Ok(0));
        same!(
            hypercall::call(
                HYPERVISOR_SCHED_OP_COMPAT,
                [u64::from(abi::SCHEDOP_YIELD), 0]
            ),
            Ok(0)
        );
        Ok(())
    });
    s.check("sched_op/unknown", || {
        for cmd in [8, 9, 0x7fff_ffff, u32::MAX] {
            same!(sched(cmd, 0), Err(Errno::ENOSYS));
        }
        Ok(())
    });
    s.check("sched_op/bad_pointer", || {
        for cmd in [
            abi::SCHEDOP_SHUTDOWN,
            abi::SCHEDOP_POLL,
            abi::SCHEDOP_REMOTE_SHUTDOWN,
            abi::SCHEDOP_WATCHDOG,
            abi::SCHEDOP_SHUTDOWN_CODE,
        ] {
            same!(sched(cmd, UNMAPPED), Err(Errno::EFAULT));
        }
        Ok(())
    });
    s.check("sched_op/remote_shutdown", || {
        let mut request = abi::RemoteShutdown {
            domain_id: 0x1234,
            reason: abi::SHUTDOWN_POWEROFF,
            ..abi::RemoteShutdown::default()
        };
        let result = hypercall::op(
            HYPERVISOR_SCHED_OP,
            abi::SCHEDOP_REMOTE_SHUTDOWN,
            &mut request,
        );
        same!(result, Err(Errno::ESRCH));
        Ok(())
    });
    s.check("sched_op/watchdog", || {
        let watchdog = |id, timeout| {
            let mut request = abi::Watchdog { id, timeout };
            hypercall::op(HYPERVISOR_SCHED_OP, abi::SCHEDOP_WATCHDOG, &mut request)
        };
        // Two a domain; a long timeout, so that it never fires here.
        same!(watchdog(0, 1000), Ok(1));
        same!(watchdog(0, 1000), Ok(2));
        // Xen 4.17 returns this one error in 32 bits.
        let full = watchdog(0, 1000);
        ensure!(
            full == Err(Errno::ENOSPC) || full == Ok(u64::from((-Errno::ENOSPC.0).cast_unsigned())),
            "a third watchdog gives {full:x?}"
        );
        same!(watchdog(2, 2000), Ok(0));
        same!(watchdog(3, 1), Err(Errno::EINVAL));
        same!(watchdog(u32::MAX, 1), Err(Errno::EINVAL));
        same!(watchdog(1, 0), Ok(0));
        same!(watchdog(2, 0), Ok(0));
        same!(watchdog(2, 0), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("sched_op/pin_override", || {
        if !privileged {
            skip!("dom0 only");
        }
        let pin = |pcpu| {
            let mut request = abi::PinOverride { pcpu };
            hypercall::op(HYPERVISOR_SCHED_OP, abi::SCHEDOP_PIN_OVERRIDE, &mut request)
        };
        let before = hard_affinity()?;
        // Nothing to let go of.
        same!(pin(-1), Err(Errno::EINVAL));
        same!(pin(0), Ok(0));
        same!(hard_affinity()?, 1);
        // It is tied already, and tools can't change that unless by force.
        same!(pin(0), Err(Errno::EBUSY));
        same!(set_hard_affinity(before, 0), Err(Errno::EBUSY));
        same!(pin(-1), Ok(0));
        same!(hard_affinity()?, before);
        same!(pin(0x7fff_ffff), Err(Errno::EINVAL));
        same!(pin(0), Ok(0));
        same!(set_hard_affinity(before, XEN_VCPUAFFINITY_FORCE), Ok(0));
        same!(pin(-1), Err(Errno::EINVAL));
        same!(hard_affinity()?, before);
        Ok(())
    });
}
