//! platform_op's `firmware_info`: what the BIOS told at boot.
//!
//! `disk=signature` on the command line says that the machine has one disk, of 128 MiB, with that signature, and a display;
//! `asked=list`, by default `edd,mbr,edid`, what the hypervisor's options let it ask.

use oxen_abi::Errno;
use oxen_abi::platform as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::platform::platform;
use super::version::UNMAPPED;
use super::{Outcome, Suite, ensure, good, same, skip};
use crate::cmdline::CommandLine;
use crate::sys::hypercall;

/// The BIOS's number of the first disk.
const FIRST_DISK: u8 = 0x80;
/// The disk's sectors of 512 bytes.
const SECTORS: u64 = (128 << 20) / 512;
/// Fills what must stay as it is.
const UNTOUCHED: u8 = 0xee;

/// Asks for entry `index` of a list. `arg` is its structure, which is read back.
fn ask<T: FromBytes + IntoBytes + Immutable>(
    type_: u32,
    index: u32,
    arg: &mut T,
) -> hypercall::Result {
    let mut call = abi::FirmwareInfo {
        type_,
        index,
        ..abi::FirmwareInfo::default()
    };
    arg.write_to_prefix(call.u.as_mut_bytes())
        .map_err(|_| Errno::E2BIG)?;
    let result = platform(abi::XENPF_FIRMWARE_INFO, &mut call);
    if let Ok((out, _)) = T::read_from_prefix(call.u.as_bytes()) {
        *arg = out;
    }
    result
}

/// Asks for a disk's parameters with room for `room` bytes of them.
fn parameters(room: u8) -> hypercall::Result<(abi::DiskInfo, [u8; 80])> {
    let mut buffer = [UNTOUCHED; 80];
    [buffer[0], buffer[1]] = [room, 0];
    let mut info = abi::DiskInfo {
        edd_params: hypercall::slice_address(&mut buffer),
        ..abi::DiskInfo::default()
    };
    ask(abi::XEN_FW_DISK_INFO, 0, &mut info).map(|_| (info, buffer))
}

/// The machine, and what the hypervisor may ask its BIOS.
#[derive(Clone, Copy)]
struct Expected<'a> {
    disk: Option<u64>,
    asked: &'a str,
}

impl Expected<'_> {
    /// The disk's signature, if `what` is asked for; else the list of type `type_` is empty.
    fn disk(&self, what: &str, type_: u32) -> Outcome<Option<u64>> {
        if self.asked.split(',').any(|asked| asked == what) {
            match self.disk {
                Some(signature) => return Ok(Some(signature)),
                None => skip!("it is not said what the machine has"),
            }
        }
        same!(ask(type_, 0, &mut [0u64; 4]), Err(Errno::ESRCH));
        Ok(None)
    }
}

fn disks(s: &mut Suite<'_>, expected: Expected<'_>) {
    s.check("platform_op/firmware_disks", || {
        let Some(_) = expected.disk("edd", abi::XEN_FW_DISK_INFO)? else {
            return Ok(());
        };
        let (info, whole) = good!(parameters(80));
        same!(info.device, FIRST_DISK);
        ensure!(
            info.version >= 0x21 && info.interface_support & 1 != 0,
            "{info:x?}"
        );
        ensure!(
            (1..=63).contains(&info.legacy_sectors_per_track)
                && info.legacy_max_cylinder > 0
                && info.legacy_max_head > 0,
            "{info:x?}"
        );
        let length = whole[0];
        ensure!((26..=74).contains(&length), "{length} bytes");
        let number = |at: usize, size: usize| {
            let bytes = whole.get(at..at + size).unwrap_or_default();
            bytes
                .iter()
                .rfold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        same!((number(0, 2), number(16, 8)), (length.into(), SECTORS));
        same!(number(24, 2), 512);
        // No byte behind what there is, or behind the room there is.
        for room in [80, 74, 26, 10, 2, 1, 0] {
            let (_, part) = good!(parameters(room));
            let given = room.min(length);
            same!((part[0], part[1]), (given, 0));
            for (at, byte) in part.iter().enumerate().skip(2) {
                let want = if at < given.into() {
                    whole.get(at)
                } else {
                    None
                };
                same!((room, at, byte), (room, at, want.unwrap_or(&UNTOUCHED)));
            }
        }
        let mut nowhere = abi::DiskInfo {
            edd_params: UNMAPPED,
            ..abi::DiskInfo::default()
        };
        same!(
            ask(abi::XEN_FW_DISK_INFO, 0, &mut nowhere),
            Err(Errno::EFAULT)
        );
        same!(
            ask(abi::XEN_FW_DISK_INFO, 1, &mut nowhere),
            Err(Errno::ESRCH)
        );
        Ok(())
    });
    s.check("platform_op/firmware_signatures", || {
        const LIST: u32 = abi::XEN_FW_DISK_MBR_SIGNATURE;
        let Some(want) = expected.disk("mbr", LIST)? else {
            return Ok(());
        };
        let mut disk = abi::DiskMbrSignature {
            _pad0: [UNTOUCHED; 3],
            ..abi::DiskMbrSignature::default()
        };
        good!(ask(LIST, 0, &mut disk));
        same!(
            (disk.device, u64::from(disk.mbr_signature), disk._pad0),
            (FIRST_DISK, want, [UNTOUCHED; 3])
        );
        same!(ask(LIST, 1, &mut disk), Err(Errno::ESRCH));
        Ok(())
    });
}

fn display(s: &mut Suite<'_>, expected: Expected<'_>) {
    const LIST: u32 = abi::XEN_FW_VBEDDC_INFO;
    s.check("platform_op/firmware_display", || {
        let Some(_) = expected.disk("edid", LIST)? else {
            return Ok(());
        };
        let mut edid = [UNTOUCHED; 129];
        let mut info = abi::VbeDdcInfo {
            edid: hypercall::slice_address(&mut edid),
            ..abi::VbeDdcInfo::default()
        };
        good!(ask(LIST, 0, &mut info));
        // It follows DDC2; the block begins with its mark and ends with what makes the sum of it zero.
        ensure!(info.capabilities & 2 != 0, "{:#x}", info.capabilities);
        let (block, behind) = edid.split_at(128);
        ensure!(
            block.starts_with(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]),
            "{:x?}",
            block.get(..8)
        );
        same!(
            block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)),
            0
        );
        same!(behind, [UNTOUCHED]);
        info.edid = UNMAPPED;
        same!(ask(LIST, 0, &mut info), Err(Errno::EFAULT));
        same!(ask(LIST, 1, &mut info), Err(Errno::ESRCH));
        Ok(())
    });
    s.check("platform_op/firmware_keyboard", || {
        let mut flags = [UNTOUCHED; 8];
        same!(ask(abi::XEN_FW_KBD_SHIFT_FLAGS, 0, &mut flags), Ok(0));
        // Nobody holds a key; one byte is told.
        same!(flags, [0, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee]);
        same!(
            ask(abi::XEN_FW_KBD_SHIFT_FLAGS, 1, &mut flags),
            Err(Errno::ESRCH)
        );
        Ok(())
    });
}

fn ends(s: &mut Suite<'_>) {
    s.check("platform_op/firmware_info", || {
        for type_ in [
            abi::XEN_FW_DISK_INFO,
            abi::XEN_FW_DISK_MBR_SIGNATURE,
            abi::XEN_FW_VBEDDC_INFO,
            abi::XEN_FW_KBD_SHIFT_FLAGS,
        ] {
            for index in [16, 0x8000_0000, u32::MAX] {
                same!(ask(type_, index, &mut 0u64), Err(Errno::ESRCH));
            }
        }
        // Started by BIOS.
        for index in [abi::XEN_FW_EFI_VERSION, u32::MAX] {
            same!(
                ask(abi::XEN_FW_EFI_INFO, index, &mut 0u64),
                Err(Errno::ENOSYS)
            );
        }
        for type_ in [0, 77, u32::MAX] {
            same!(ask(type_, 0, &mut 0u64), Err(Errno::EINVAL));
        }
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>, line: &CommandLine<'_>) {
    let expected = Expected {
        disk: line.value("disk").and_then(|value| value.parse().ok()),
        asked: line.value("asked").unwrap_or("edd,mbr,edid"),
    };
    disks(s, expected);
    display(s, expected);
    ends(s);
}
