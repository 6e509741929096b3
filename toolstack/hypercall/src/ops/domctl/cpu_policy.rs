//! What CPUID and feature MSRs a domain sees.

use oxen_abi::arch_x86::{CpuidLeaf, MsrEntry};
use oxen_abi::domctl::{
    CpuPolicy as Payload, XEN_DOMCTL_GET_CPU_POLICY, XEN_DOMCTL_SET_CPU_POLICY,
};
use rustix::io::Errno;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{DomId, Error, Hypervisor, Result};

/// Room for the answer, several times what any CPU has.
const MOST_LEAVES: u32 = 1024;
const MOST_MSRS: u32 = 128;

/// CPUID leaves and MSRs.
#[derive(Clone, Debug, Default)]
pub struct CpuPolicy {
    /// CPUID leaves.
    pub leaves: Vec<CpuidLeaf>,
    /// Feature MSRs.
    pub msrs: Vec<MsrEntry>,
}

impl Hypervisor {
    /// What a domain sees.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn cpu_policy(&self, domain: DomId) -> Result<CpuPolicy> {
        let op = "get_cpu_policy";
        let mut leaves = self.buffer(op, bytes_for::<CpuidLeaf>(MOST_LEAVES))?;
        let mut msrs = self.buffer(op, bytes_for::<MsrEntry>(MOST_MSRS))?;
        let mut payload = Payload {
            nr_leaves: MOST_LEAVES,
            nr_msrs: MOST_MSRS,
            leaves: leaves.address(),
            msrs: msrs.address(),
            ..Default::default()
        };
        // SAFETY: the handles are of buffers that are held mutably and have as many entries as the payload says.
        unsafe { self.domctl_with_handles(op, XEN_DOMCTL_GET_CPU_POLICY, domain, &mut payload)? };
        let count = |n: u32| usize::try_from(n).unwrap_or(0);
        let leaf_bytes = leaves
            .bytes()
            .chunks_exact(size_of::<CpuidLeaf>())
            .take(count(payload.nr_leaves));
        let msr_bytes = msrs
            .bytes()
            .chunks_exact(size_of::<MsrEntry>())
            .take(count(payload.nr_msrs));
        Ok(CpuPolicy {
            leaves: leaf_bytes
                .filter_map(|b| CpuidLeaf::read_from_bytes(b).ok())
                .collect(),
            msrs: msr_bytes
                .filter_map(|b| MsrEntry::read_from_bytes(b).ok())
                .collect(),
        })
    }

    /// Sets what a domain sees, before it runs. Leaves and MSRs that are not named stay as they are.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] names the leaf or MSR that the hypervisor cannot give; else as
    /// [`Hypervisor::cpu_policy`].
    pub fn set_cpu_policy(&self, domain: DomId, policy: &CpuPolicy) -> Result<()> {
        let op = "set_cpu_policy";
        let too_many = |_| Error::Invalid {
            op,
            what: "too many entries".into(),
        };
        let mut leaves = self.buffer(op, size_of_val(policy.leaves.as_slice()))?;
        leaves.bytes_mut().copy_from_slice(policy.leaves.as_bytes());
        let mut msrs = self.buffer(op, size_of_val(policy.msrs.as_slice()))?;
        msrs.bytes_mut().copy_from_slice(policy.msrs.as_bytes());
        let mut payload = Payload {
            nr_leaves: u32::try_from(policy.leaves.len()).map_err(too_many)?,
            nr_msrs: u32::try_from(policy.msrs.len()).map_err(too_many)?,
            leaves: leaves.address(),
            msrs: msrs.address(),
            err_leaf: u32::MAX,
            err_subleaf: u32::MAX,
            err_msr: u32::MAX,
            ..Default::default()
        };
        // SAFETY: the handles are of buffers that are held mutably and have as many entries as the payload says.
        let result = unsafe {
            self.domctl_with_handles(op, XEN_DOMCTL_SET_CPU_POLICY, domain, &mut payload)
        };
        match result {
            Err(e) if e.errno() == Some(Errno::INVAL) && payload.err_leaf != u32::MAX => {
                let what = format!(
                    "CPUID leaf {:#x}.{:#x} cannot be had",
                    payload.err_leaf, payload.err_subleaf
                );
                Err(Error::Invalid { op, what })
            }
            Err(e) if e.errno() == Some(Errno::INVAL) && payload.err_msr != u32::MAX => {
                Err(Error::Invalid {
                    op,
                    what: format!("MSR {:#x} cannot be had", payload.err_msr),
                })
            }
            other => other.map(drop),
        }
    }
}

fn bytes_for<T>(count: u32) -> usize {
    usize::try_from(count).unwrap_or(0) * size_of::<T>()
}
