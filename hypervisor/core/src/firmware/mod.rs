//! What the BIOS tells at boot: disks, display, keyboard.
//!
//! dom0's Linux takes it over as if its own real-mode code had asked: which disk the BIOS boots from is in
//! `/sys/firmware/edd`, by which installers put boot loaders where the BIOS finds them.

#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;

use crate::options::{Edd, Edid, Options};

/// The BIOS's number of the first hard disk; the others follow without a gap.
const FIRST_DISK: u8 = 0x80;
/// Disks whose parameters are kept: as many as Linux takes.
const MAX_DISKS: usize = 6;
/// Disks whose signatures are kept.
const MAX_SIGNATURES: usize = 16;
/// Where in a boot sector the signature is.
const SIGNATURE: usize = 440;
/// What a boot sector ends with.
const BOOT_SECTOR: [u8; 2] = [0x55, 0xaa];
/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Bytes of a display's description.
pub const EDID: usize = 128;
/// Bytes of a disk's parameters: those of the Enhanced Disk Drive specification 3.0, in the longer form with 16 bytes of
/// device path.
pub const PARAMETERS: usize = 74;
/// Of a display's channel: it follows VESA's Display Data Channel, version 2.
const DDC2: u8 = 1 << 1;

/// How old software sees a disk: the largest numbers that it can use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Geometry {
    /// Last cylinder, up to 1,023.
    pub cylinder: u16,
    /// Last head.
    pub head: u8,
    /// Sectors of a track, up to 63.
    pub sectors: u8,
}

/// The services of a BIOS that are used. A service that the BIOS does not have, or that fails, tells nothing.
pub trait Bios {
    /// Shift keys and locks (interrupt 16h, AH=02h).
    fn shift_flags(&mut self) -> u8;
    /// Version and interfaces of a disk's extended services (interrupt 13h, AH=41h).
    fn extensions(&mut self, disk: u8) -> Option<(u8, u16)>;
    /// A disk's parameters, which begin with their length (interrupt 13h, AH=48h).
    fn parameters(&mut self, disk: u8) -> Option<[u8; PARAMETERS]>;
    /// A disk's geometry (interrupt 13h, AH=08h).
    fn geometry(&mut self, disk: u8) -> Option<Geometry>;
    /// A disk's first sector (interrupt 13h, AH=02h).
    fn first_sector(&mut self, disk: u8) -> Option<[u8; SECTOR]>;
    /// What the display's channel can do, and how many seconds a block takes (interrupt 10h, AX=4F15h, BL=00h).
    fn display_channel(&mut self) -> Option<(u8, u8)>;
    /// The display's description of itself (interrupt 10h, AX=4F15h, BL=01h).
    fn edid(&mut self) -> Option<[u8; EDID]>;
}

/// A disk, as `XEN_FW_DISK_INFO` tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    /// The BIOS's number.
    pub number: u8,
    /// Version of the extended services.
    pub version: u8,
    /// Which of them there are.
    pub interfaces: u16,
    /// Geometry; zeros if it is not known.
    pub geometry: Geometry,
    /// Parameters, as the BIOS gives them: [`Disk::parameters`].
    parameters: [u8; PARAMETERS],
}

impl Disk {
    /// The parameters: as many bytes as they say that they have. None if the BIOS does not tell them.
    pub fn parameters(&self) -> &[u8] {
        let [low, high, ..] = self.parameters;
        let length = usize::from(u16::from_le_bytes([low, high]));
        self.parameters.get(..length).unwrap_or(&self.parameters)
    }
}

/// The signature in a disk's boot sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The BIOS's number of the disk.
    pub number: u8,
    /// Bytes 440 to 443 of its first sector.
    pub signature: u32,
}

/// The display.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Display {
    /// What its channel can do (VESA's VBE/DDC standard).
    pub capabilities: u8,
    /// Seconds that the channel takes for a block.
    pub seconds: u8,
    /// Its description of itself.
    pub edid: [u8; EDID],
}

/// What the BIOS told. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// Disks, from the first one on.
    pub disks: ArrayVec<Disk, MAX_DISKS>,
    /// Signatures of those with a boot sector.
    pub signatures: ArrayVec<Signature, MAX_SIGNATURES>,
    /// The display.
    pub display: Option<Display>,
    /// Shift keys and locks of the keyboard.
    pub shift_flags: u8,
}

impl Firmware {
    /// Asks what the options allow.
    pub fn ask(bios: &mut impl Bios, options: &Options) -> Self {
        if options.no_real_mode {
            return Self::default();
        }
        Self {
            signatures: match options.edd {
                Edd::On => {
                    let read = numbers().map_while(|number| signature(bios, number));
                    read.flatten().collect()
                }
                Edd::SkipMbr | Edd::Off => ArrayVec::new(),
            },
            disks: match options.edd {
                Edd::On | Edd::SkipMbr => {
                    let numbers = numbers().take(MAX_DISKS);
                    numbers.map_while(|number| disk(bios, number)).collect()
                }
                Edd::Off => ArrayVec::new(),
            },
            display: display(bios, options.edid),
            shift_flags: bios.shift_flags(),
        }
    }
}

/// The numbers that disks may have.
fn numbers() -> impl Iterator<Item = u8> {
    (FIRST_DISK..=u8::MAX).take(MAX_SIGNATURES)
}

/// Reads a disk: `None` if that fails, and no signature if the sector is no boot sector.
fn signature(bios: &mut impl Bios, number: u8) -> Option<Option<Signature>> {
    let sector = bios.first_sector(number)?;
    let bytes = sector.get(SIGNATURE..)?.first_chunk()?;
    let found = Signature {
        number,
        signature: u32::from_le_bytes(*bytes),
    };
    Some(sector.ends_with(&BOOT_SECTOR).then_some(found))
}

fn disk(bios: &mut impl Bios, number: u8) -> Option<Disk> {
    let (version, interfaces) = bios.extensions(number)?;
    Some(Disk {
        number,
        version,
        interfaces,
        geometry: bios.geometry(number).unwrap_or_default(),
        parameters: bios.parameters(number).unwrap_or([0; PARAMETERS]),
    })
}

fn display(bios: &mut impl Bios, wish: Edid) -> Option<Display> {
    if wish == Edid::No {
        return None;
    }
    let (capabilities, seconds) = match bios.display_channel() {
        Some(channel) if channel.0 & DDC2 != 0 || wish == Edid::Force => channel,
        None if wish == Edid::Force => (0, 0),
        _ => return None,
    };
    Some(Display {
        capabilities,
        seconds,
        edid: bios.edid()?,
    })
}
