//! `xen_version`: what a guest may know of the hypervisor (version.h).

use oxen_abi::Errno;
use oxen_abi::arch_x86::HYPERVISOR_VIRT_START;
use oxen_abi::features::*;
use oxen_abi::version::*;

use super::low;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::trap::cpuid::ABI_VERSION;
use crate::types::PAGE_SIZE;

/// Behind the ABI's version 4.17: whose hypervisor it is.
const EXTRA_VERSION: &str = ".0-oxen";
/// What kinds of guests run: 64-bit PV. The version in it is the interface's, which is 3.0.
const CAPABILITIES: &str = "xen-3.0-x86_64 ";

/// `HYPERVISOR_xen_version`. The version itself is what guests ask for all the time, to have their events looked at.
#[inline(never)]
pub fn xen_version<M: Machine>(cx: &Cx<'_, M>, cmd: u64, arg: u64) -> HcResult {
    if low(cmd) == XENVER_VERSION {
        Ok(u64::from(ABI_VERSION))
    } else {
        others(cx, cmd, arg)
    }
}

#[inline(never)]
fn others<M: Machine>(cx: &Cx<'_, M>, cmd: u64, arg: u64) -> HcResult {
    let machine = cx.machine();
    match low(cmd) {
        XENVER_EXTRAVERSION => text::<XEN_EXTRAVERSION_LEN, M>(machine, arg, EXTRA_VERSION),
        XENVER_COMPILE_INFO => {
            let mut info = CompileInfo::default();
            copy(&mut info.compiler, "rustc");
            copy(&mut info.compile_by, "oxen");
            copy(&mut info.compile_domain, "oxen");
            copy(
                &mut info.compile_date,
                option_env!("OXEN_BUILD_DATE").unwrap_or("unknown"),
            );
            GuestHandle::new(arg).write(machine, &info)?;
            Ok(0)
        }
        XENVER_CAPABILITIES => text::<XEN_CAPABILITIES_INFO_LEN, M>(machine, arg, CAPABILITIES),
        XENVER_CHANGESET => {
            let set = concat!("oxen ", env!("CARGO_PKG_VERSION"));
            text::<XEN_CHANGESET_INFO_LEN, M>(machine, arg, set)
        }
        XENVER_PLATFORM_PARAMETERS => {
            let parameters = PlatformParameters {
                virt_start: HYPERVISOR_VIRT_START,
            };
            GuestHandle::new(arg).write(machine, &parameters)?;
            Ok(0)
        }
        XENVER_GET_FEATURES => {
            let handle = GuestHandle::<FeatureInfo>::new(arg);
            let mut info = handle.read(machine)?;
            if info.submap_idx >= XENFEAT_NR_SUBMAPS {
                return Err(Errno::EINVAL.into());
            }
            info.submap = features(cx.domain().privileged);
            handle.write(machine, &info)?;
            Ok(0)
        }
        XENVER_PAGESIZE if arg != 0 => Err(Errno::EINVAL.into()),
        XENVER_PAGESIZE => Ok(PAGE_SIZE),
        XENVER_GUEST_HANDLE => {
            let handle = cx.domain().state.lock().handle;
            GuestHandle::new(arg).write(machine, &handle)?;
            Ok(0)
        }
        XENVER_COMMANDLINE => {
            let line = if cx.domain().privileged {
                &cx.hv.host.command_line
            } else {
                "<denied>"
            };
            text::<XEN_COMMANDLINE_LEN, M>(machine, arg, line)
        }
        // The image carries no build id.
        XENVER_BUILD_ID if cx.domain().privileged => Err(Errno::ENODATA.into()),
        XENVER_BUILD_ID => Err(Errno::EPERM.into()),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// Feature bits of a PV domain.
const fn features(privileged: bool) -> u32 {
    let mut bits = 1 << XENFEAT_MMU_PT_UPDATE_PRESERVE_AD
        | 1 << XENFEAT_HIGHMEM_ASSIST
        | 1 << XENFEAT_GNTTAB_MAP_AVAIL_BITS
        | 1 << XENFEAT_MEMORY_OP_VNODE_SUPPORTED
        | 1 << XENFEAT_NOT_DIRECT_MAPPED;
    if privileged {
        bits |= 1 << XENFEAT_DOM0;
    }
    bits
}

fn copy(place: &mut [u8], text: &str) {
    let room = place.len().saturating_sub(1);
    for (to, from) in place.iter_mut().take(room).zip(text.bytes()) {
        *to = from;
    }
}

/// Writes a text of a fixed length, ended by zeros.
fn text<const N: usize, M: Machine>(machine: &M, arg: u64, text: &str) -> HcResult {
    let mut bytes = [0; N];
    copy(&mut bytes, text);
    GuestHandle::new(arg).write(machine, &bytes)?;
    Ok(0)
}
