//! `HYPERVISOR_sysctl`, interface version 0x15: the host.

pub(crate) mod console;
pub(crate) mod cpupool;
pub(crate) mod physinfo;
pub(crate) mod topology;

use oxen_abi::hypercall::HYPERVISOR_SYSCTL;
use oxen_abi::sysctl::{Sysctl, XEN_SYSCTL_INTERFACE_VERSION};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Plain;
use crate::{Error, Hypervisor, Result};

impl Hypervisor {
    /// An operation without guest handles; returns its payload as the hypervisor left it.
    fn sysctl<T: Plain>(&self, op: &'static str, cmd: u32, payload: T) -> Result<T> {
        let mut payload = payload;
        // SAFETY: `Plain` payloads hold no handles.
        unsafe { self.sysctl_with_handles(op, cmd, &mut payload)? };
        Ok(payload)
    }

    /// An operation whose payload holds guest handles.
    ///
    /// # Safety
    /// As [`Hypervisor::call_with`] for the handles in `payload`.
    pub(super) unsafe fn sysctl_with_handles<T: FromBytes + IntoBytes + Immutable>(
        &self,
        op: &'static str,
        cmd: u32,
        payload: &mut T,
    ) -> Result<()> {
        let mut sysctl = Sysctl {
            cmd,
            interface_version: XEN_SYSCTL_INTERFACE_VERSION,
            ..Default::default()
        };
        let too_long = || Error::Invalid {
            op,
            what: "its argument is longer than a sysctl's".into(),
        };
        let place = sysctl
            .u
            .as_mut_bytes()
            .get_mut(..size_of::<T>())
            .ok_or_else(too_long)?;
        place.copy_from_slice(payload.as_bytes());
        // SAFETY: the handles are the payload's, for which the caller answers.
        unsafe {
            self.call_with(op, None, HYPERVISOR_SYSCTL, &mut sysctl, |at| {
                [at, 0, 0, 0, 0]
            })?
        };
        if let Ok((back, _)) = T::read_from_prefix(sysctl.u.as_bytes()) {
            *payload = back;
        }
        Ok(())
    }
}
