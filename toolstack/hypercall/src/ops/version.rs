//! `HYPERVISOR_xen_version`: who the hypervisor is.

use oxen_abi::hypercall::HYPERVISOR_XEN_VERSION;
use oxen_abi::version as abi;
use oxen_abi::version::{
    XEN_CAPABILITIES_INFO_LEN, XEN_CHANGESET_INFO_LEN, XEN_COMMANDLINE_LEN, XEN_EXTRAVERSION_LEN,
    XENVER_CAPABILITIES, XENVER_CHANGESET, XENVER_COMMANDLINE, XENVER_COMPILE_INFO,
    XENVER_EXTRAVERSION, XENVER_PAGESIZE, XENVER_PLATFORM_PARAMETERS, XENVER_VERSION,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::c_text;
use crate::{Error, Hypervisor, Result};

/// Major and minor version, such as 4.17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 4 in 4.17.
    pub major: u16,
    /// 17 in 4.17.
    pub minor: u16,
}

/// How the hypervisor was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileInfo {
    /// The compiler and its version.
    pub compiler: String,
    /// Who compiled it.
    pub by: String,
    /// On which network domain.
    pub domain: String,
    /// When.
    pub date: String,
}

/// All that the hypervisor says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Major and minor version.
    pub version: Version,
    /// What follows the minor version, such as `.7-pre`.
    pub extra: String,
    /// How it was compiled.
    pub compile: CompileInfo,
    /// Kinds of guests, such as `xen-3.0-x86_64`, separated by spaces.
    pub capabilities: String,
    /// Identifies the source it was built from.
    pub changeset: String,
    /// The boot options it was given.
    pub command_line: String,
    /// Bytes in a page.
    pub page_size: u64,
    /// First virtual address that belongs to the hypervisor in a PV guest.
    pub virt_start: u64,
}

impl Hypervisor {
    /// Major and minor version.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn version(&self) -> Result<Version> {
        let word = self.xen_version_number(XENVER_VERSION)?.to_le_bytes();
        let [minor_low, minor_high, major_low, major_high, ..] = word;
        let (major, minor) = ([major_low, major_high], [minor_low, minor_high]);
        Ok(Version {
            major: u16::from_le_bytes(major),
            minor: u16::from_le_bytes(minor),
        })
    }

    /// All that the hypervisor says about itself.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn version_info(&self) -> Result<VersionInfo> {
        let compile: abi::CompileInfo = self.xen_version(XENVER_COMPILE_INFO)?;
        let platform: abi::PlatformParameters = self.xen_version(XENVER_PLATFORM_PARAMETERS)?;
        Ok(VersionInfo {
            version: self.version()?,
            extra: c_text(&self.xen_version::<[u8; XEN_EXTRAVERSION_LEN]>(XENVER_EXTRAVERSION)?),
            compile: CompileInfo {
                compiler: c_text(&compile.compiler),
                by: c_text(&compile.compile_by),
                domain: c_text(&compile.compile_domain),
                date: c_text(&compile.compile_date),
            },
            capabilities: c_text(
                &self.xen_version::<[u8; XEN_CAPABILITIES_INFO_LEN]>(XENVER_CAPABILITIES)?,
            )
            .trim_end()
            .to_owned(),
            changeset: c_text(&self.xen_version::<[u8; XEN_CHANGESET_INFO_LEN]>(XENVER_CHANGESET)?),
            command_line: c_text(
                &self.xen_version::<[u8; XEN_COMMANDLINE_LEN]>(XENVER_COMMANDLINE)?,
            ),
            page_size: self.xen_version_number(XENVER_PAGESIZE)?,
            virt_start: platform.virt_start,
        })
    }

    /// A sub-operation whose answer is its result.
    fn xen_version_number(&self, cmd: u32) -> Result<u64> {
        // SAFETY: these sub-operations take no argument.
        let value = unsafe {
            self.call(
                "xen_version",
                None,
                HYPERVISOR_XEN_VERSION,
                [cmd.into(), 0, 0, 0, 0],
            )?
        };
        u64::try_from(value).map_err(|_| Error::Invalid {
            op: "xen_version",
            what: format!("answer {value}"),
        })
    }

    /// A sub-operation whose answer is written to its argument.
    fn xen_version<T: FromBytes + IntoBytes + Immutable>(&self, cmd: u32) -> Result<T> {
        let mut answer = T::new_zeroed();
        // SAFETY: the sub-operations used above write an answer of the type that is asked for, and hold no handles.
        unsafe {
            self.call_with(
                "xen_version",
                None,
                HYPERVISOR_XEN_VERSION,
                &mut answer,
                |at| [cmd.into(), at, 0, 0, 0],
            )?;
        }
        Ok(answer)
    }
}
