//! CPU pools.

use oxen_abi::sysctl::{CpupoolOp, XEN_SYSCTL_CPUPOOL_OP, XEN_SYSCTL_CPUPOOL_OP_INFO};
use oxen_abi::xen::CtlBitmap;
use rustix::io::Errno;

use super::super::bits_of;
use super::physinfo::SchedulerId;
use crate::{Hypervisor, Result};

/// A set of CPUs with a scheduler of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPool {
    /// Its number; 0 always exists.
    pub id: u32,
    /// Its scheduler.
    pub scheduler: SchedulerId,
    /// Domains in it.
    pub domains: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
}

impl Hypervisor {
    /// All pools.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn cpu_pools(&self) -> Result<Vec<CpuPool>> {
        let op = "cpupool_op";
        let cpus = self.phys_info()?.max_cpu_id.saturating_add(1);
        let mut pools = Vec::new();
        let mut next = 0;
        loop {
            let mut map = self.buffer(op, usize::try_from(cpus.div_ceil(8)).unwrap_or(0))?;
            let mut payload = CpupoolOp {
                op: XEN_SYSCTL_CPUPOOL_OP_INFO,
                cpupool_id: next,
                cpumap: CtlBitmap {
                    bitmap: map.address(),
                    nr_bits: cpus,
                    ..Default::default()
                },
                ..Default::default()
            };
            // SAFETY: the handle is of a buffer that is held mutably and has room for `nr_bits` bits.
            match unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_CPUPOOL_OP, &mut payload) } {
                Ok(()) => {}
                Err(e) if e.errno() == Some(Errno::NOENT) => return Ok(pools),
                Err(e) => return Err(e),
            }
            pools.push(CpuPool {
                id: payload.cpupool_id,
                scheduler: SchedulerId::from_number(payload.sched_id),
                domains: payload.n_dom,
                cpus: bits_of(map.bytes()),
            });
            match payload.cpupool_id.checked_add(1) {
                Some(id) => next = id,
                None => return Ok(pools),
            }
        }
    }
}
