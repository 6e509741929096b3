//! xen_version.

use oxen_abi::Errno;
use oxen_abi::arch_x86::HYPERVISOR_VIRT_START;
use oxen_abi::features::{
    XENFEAT_AUTO_TRANSLATED_PHYSMAP, XENFEAT_DOM0, XENFEAT_GNTTAB_MAP_AVAIL_BITS,
    XENFEAT_HVM_CALLBACK_VECTOR, XENFEAT_MEMORY_OP_VNODE_SUPPORTED,
    XENFEAT_MMU_PT_UPDATE_PRESERVE_AD,
};
use oxen_abi::hypercall::HYPERVISOR_XEN_VERSION;
use oxen_abi::version as abi;

use super::{Suite, ensure, good, same};
use crate::sys::hypercall::{self, Result};

/// An address that is canonical, the guest's, and not mapped.
pub(crate) const UNMAPPED: u64 = 0x7000_0000_0000;
/// An address that belongs to the hypervisor.
pub(super) const HYPERVISOR: u64 = 0xffff_8300_0000_0000;

fn ask(cmd: u32, handle: u64) -> Result {
    hypercall::call(HYPERVISOR_XEN_VERSION, [u64::from(cmd), handle])
}

/// Asks for a text and checks that it ends inside its buffer.
pub(super) fn text<const N: usize>(cmd: u32) -> super::Outcome<[u8; N]> {
    let mut buffer = [0xaa; N];
    good!(ask(cmd, hypercall::address(&mut buffer)));
    ensure!(buffer.contains(&0), "text of {cmd} has no end");
    Ok(buffer)
}

/// Whether the hypervisor is ours.
pub(crate) fn is_oxen() -> super::Outcome<bool> {
    let version = text::<{ abi::XEN_EXTRAVERSION_LEN }>(abi::XENVER_EXTRAVERSION)?;
    Ok(version.windows(4).any(|word| word == b"oxen"))
}

pub(super) fn run(s: &mut Suite<'_>) {
    s.check("xen_version/version", || {
        let version = good!(ask(abi::XENVER_VERSION, 0));
        ensure!(version >> 16 == 4, "major version {}", version >> 16);
        Ok(())
    });
    s.check("xen_version/texts", || {
        text::<{ abi::XEN_EXTRAVERSION_LEN }>(abi::XENVER_EXTRAVERSION)?;
        text::<{ abi::XEN_CHANGESET_INFO_LEN }>(abi::XENVER_CHANGESET)?;
        text::<{ abi::XEN_COMMANDLINE_LEN }>(abi::XENVER_COMMANDLINE)?;
        let capabilities = text::<{ abi::XEN_CAPABILITIES_INFO_LEN }>(abi::XENVER_CAPABILITIES)?;
        ensure!(
            capabilities.windows(14).any(|w| w == b"xen-3.0-x86_64"),
            "no xen-3.0-x86_64 among the capabilities"
        );
        Ok(())
    });
    s.check("xen_version/compile_info", || {
        let mut info = abi::CompileInfo::default();
        good!(hypercall::op(
            HYPERVISOR_XEN_VERSION,
            abi::XENVER_COMPILE_INFO,
            &mut info
        ));
        ensure!(info.compiler.contains(&0), "compiler's text has no end");
        Ok(())
    });
    s.check("xen_version/platform_parameters", || {
        let mut parameters = abi::PlatformParameters::default();
        good!(hypercall::op(
            HYPERVISOR_XEN_VERSION,
            abi::XENVER_PLATFORM_PARAMETERS,
            &mut parameters
        ));
        same!(parameters.virt_start, HYPERVISOR_VIRT_START);
        Ok(())
    });
    let privileged = s.privileged;
    s.check("xen_version/features", || {
        let mut info = abi::FeatureInfo::default();
        good!(hypercall::op(
            HYPERVISOR_XEN_VERSION,
            abi::XENVER_GET_FEATURES,
            &mut info
        ));
        for bit in [
            XENFEAT_MMU_PT_UPDATE_PRESERVE_AD,
            XENFEAT_GNTTAB_MAP_AVAIL_BITS,
            XENFEAT_MEMORY_OP_VNODE_SUPPORTED,
        ] {
            ensure!(
                info.submap >> bit & 1 == 1,
                "feature {bit} is missing in {:#x}",
                info.submap
            );
        }
        for bit in [XENFEAT_AUTO_TRANSLATED_PHYSMAP, XENFEAT_HVM_CALLBACK_VECTOR] {
            ensure!(
                info.submap >> bit & 1 == 0,
                "feature {bit} is set in {:#x}",
                info.submap
            );
        }
        same!(info.submap >> XENFEAT_DOM0 & 1 == 1, privileged);
        let mut info = abi::FeatureInfo {
            submap_idx: 1,
            ..abi::FeatureInfo::default()
        };
        let beyond = hypercall::op(HYPERVISOR_XEN_VERSION, abi::XENVER_GET_FEATURES, &mut info);
        same!(beyond, Err(Errno::EINVAL));
        Ok(())
    });
    s.check("xen_version/pagesize", || {
        same!(ask(abi::XENVER_PAGESIZE, 0), Ok(4096));
        Ok(())
    });
    s.check("xen_version/guest_handle", || {
        let mut handle = [0xaau8; 16];
        same!(
            ask(abi::XENVER_GUEST_HANDLE, hypercall::address(&mut handle)),
            Ok(0)
        );
        Ok(())
    });
    s.check("xen_version/build_id", || {
        // The length alone, then the bytes; an image without a build id says ENODATA.
        match ask(abi::XENVER_BUILD_ID, 0) {
            Err(Errno::ENODATA) => {}
            Err(Errno::EPERM) if !privileged => {}
            Ok(length) => {
                ensure!(length > 0 && length <= 64, "length {length}");
                let mut buffer = [0u32; 17];
                buffer[0] = u32::try_from(length).unwrap_or(0);
                let copied = good!(ask(abi::XENVER_BUILD_ID, hypercall::address(&mut buffer)));
                same!(copied, length);
            }
            Err(error) => ensure!(false, "{error}"),
        }
        Ok(())
    });
    s.check("xen_version/bad_pointers", || {
        for address in [0, UNMAPPED, HYPERVISOR, 1 << 47, u64::MAX - 3] {
            for cmd in [
                abi::XENVER_EXTRAVERSION,
                abi::XENVER_CAPABILITIES,
                abi::XENVER_GET_FEATURES,
            ] {
                ensure!(
                    ask(cmd, address) == Err(Errno::EFAULT),
                    "{cmd} to {address:#x} gives {:?}",
                    ask(cmd, address)
                );
            }
        }
        Ok(())
    });
    s.check("xen_version/unknown", || {
        for cmd in [11, 12, 0x7fff_ffff, u32::MAX] {
            same!(ask(cmd, 0), Err(Errno::ENOSYS));
        }
        Ok(())
    });
}
