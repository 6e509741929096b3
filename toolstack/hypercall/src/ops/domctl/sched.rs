//! Scheduling parameters of a domain.

use oxen_abi::domctl as abi;

use crate::{DomId, Hypervisor, Result};

/// Parameters of the credit scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditParameters {
    /// Share of CPU time against other domains, 1 to 65535; 256 by default.
    pub weight: u16,
    /// Limit in percent of one CPU; 0 for none.
    pub cap: u16,
}

impl Hypervisor {
    /// Reads a domain's credit parameters.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`], with `EINVAL` where credit is not the scheduler of the domain's pool.
    pub fn credit_parameters(&self, domain: DomId) -> Result<CreditParameters> {
        let none = CreditParameters { weight: 0, cap: 0 };
        self.credit(domain, abi::XEN_DOMCTL_SCHEDOP_GETINFO, none)
    }

    /// Sets a domain's credit parameters.
    ///
    /// # Errors
    /// As [`Hypervisor::credit_parameters`]; the hypervisor refuses values out of range.
    pub fn set_credit_parameters(&self, domain: DomId, parameters: CreditParameters) -> Result<()> {
        self.credit(domain, abi::XEN_DOMCTL_SCHEDOP_PUTINFO, parameters)
            .map(drop)
    }

    fn credit(
        &self,
        domain: DomId,
        cmd: u32,
        parameters: CreditParameters,
    ) -> Result<CreditParameters> {
        let (weight, cap) = (u64::from(parameters.weight), u64::from(parameters.cap));
        let mut payload = abi::SchedulerOp {
            sched_id: abi::XEN_SCHEDULER_CREDIT,
            cmd,
            u: [weight | cap << 16, 0],
        };
        // SAFETY: both commands take the union as two numbers; only the commands for single vCPUs have a handle.
        unsafe {
            self.domctl_with_handles(
                "scheduler_op",
                abi::XEN_DOMCTL_SCHEDULER_OP,
                domain,
                &mut payload,
            )?
        };
        let [first, _] = payload.u;
        let [w0, w1, c0, c1, ..] = first.to_le_bytes();
        Ok(CreditParameters {
            weight: u16::from_le_bytes([w0, w1]),
            cap: u16::from_le_bytes([c0, c1]),
        })
    }
}
