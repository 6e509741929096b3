//! multicall.

use oxen_abi::Errno;
use oxen_abi::hypercall::{
    HYPERVISOR_MULTICALL, HYPERVISOR_SCHED_OP, HYPERVISOR_XEN_VERSION, MulticallEntry,
};
use oxen_abi::version::{XENVER_PAGESIZE, XENVER_VERSION};

use super::version::{HYPERVISOR, UNMAPPED};
use super::{Suite, ensure, same};
use crate::sys::hypercall;

fn entry(op: u64, a: u64, b: u64) -> MulticallEntry {
    MulticallEntry {
        op,
        result: 0x5555,
        args: [a, b, 0, 0, 0, 0],
    }
}

fn multicall(list: &mut [MulticallEntry]) -> hypercall::Result {
    let count = list.len() as u64;
    hypercall::call(
        HYPERVISOR_MULTICALL,
        [hypercall::slice_address(list), count],
    )
}

pub(super) fn run(s: &mut Suite<'_>) {
    s.check("multicall/results", || {
        let mut list = [
            entry(HYPERVISOR_XEN_VERSION, u64::from(XENVER_PAGESIZE), 0),
            entry(1000, 0, 0),
            entry(HYPERVISOR_XEN_VERSION, 1000, 0),
            entry(HYPERVISOR_XEN_VERSION, u64::from(XENVER_VERSION), 0),
        ];
        same!(multicall(&mut list), Ok(0));
        same!(hypercall::decode(list[0].result), Ok(4096));
        same!(hypercall::decode(list[1].result), Err(Errno::ENOSYS));
        same!(hypercall::decode(list[2].result), Err(Errno::ENOSYS));
        ensure!(list[3].result >> 16 == 4, "version {:#x}", list[3].result);
        Ok(())
    });
    s.check("multicall/empty", || {
        same!(multicall(&mut []), Ok(0));
        Ok(())
    });
    s.check("multicall/long", || {
        let mut list = [entry(HYPERVISOR_XEN_VERSION, u64::from(XENVER_PAGESIZE), 0); 256];
        same!(multicall(&mut list), Ok(0));
        ensure!(
            list.iter().all(|e| e.result == 4096),
            "an entry was not executed"
        );
        Ok(())
    });
    s.check("multicall/yield_inside", || {
        let mut list = [
            entry(HYPERVISOR_SCHED_OP, 0, 0),
            entry(HYPERVISOR_XEN_VERSION, u64::from(XENVER_PAGESIZE), 0),
        ];
        same!(multicall(&mut list), Ok(0));
        same!(list[0].result, 0);
        same!(list[1].result, 4096);
        Ok(())
    });
    s.check("multicall/nested", || {
        let mut inner = [entry(HYPERVISOR_XEN_VERSION, u64::from(XENVER_PAGESIZE), 0)];
        let mut list = [entry(
            HYPERVISOR_MULTICALL,
            hypercall::slice_address(&mut inner),
            1,
        )];
        same!(multicall(&mut list), Ok(0));
        same!(hypercall::decode(list[0].result), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("multicall/bad_pointer", || {
        for address in [UNMAPPED, HYPERVISOR, 1 << 47] {
            same!(
                hypercall::call(HYPERVISOR_MULTICALL, [address, 1]),
                Err(Errno::EFAULT)
            );
        }
        Ok(())
    });
    s.check("multicall/huge_count", || {
        // The list ends at an unmapped page, wherever that is; the count must not matter before.
        let result = hypercall::call(HYPERVISOR_MULTICALL, [UNMAPPED, u64::from(u32::MAX)]);
        same!(result, Err(Errno::EFAULT));
        Ok(())
    });
}
