//! What the firmware told at boot.

use oxen_abi::Errno;
use oxen_abi::platform::{
    DiskInfo, DiskMbrSignature, FirmwareInfo, VbeDdcInfo, XEN_FW_DISK_INFO,
    XEN_FW_DISK_MBR_SIGNATURE, XEN_FW_EFI_INFO, XEN_FW_KBD_SHIFT_FLAGS, XEN_FW_VBEDDC_INFO,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::super::{Outcome, Union, put, take};
use crate::firmware::Disk;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// `firmware_info`: entry `index` of a list, or `ESRCH` behind its last one.
pub(super) fn info<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: FirmwareInfo = take(u);
    let told = &cx.hv.host.firmware;
    let index = usize::try_from(request.index).unwrap_or(usize::MAX);
    match request.type_ {
        XEN_FW_DISK_INFO => {
            let disk = told.disks.get(index).ok_or(Errno::ESRCH)?;
            let asked: DiskInfo = inner(&request);
            give_parameters(cx, disk, asked.edd_params)?;
            set(
                &mut request,
                &DiskInfo {
                    device: disk.number,
                    version: disk.version,
                    interface_support: disk.interfaces,
                    legacy_max_cylinder: disk.geometry.cylinder,
                    legacy_max_head: disk.geometry.head,
                    legacy_sectors_per_track: disk.geometry.sectors,
                    ..asked
                },
            );
        }
        XEN_FW_DISK_MBR_SIGNATURE => {
            let disk = told.signatures.get(index).ok_or(Errno::ESRCH)?;
            let asked: DiskMbrSignature = inner(&request);
            set(
                &mut request,
                &DiskMbrSignature {
                    device: disk.number,
                    mbr_signature: disk.signature,
                    ..asked
                },
            );
        }
        XEN_FW_VBEDDC_INFO => {
            let display = told.display.filter(|_| index == 0).ok_or(Errno::ESRCH)?;
            let asked: VbeDdcInfo = inner(&request);
            cx.machine()
                .copy_to_guest(asked.edid, &display.edid)
                .map_err(|_| Errno::EFAULT)?;
            set(
                &mut request,
                &VbeDdcInfo {
                    capabilities: display.capabilities,
                    edid_transfer_time: display.seconds,
                    ..asked
                },
            );
        }
        // There is no UEFI.
        XEN_FW_EFI_INFO => return Err(Errno::ENOSYS.into()),
        XEN_FW_KBD_SHIFT_FLAGS if index == 0 => set(&mut request, &told.shift_flags),
        XEN_FW_KBD_SHIFT_FLAGS => return Err(Errno::ESRCH.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    put(u, &request)
}

/// Copies a disk's parameters to the caller's buffer, whose first word says how long it is. That word becomes the number
/// of bytes that are there.
fn give_parameters<M: Machine>(cx: &Cx<'_, M>, disk: &Disk, buffer: u64) -> Result<(), Errno> {
    let length = GuestHandle::<u16>::new(buffer);
    let room = usize::from(length.read(cx.machine())?);
    let given = disk.parameters();
    let given = given.get(..room).unwrap_or(given);
    cx.machine()
        .copy_to_guest(buffer, given)
        .map_err(|_| Errno::EFAULT)?;
    // At most the 16 bits that were read.
    length.write(cx.machine(), &u16::try_from(given.len()).unwrap_or(0))?;
    Ok(())
}

/// The structure of a type, out of the union.
fn inner<T: FromBytes>(request: &FirmwareInfo) -> T {
    T::read_from_prefix(request.u.as_bytes()).map_or_else(|_| T::new_zeroed(), |(value, _)| value)
}

/// Puts it back, changed.
fn set<T: IntoBytes + Immutable>(request: &mut FirmwareInfo, value: &T) {
    // Every structure fits: their sizes are asserted against the ABI's.
    let _ = value.write_to_prefix(request.u.as_mut_bytes());
}
