//! What a PV kernel says about itself in its ELF notes (public elfnote.h).

use oxen_abi::elfnote::*;

use crate::error::ImageError;

/// The notes of a 64-bit PV kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Virtual address where it starts; the ELF header's where no note says.
    pub entry: u64,
    /// Virtual address of pseudo-physical address 0.
    pub virt_base: u64,
    /// What is subtracted from ELF's physical addresses.
    pub paddr_offset: u64,
    /// Virtual address of the hypercall page, if the kernel has one.
    pub hypercall_page: Option<u64>,
    /// Virtual address where it wants the P2M list, if not behind itself.
    pub init_p2m: Option<u64>,
    /// Whether it takes a RAM disk that is not mapped.
    pub unmapped_ramdisk: bool,
    /// Its name: "linux" and the like.
    pub guest_os: String,
    has_entry: bool,
    has_phys32_entry: bool,
    has_pv_note: bool,
}

impl Notes {
    /// Takes one note of the name `Xen`; kinds that are not known here are none of our business.
    pub(super) fn take(&mut self, kind: u64, desc: &[u8]) -> Result<(), ImageError> {
        let Ok(kind) = u32::try_from(kind) else {
            return Ok(());
        };
        match kind {
            XEN_ELFNOTE_ENTRY => {
                self.entry = number("ENTRY", desc)?;
                self.has_entry = true;
            }
            XEN_ELFNOTE_HYPERCALL_PAGE => {
                self.hypercall_page = Some(number("HYPERCALL_PAGE", desc)?);
            }
            XEN_ELFNOTE_VIRT_BASE => {
                self.virt_base = number("VIRT_BASE", desc)?;
                self.has_pv_note = true;
            }
            XEN_ELFNOTE_PADDR_OFFSET => self.paddr_offset = number("PADDR_OFFSET", desc)?,
            XEN_ELFNOTE_INIT_P2M => self.init_p2m = Some(number("INIT_P2M", desc)?),
            XEN_ELFNOTE_MOD_START_PFN => {
                self.unmapped_ramdisk = number("MOD_START_PFN", desc)? != 0;
            }
            XEN_ELFNOTE_PHYS32_ENTRY => self.has_phys32_entry = true,
            XEN_ELFNOTE_GUEST_OS => self.guest_os = text(desc),
            XEN_ELFNOTE_XEN_VERSION => expect("XEN_VERSION", desc, "xen-3.0")?,
            XEN_ELFNOTE_LOADER => expect("LOADER", desc, "generic")?,
            XEN_ELFNOTE_FEATURES => required_features(&text(desc))?,
            _ => {}
        }
        Ok(())
    }

    /// Fills in what is left out and refuses what cannot work.
    pub(super) fn check(&mut self, elf_entry: u64) -> Result<(), ImageError> {
        if !self.has_entry {
            if self.has_phys32_entry && !self.has_pv_note {
                return Err(ImageError::PvhOnly);
            }
            self.entry = elf_entry;
        }
        if !self.virt_base.is_multiple_of(crate::PAGE_SIZE) {
            return Err(ImageError::Note {
                note: "VIRT_BASE",
                problem: format!("is {:#x}, which is not on a page boundary", self.virt_base),
            });
        }
        Ok(())
    }
}

/// Numbers are four or eight bytes.
fn number(note: &'static str, desc: &[u8]) -> Result<u64, ImageError> {
    if let Ok(bytes) = <[u8; 8]>::try_from(desc) {
        return Ok(u64::from_le_bytes(bytes));
    }
    <[u8; 4]>::try_from(desc)
        .map(|b| u64::from(u32::from_le_bytes(b)))
        .map_err(|_| ImageError::Note {
            note,
            problem: format!("has {} bytes where a number has 4 or 8", desc.len()),
        })
}

fn text(desc: &[u8]) -> String {
    let end = desc.iter().position(|b| *b == 0).unwrap_or(desc.len());
    String::from_utf8_lossy(desc.get(..end).unwrap_or(&[])).into_owned()
}

fn expect(note: &'static str, desc: &[u8], wanted: &str) -> Result<(), ImageError> {
    let found = text(desc);
    if found == wanted {
        Ok(())
    } else {
        Err(ImageError::Note {
            note,
            problem: format!("is {found:?} where {wanted:?} is expected"),
        })
    }
}

/// Features that a kernel cannot do without are marked with `!`. These two, a PV domain never has.
fn required_features(list: &str) -> Result<(), ImageError> {
    let impossible = ["!auto_translated_physmap", "!supervisor_mode_kernel"];
    match list.split('|').find(|f| impossible.contains(f)) {
        None => Ok(()),
        Some(feature) => Err(ImageError::Note {
            note: "FEATURES",
            problem: format!(
                "requires {}, which PV domains do not have",
                feature.trim_start_matches('!')
            ),
        }),
    }
}
