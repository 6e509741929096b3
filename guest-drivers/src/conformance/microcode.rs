//! platform_op's `microcode_update`: files that are right and wrong. None has an update that a processor would take, for
//! their makers sign them.

use oxen_abi::Errno;
use oxen_abi::platform as abi;

use super::platform::platform;
use super::version::UNMAPPED;
use super::{Outcome, Suite, same, skip};
use crate::sys::{cpu, hypercall};

/// Of an update in Intel's format.
const INTEL_BYTES: usize = 2048;
/// Of the table, with an entry and its end, in AMD's format.
const AMD_TABLE: usize = 32;
/// Of an update there.
const AMD_UPDATE: usize = 3200;

/// Where the guest is loaded; its image is larger than 2 MiB.
const IMAGE: u64 = 0xffff_ffff_8010_0000;

/// Newer and older than any.
const NEW: u32 = 0x7fff_ffff;
const OLD: u32 = 0;

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Intel,
    Amd,
}

/// How the processor takes updates; and its signature.
fn format() -> (Option<Format>, u32) {
    let [_, b, ..] = cpu::cpuid(0, 0);
    let [signature, ..] = cpu::cpuid(1, 0);
    let family = signature >> 8 & 0xf;
    let format = match &b.to_le_bytes() {
        b"Genu" if family >= 6 => Some(Format::Intel),
        b"Auth" if family == 0xf && signature >> 20 & 0xff > 0 => Some(Format::Amd),
        _ => None,
    };
    (format, signature)
}

fn update(file: &mut [u32], bytes: usize) -> hypercall::Result {
    let mut arg = abi::MicrocodeUpdate {
        data: hypercall::slice_address(file),
        length: u32::try_from(bytes).unwrap_or(u32::MAX),
        ..abi::MicrocodeUpdate::default()
    };
    platform(abi::XENPF_MICROCODE_UPDATE, &mut arg)
}

/// Two updates of Intel's one after the other; what sums them up is wrong by `error`.
fn intel(revision: u32, signature: u32, platforms: u32, error: u32) -> [u32; 2 * INTEL_BYTES / 4] {
    let mut file = [0u32; 2 * INTEL_BYTES / 4];
    let (first, second) = file.split_at_mut(INTEL_BYTES / 4);
    let header = [
        1,
        revision,
        0x0101_2026,
        signature,
        0,
        1,
        platforms,
        2000,
        2048,
    ];
    for (to, from) in first.iter_mut().zip(header) {
        *to = from;
    }
    let sum = first.iter().fold(0u32, |sum, word| sum.wrapping_add(*word));
    if let Some(word) = first.get_mut(4) {
        *word = error.wrapping_sub(sum);
    }
    second.copy_from_slice(first);
    file
}

fn intels(signature: u32) -> Outcome {
    const ALL: u32 = 0xff;
    let one = |revision, signature, platforms, error| {
        update(
            &mut intel(revision, signature, platforms, error),
            INTEL_BYTES,
        )
    };
    // This processor's platform is the first.
    same!(one(NEW, signature, ALL, 0), Err(Errno::EIO));
    same!(one(OLD, signature, ALL, 0), Err(Errno::EEXIST));
    same!(one(1, signature, 1, 0), Err(Errno::EEXIST));
    for platforms in [0, 0x80] {
        same!(one(NEW, signature, platforms, 0), Err(Errno::ENOENT));
    }
    same!(one(NEW, signature ^ 0x100, ALL, 0), Err(Errno::ENOENT));
    for signature in [signature, signature ^ 0x100] {
        same!(one(NEW, signature, ALL, 1), Err(Errno::EINVAL));
    }
    // Two of them; and one with a part of another, or something else, behind it.
    for (signature, whole, damaged) in [
        (signature, Errno::EIO, Errno::EIO),
        (signature ^ 0x100, Errno::ENOENT, Errno::EINVAL),
    ] {
        let mut file = intel(NEW, signature, ALL, 0);
        same!(update(&mut file, 2 * INTEL_BYTES), Err(whole));
        same!(update(&mut file, 2 * INTEL_BYTES - 1), Err(damaged));
        same!(update(&mut file, INTEL_BYTES - 1), Err(Errno::EINVAL));
        if let Some(word) = file.get_mut(INTEL_BYTES / 4) {
            *word = 7;
        }
        same!(update(&mut file, 2 * INTEL_BYTES), Err(damaged));
    }
    Ok(())
}

/// A container of AMD's with one update.
fn amd(revision: u32, signature: u32) -> [u32; 1024] {
    const NUMBER: u32 = 0x1234;
    let mut file = [0u32; 1024];
    for (at, word) in [
        (0, 0x0041_4d44),
        (2, AMD_TABLE),
        (3, signature as usize),
        (6, NUMBER as usize),
        (11, 1),
        (12, AMD_UPDATE),
        (14, revision as usize),
        (19, NUMBER as usize),
    ] {
        if let (Some(to), Ok(word)) = (file.get_mut(at), u32::try_from(word)) {
            *to = word;
        }
    }
    file
}

fn amds(signature: u32) -> Outcome {
    const WHOLE: usize = 12 + AMD_TABLE + 8 + AMD_UPDATE;
    same!(update(&mut amd(NEW, signature), WHOLE), Err(Errno::EIO));
    same!(update(&mut amd(OLD, signature), WHOLE), Err(Errno::EEXIST));
    for signature in [signature, signature ^ 0x100] {
        let mut file = amd(NEW, signature);
        same!(update(&mut file, WHOLE - 1), Err(Errno::EINVAL));
        same!(update(&mut file, 12 + AMD_TABLE), Err(Errno::ENOENT));
        same!(update(&mut file, 12), Err(Errno::EINVAL));
    }
    let other = signature ^ 0x100;
    same!(update(&mut amd(NEW, other), WHOLE), Err(Errno::ENOENT));
    Ok(())
}

pub(super) fn run(s: &mut Suite<'_>) {
    let (format, signature) = format();
    s.check("platform_op/microcode_no_file", || {
        let Some(_) = format else {
            // Nobody knows how to update such a processor.
            for bytes in [0, 64, 256] {
                same!(update(&mut amd(NEW, signature), bytes), Err(Errno::EINVAL));
            }
            return Ok(());
        };
        let mut nothing = [0u32; 64];
        same!(update(&mut nothing, 0), Err(Errno::ENOENT));
        for bytes in [1, 4, 47, 64, 256] {
            same!(update(&mut nothing, bytes), Err(Errno::EINVAL));
        }
        same!(update(&mut nothing, u32::MAX as usize), Err(Errno::ENOMEM));
        // As large as they get: the guest itself, from its first page on.
        let mut image = abi::MicrocodeUpdate {
            data: IMAGE,
            length: 2 << 20,
            ..abi::MicrocodeUpdate::default()
        };
        same!(
            platform(abi::XENPF_MICROCODE_UPDATE, &mut image),
            Err(Errno::EINVAL)
        );
        let mut nowhere = abi::MicrocodeUpdate {
            data: UNMAPPED,
            length: 64,
            ..abi::MicrocodeUpdate::default()
        };
        same!(
            platform(abi::XENPF_MICROCODE_UPDATE, &mut nowhere),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("platform_op/microcode_update", || match format {
        Some(Format::Intel) => intels(signature),
        Some(Format::Amd) => amds(signature),
        None => skip!("this processor cannot be updated"),
    });
}
