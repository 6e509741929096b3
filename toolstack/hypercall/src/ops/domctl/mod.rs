//! `HYPERVISOR_domctl`, interface version 0x15: domains.

pub(crate) mod affinity;
pub(crate) mod context;
pub(crate) mod cpu_policy;
pub(crate) mod create;
pub(crate) mod info;
pub(crate) mod life;
pub(crate) mod memory;
pub(crate) mod permission;
pub(crate) mod sched;
pub(crate) mod tsc;

use oxen_abi::domctl::{Domctl, XEN_DOMCTL_INTERFACE_VERSION};
use oxen_abi::hypercall::HYPERVISOR_DOMCTL;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Plain;
use crate::{DomId, Error, Hypervisor, Result};

// SAFETY: no bytes at all.
unsafe impl Plain for () {}

impl Hypervisor {
    /// An operation without guest handles; returns its payload as the hypervisor left it.
    fn domctl<T: Plain>(&self, op: &'static str, cmd: u32, domain: DomId, payload: T) -> Result<T> {
        let mut payload = payload;
        // SAFETY: `Plain` payloads hold no handles.
        unsafe { self.domctl_with_handles(op, cmd, domain, &mut payload)? };
        Ok(payload)
    }

    /// An operation whose payload holds guest handles. Returns the domain that the hypervisor put into the header.
    ///
    /// # Safety
    /// As [`Hypervisor::call_with`] for the handles in `payload`.
    unsafe fn domctl_with_handles<T: FromBytes + IntoBytes + Immutable>(
        &self,
        op: &'static str,
        cmd: u32,
        domain: DomId,
        payload: &mut T,
    ) -> Result<DomId> {
        let mut domctl = Domctl {
            cmd,
            interface_version: XEN_DOMCTL_INTERFACE_VERSION,
            domain: domain.0,
            ..Default::default()
        };
        let too_long = || Error::Invalid {
            op,
            what: "its argument is longer than a domctl's".into(),
        };
        let place = domctl
            .u
            .as_mut_bytes()
            .get_mut(..size_of::<T>())
            .ok_or_else(too_long)?;
        place.copy_from_slice(payload.as_bytes());
        // SAFETY: the handles are the payload's, for which the caller answers.
        let result = unsafe {
            self.call_with(op, Some(domain), HYPERVISOR_DOMCTL, &mut domctl, |at| {
                [at, 0, 0, 0, 0]
            })
        };
        if let Ok((back, _)) = T::read_from_prefix(domctl.u.as_bytes()) {
            *payload = back;
        }
        result.map(|_| DomId(domctl.domain))
    }
}
