//! The CPUs that a virtual CPU may run on.

use oxen_abi::domctl::{
    VcpuAffinity, XEN_DOMCTL_GETVCPUAFFINITY, XEN_DOMCTL_SETVCPUAFFINITY, XEN_VCPUAFFINITY_HARD,
    XEN_VCPUAFFINITY_SOFT,
};
use oxen_abi::xen::CtlBitmap;

use super::super::bits_of;
use crate::{DomId, Error, Hypervisor, Result};

impl Hypervisor {
    /// CPUs that the virtual CPU may run on (hard affinity), as set.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn vcpu_affinity(&self, domain: DomId, vcpu: u32) -> Result<Vec<u32>> {
        self.affinity(Direction::Get, domain, vcpu, XEN_VCPUAFFINITY_HARD, &[])
    }

    /// CPUs that the virtual CPU prefers (soft affinity), as set.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn vcpu_soft_affinity(&self, domain: DomId, vcpu: u32) -> Result<Vec<u32>> {
        self.affinity(Direction::Get, domain, vcpu, XEN_VCPUAFFINITY_SOFT, &[])
    }

    /// Sets the CPUs that the virtual CPU may run on. Returns those that can take effect now: what is online and in
    /// its pool.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`] with `EINVAL` where none can.
    pub fn set_vcpu_affinity(&self, domain: DomId, vcpu: u32, cpus: &[u32]) -> Result<Vec<u32>> {
        self.affinity(Direction::Set, domain, vcpu, XEN_VCPUAFFINITY_HARD, cpus)
    }

    /// Sets the CPUs that the virtual CPU prefers. Returns those that can take effect now.
    ///
    /// # Errors
    /// As [`Hypervisor::set_vcpu_affinity`].
    pub fn set_vcpu_soft_affinity(
        &self,
        domain: DomId,
        vcpu: u32,
        cpus: &[u32],
    ) -> Result<Vec<u32>> {
        self.affinity(Direction::Set, domain, vcpu, XEN_VCPUAFFINITY_SOFT, cpus)
    }

    fn affinity(
        &self,
        direction: Direction,
        domain: DomId,
        vcpu: u32,
        which: u32,
        cpus: &[u32],
    ) -> Result<Vec<u32>> {
        let (op, cmd) = match direction {
            Direction::Get => ("getvcpuaffinity", XEN_DOMCTL_GETVCPUAFFINITY),
            Direction::Set => ("setvcpuaffinity", XEN_DOMCTL_SETVCPUAFFINITY),
        };
        let nr_bits = self.phys_info()?.max_cpu_id.saturating_add(1);
        let mut map = self.buffer(op, usize::try_from(nr_bits.div_ceil(8)).unwrap_or(0))?;
        for &cpu in cpus {
            let byte = usize::try_from(cpu / 8)
                .ok()
                .and_then(|i| map.bytes_mut().get_mut(i));
            match byte {
                Some(byte) if cpu < nr_bits => *byte |= 1 << (cpu % 8),
                _ => {
                    return Err(Error::Invalid {
                        op,
                        what: format!("there is no CPU {cpu}"),
                    });
                }
            }
        }
        let bitmap = CtlBitmap {
            bitmap: map.address(),
            nr_bits,
            ..Default::default()
        };
        let mut payload = VcpuAffinity {
            vcpu,
            flags: which,
            ..Default::default()
        };
        if which == XEN_VCPUAFFINITY_HARD {
            payload.cpumap_hard = bitmap;
        } else {
            payload.cpumap_soft = bitmap;
        }
        // SAFETY: one handle is of a buffer that is held mutably and has room for `nr_bits` bits, the other is 0 and
        // its map is not asked for.
        unsafe { self.domctl_with_handles(op, cmd, domain, &mut payload)? };
        Ok(bits_of(map.bytes()))
    }
}

/// Asking or setting.
#[derive(Clone, Copy)]
enum Direction {
    Get,
    Set,
}
