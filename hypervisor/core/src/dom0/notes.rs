//! The ELF notes by which a kernel tells how it wants to be started (elfnote.h).

use alloc::string::String;
use core::fmt;

use oxen_abi::elfnote::*;

/// What a kernel's notes say. Addresses are virtual; `None` = no such note.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Notes {
    /// Whether there was any note at all.
    pub(crate) found: bool,
    /// Entry point.
    pub(crate) entry: Option<u64>,
    /// Page to fill with hypercall stubs.
    pub(crate) hypercall_page: Option<u64>,
    /// Address of pseudo-physical address 0.
    pub(crate) virt_base: Option<u64>,
    /// What is subtracted from ELF's physical addresses.
    pub(crate) paddr_offset: Option<u64>,
    /// Where the P2M list is wanted.
    pub(crate) init_p2m: Option<u64>,
    /// The module may lie outside the initial mapping.
    pub(crate) module_by_pfn: bool,
    /// Lowest address that the hypervisor may use.
    pub(crate) hv_start_low: Option<u64>,
    /// Feature bits that the kernel knows.
    pub(crate) supported_features: Option<u32>,
    /// Feature names, those it cannot do without with `!` in front.
    pub(crate) features: String,
    /// Name of the guest.
    pub(crate) guest_os: String,
    /// Version of the guest.
    pub(crate) guest_version: String,
    /// Version of the interface: `xen-3.0`.
    pub(crate) xen_version: String,
    /// Loader: `generic`.
    pub(crate) loader: String,
}

/// A note that makes the kernel unusable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoteError {
    /// There are no notes: it is no kernel for this interface.
    NoNotes,
    /// It wants another version of the interface.
    Version(String),
    /// It wants another kind of loader.
    Loader(String),
    /// It needs a feature that is not there.
    Needs(String),
    /// It knows that it cannot be dom0.
    NotDom0,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNotes => f.write_str(
                "it has no Xen notes, so it is no kernel for PV (Linux needs CONFIG_XEN_PV)",
            ),
            Self::Version(version) => {
                write!(
                    f,
                    "it is made for the interface {version:?}, not for \"xen-3.0\""
                )
            }
            Self::Loader(loader) => {
                write!(f, "it wants the loader {loader:?}, not \"generic\"")
            }
            Self::Needs(feature) => {
                write!(f, "it needs the feature {feature:?}, which is not there")
            }
            Self::NotDom0 => f.write_str("it cannot be dom0 (Linux needs CONFIG_XEN_DOM0)"),
        }
    }
}

/// Bit of the feature `dom0`.
const DOM0: u32 = 1 << oxen_abi::features::XENFEAT_DOM0;

/// Features that a kernel may ask for by name and that PV domains have.
const PRESENT: [&str; 3] = ["writable_page_tables", "pae_pgdir_above_4gb", "dom0"];

impl Notes {
    /// Takes one note over. Notes of other kinds are left alone.
    pub(crate) fn take(&mut self, kind: u32, value: &[u8]) {
        self.found = true;
        match kind {
            XEN_ELFNOTE_ENTRY => self.entry = number(value),
            XEN_ELFNOTE_HYPERCALL_PAGE => self.hypercall_page = number(value),
            XEN_ELFNOTE_VIRT_BASE => self.virt_base = number(value),
            XEN_ELFNOTE_PADDR_OFFSET => self.paddr_offset = number(value),
            XEN_ELFNOTE_INIT_P2M => self.init_p2m = number(value),
            XEN_ELFNOTE_MOD_START_PFN => self.module_by_pfn = number(value) == Some(1),
            XEN_ELFNOTE_HV_START_LOW => self.hv_start_low = number(value),
            XEN_ELFNOTE_SUPPORTED_FEATURES => {
                self.supported_features = number(value).map(|v| (v & 0xffff_ffff) as u32);
            }
            XEN_ELFNOTE_FEATURES => self.features = text(value),
            XEN_ELFNOTE_GUEST_OS => self.guest_os = text(value),
            XEN_ELFNOTE_GUEST_VERSION => self.guest_version = text(value),
            XEN_ELFNOTE_XEN_VERSION => self.xen_version = text(value),
            XEN_ELFNOTE_LOADER => self.loader = text(value),
            _ => {}
        }
    }

    /// Checks that a kernel with these notes can be dom0.
    pub(crate) fn check(&self) -> Result<(), NoteError> {
        if !self.found {
            return Err(NoteError::NoNotes);
        }
        if !self.xen_version.is_empty() && self.xen_version != "xen-3.0" {
            return Err(NoteError::Version(self.xen_version.clone()));
        }
        if !self.loader.is_empty() && self.loader != "generic" {
            return Err(NoteError::Loader(self.loader.clone()));
        }
        let needed = self
            .features
            .split('|')
            .filter_map(|name| name.strip_prefix('!'));
        for name in needed {
            if !PRESENT.contains(&name) {
                return Err(NoteError::Needs(name.into()));
            }
        }
        if self.supported_features.is_some_and(|bits| bits & DOM0 == 0) {
            return Err(NoteError::NotDom0);
        }
        Ok(())
    }
}

/// A number of four or eight bytes.
fn number(value: &[u8]) -> Option<u64> {
    match *value {
        [a, b, c, d] => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
        _ => Some(u64::from_le_bytes(*value.first_chunk::<8>()?)),
    }
}

/// A text, up to its zero byte; what is not printable ASCII is replaced, for it goes to the log.
fn text(value: &[u8]) -> String {
    let printable = |byte: &u8| {
        if matches!(byte, b' '..=b'~') {
            char::from(*byte)
        } else {
            '?'
        }
    };
    value
        .iter()
        .take_while(|byte| **byte != 0)
        .map(printable)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linux_kernels_notes() {
        let mut notes = Notes::default();
        assert_eq!(notes.check(), Err(NoteError::NoNotes));
        notes.take(XEN_ELFNOTE_XEN_VERSION, b"xen-3.0\0");
        notes.take(XEN_ELFNOTE_LOADER, b"generic\0");
        notes.take(
            XEN_ELFNOTE_FEATURES,
            b"!writable_page_tables|pae_pgdir_above_4gb",
        );
        notes.take(XEN_ELFNOTE_SUPPORTED_FEATURES, &0x8801u32.to_le_bytes());
        notes.take(XEN_ELFNOTE_INIT_P2M, &0x80_0000_0000u64.to_le_bytes());
        notes.take(XEN_ELFNOTE_MOD_START_PFN, &1u32.to_le_bytes());
        assert_eq!(notes.check(), Ok(()));
        assert_eq!(notes.init_p2m, Some(0x80_0000_0000));
        assert!(notes.module_by_pfn);
    }

    #[test]
    fn unusable_kernels_are_refused() {
        let mut notes = Notes {
            found: true,
            ..Notes::default()
        };
        notes.supported_features = Some(1);
        assert_eq!(notes.check(), Err(NoteError::NotDom0));
        notes.features = "!auto_translated_physmap".into();
        assert_eq!(
            notes.check(),
            Err(NoteError::Needs("auto_translated_physmap".into()))
        );
        notes.loader = "special".into();
        assert_eq!(notes.check(), Err(NoteError::Loader("special".into())));
    }
}
