//! Scheduling parameters of a domain.

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
        super::super::later("scheduler_op")
    }

    /// Sets a domain's credit parameters.
    ///
    /// # Errors
    /// As [`Hypervisor::credit_parameters`]; the hypervisor refuses values out of range.
    pub fn set_credit_parameters(&self, domain: DomId, parameters: CreditParameters) -> Result<()> {
        super::super::later("scheduler_op")
    }
}
