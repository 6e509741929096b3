//! domctl and sysctl, as a toolstack in the kernel uses them.

use oxen_abi::Errno;
use oxen_abi::domctl::{self, Domctl, GetDomainInfo};
use oxen_abi::hypercall::{HYPERVISOR_DOMCTL, HYPERVISOR_SYSCTL};
use oxen_abi::sysctl::{self, PhysInfo, Sysctl};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::sys::hypercall::{self, Result};

/// A sub-operation without arguments.
pub type Nothing = [u64; 0];

/// Puts the argument into the call's union, and takes it out again afterwards.
fn with_union<T: FromBytes + IntoBytes + Immutable>(
    union: &mut [u64; 16],
    arg: &mut T,
    call: impl FnOnce(&mut [u64; 16]) -> Result,
) -> Result {
    // The ABI's unions are as large as the largest sub-operation.
    arg.write_to_prefix(union.as_mut_bytes())
        .map_err(|_| Errno::E2BIG)?;
    let result = call(union)?;
    let (out, _) = T::read_from_prefix(union.as_bytes()).map_err(|_| Errno::E2BIG)?;
    *arg = out;
    Ok(result)
}

/// A domctl; the domain may change (createdomain, getdomaininfo).
pub fn domctl<T: FromBytes + IntoBytes + Immutable>(
    cmd: u32,
    domain: &mut u16,
    arg: &mut T,
) -> Result {
    let mut call = Domctl {
        cmd,
        interface_version: domctl::XEN_DOMCTL_INTERFACE_VERSION,
        domain: *domain,
        ..Domctl::default()
    };
    let mut union = [0; 16];
    let result = with_union(&mut union, arg, |union| {
        call.u = *union;
        let result = hypercall::call(HYPERVISOR_DOMCTL, [hypercall::address(&mut call)]);
        *union = call.u;
        result
    })?;
    *domain = call.domain;
    Ok(result)
}

/// A domctl on a domain.
pub fn on_domain<T: FromBytes + IntoBytes + Immutable>(
    cmd: u32,
    domain: u16,
    arg: &mut T,
) -> Result {
    domctl(cmd, &mut { domain }, arg)
}

/// A sysctl.
pub fn sysctl<T: FromBytes + IntoBytes + Immutable>(cmd: u32, arg: &mut T) -> Result {
    let mut call = Sysctl {
        cmd,
        interface_version: sysctl::XEN_SYSCTL_INTERFACE_VERSION,
        ..Sysctl::default()
    };
    let mut union = [0; 16];
    with_union(&mut union, arg, |union| {
        call.u = *union;
        let result = hypercall::call(HYPERVISOR_SYSCTL, [hypercall::address(&mut call)]);
        *union = call.u;
        result
    })
}

/// Pages that the hypervisor has free.
pub fn free_pages() -> Result {
    let mut info = PhysInfo::default();
    sysctl(sysctl::XEN_SYSCTL_PHYSINFO, &mut info)?;
    Ok(info.free_pages)
}

/// Presses keys at the hypervisor's console, for what they print.
pub fn debug_keys<const N: usize>(mut keys: [u8; N]) {
    let mut arg = sysctl::DebugKeys {
        keys: hypercall::slice_address(&mut keys),
        nr_keys: u32::try_from(N).unwrap_or(0),
        ..sysctl::DebugKeys::default()
    };
    // Without an answer the check that asks has failed anyway.
    let _ = self::sysctl(sysctl::XEN_SYSCTL_DEBUG_KEYS, &mut arg);
}

/// The first domain from a number on.
pub fn domain_from(first: u16) -> Option<u16> {
    let mut info = GetDomainInfo::default();
    domctl::<GetDomainInfo>(domctl::XEN_DOMCTL_GETDOMAININFO, &mut { first }, &mut info).ok()?;
    Some(info.domain)
}

/// What the hypervisor knows of a domain; `ESRCH` if there is none with that number.
pub fn domain_info(domain: u16) -> Result<GetDomainInfo> {
    let mut info = GetDomainInfo::default();
    let mut found = domain;
    domctl::<GetDomainInfo>(domctl::XEN_DOMCTL_GETDOMAININFO, &mut found, &mut info)?;
    // The call answers with the next higher domain when this one is not there.
    if info.domain == domain {
        Ok(info)
    } else {
        Err(Errno::ESRCH)
    }
}
