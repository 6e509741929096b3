//! `HYPERVISOR_xen_version`: who the hypervisor is.

use crate::{Hypervisor, Result};

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
        super::later("xen_version")
    }

    /// All that the hypervisor says about itself.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn version_info(&self) -> Result<VersionInfo> {
        super::later("xen_version")
    }
}
