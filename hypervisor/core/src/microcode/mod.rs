//! Microcode updates: what a file of them has for this processor, and its loading on all CPUs.
//!
//! A file comes from dom0 and may hold anything. It is looked through without trusting a length or a count in it; that
//! an update is genuine is for the processor to judge, which goes on as before if it is not.

mod amd;
mod intel;
mod load;
#[cfg(test)]
mod tests;

pub use load::{Microcode, update};

use oxen_abi::Errno;

use crate::machine::Machine;

/// Bytes of the longest file that is taken. Those for one family of processors have at most half of that.
const LONGEST: u32 = 2 << 20;

/// IA32_PLATFORM_ID, whose bits 50 to 52 number the platform that a processor is made for (SDM volume 4).
const PLATFORM_ID: u32 = 0x17;

/// Who made the processor, and so how it takes updates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// SDM volume 3, 10.11: through MSR 79h, with the address of the data behind the header.
    Intel,
    /// Through MSR C001_0020h, with the address of the header.
    Amd,
}

/// The processor, as files of updates name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Processor {
    vendor: Vendor,
    /// CPUID 1, EAX.
    signature: u32,
    /// A bit for its platform; Intel only.
    platform: u32,
}

impl Processor {
    /// This one; `None` if it is not known how it takes updates.
    fn of<M: Machine>(machine: &M) -> Option<Self> {
        let [_, b, c, d] = machine.cpuid(0, 0);
        let [signature, ..] = machine.cpuid(1, 0);
        let family = match signature >> 8 & 0xf {
            0xf => 0xf + (signature >> 20 & 0xff),
            family => family,
        };
        let name = [b, d, c].map(u32::to_le_bytes);
        let vendor = match name.as_flattened() {
            b"GenuineIntel" if family >= 6 => Vendor::Intel,
            b"AuthenticAMD" if family >= 0x10 => Vendor::Amd,
            _ => return None,
        };
        let id = machine.rdmsr(PLATFORM_ID).unwrap_or(0) >> 50 & 7;
        Some(Self {
            vendor,
            signature,
            platform: 1 << id,
        })
    }
}

/// An update in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found<'a> {
    /// The revision that it brings.
    revision: u32,
    /// Its bytes, header included.
    bytes: &'a [u8],
}

impl<'a> Found<'a> {
    /// The newer of two.
    fn newer(best: Option<Self>, other: Self) -> Option<Self> {
        Some(
            best.filter(|best| best.revision >= other.revision)
                .unwrap_or(other),
        )
    }
}

/// The newest update for a processor. `EINVAL` if the file is malformed; but if an update was found before the fault, that
/// one counts. `ENOENT` if there is none.
fn choose<'a>(file: &'a [u8], processor: &Processor) -> Result<Found<'a>, Errno> {
    let (found, whole) = match processor.vendor {
        Vendor::Intel => intel::choose(file, processor),
        Vendor::Amd => amd::choose(file, processor),
    };
    found.ok_or(if whole { Errno::ENOENT } else { Errno::EINVAL })
}

/// The little-endian word at an offset.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The same as a length.
fn length(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(word(bytes, at)?).ok()
}
