//! The typed configuration of a domain, as files give it and as xend's API takes it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cpuset::CpuSet;

/// Most memory of a domain, in MiB: 16 TiB.
pub const MAX_MEMORY_MIB: u64 = 16 << 20;
/// Most vCPUs of a PV domain.
pub const MAX_VCPUS: u32 = 128;
/// Longest kernel command line in bytes: `MAX_GUEST_CMDLINE` of the public xen.h less its final NUL.
const MAX_COMMAND_LINE: usize = 1023;
/// Longest name, in bytes.
const MAX_NAME: usize = 128;

/// A PV domain: what to start, with what, and what happens when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainConfig {
    /// Unique among running domains; never a number.
    pub name: String,
    /// Fixed identity; chosen at random where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// What it boots.
    pub image: Image,
    /// Memory at the start, in MiB.
    pub memory_mib: u64,
    /// The most it may grow to, in MiB; not below `memory_mib`.
    pub maxmem_mib: u64,
    /// Number of vCPUs, at least 1.
    pub vcpus: u32,
    /// Where vCPUs may run: nothing for anywhere, one set for all vCPUs, or one set for each.
    #[serde(default)]
    pub cpus: Vec<CpuSet>,
    /// When the guest has powered off.
    #[serde(default = "Action::destroy")]
    pub on_poweroff: Action,
    /// When the guest has asked for a reboot.
    #[serde(default = "Action::restart")]
    pub on_reboot: Action,
    /// When the guest has crashed.
    #[serde(default = "Action::restart")]
    pub on_crash: Action,
}

/// What a domain boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Absolute path of the kernel: ELF or bzImage.
    pub kernel: PathBuf,
    /// Absolute path of the initial RAM disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramdisk: Option<PathBuf>,
    /// The kernel's command line.
    #[serde(default)]
    pub command_line: String,
}

/// What xend does with a domain that has shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Remove it.
    Destroy,
    /// Remove it and start it anew.
    Restart,
    /// Leave it as it is, for inspection.
    Preserve,
    /// Rename it and leave it; start it anew under its name.
    RenameRestart,
}

impl Action {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("destroy", Self::Destroy),
        ("restart", Self::Restart),
        ("preserve", Self::Preserve),
        ("rename-restart", Self::RenameRestart),
    ];

    /// As configuration files write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
            Self::RenameRestart => "rename-restart",
        }
    }

    fn destroy() -> Self {
        Self::Destroy
    }

    fn restart() -> Self {
        Self::Restart
    }
}

/// A value that a domain cannot be made with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The variable of the configuration file.
    pub key: &'static str,
    /// What is wrong with its value.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Invalid {
    fn new(key: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            key,
            message: message.into(),
            help: help.into(),
        }
    }
}

/// Checks a domain's name.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let help = "use letters, digits and _ . : + - only, and not digits alone";
    let fail = |message: String| Err(Invalid::new("name", message, help));
    if name.is_empty() {
        return fail("the name is empty".into());
    }
    if name.len() > MAX_NAME {
        return fail(format!("the name is longer than {MAX_NAME} bytes"));
    }
    if let Some(c) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_.:+-".contains(*c)))
    {
        return fail(format!("the name `{}` contains {c:?}", name.escape_debug()));
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return fail(format!(
            "the name `{name}` is a number, which would be taken for a domain id"
        ));
    }
    if name.starts_with('-') {
        return fail(format!(
            "the name `{name}` begins with -, like an option of a command"
        ));
    }
    Ok(())
}

impl DomainConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name(&self.name)?;
        if !(1..=MAX_MEMORY_MIB).contains(&self.memory_mib) {
            return Err(Invalid::new(
                "memory",
                format!("memory is {} MiB", self.memory_mib),
                format!("give it in MiB, from 1 to {MAX_MEMORY_MIB}"),
            ));
        }
        if !(self.memory_mib..=MAX_MEMORY_MIB).contains(&self.maxmem_mib) {
            return Err(Invalid::new(
                "maxmem",
                format!(
                    "maxmem is {} MiB and memory {} MiB",
                    self.maxmem_mib, self.memory_mib
                ),
                format!("maxmem lies between memory and {MAX_MEMORY_MIB} MiB, or is left out"),
            ));
        }
        if !(1..=MAX_VCPUS).contains(&self.vcpus) {
            return Err(Invalid::new(
                "vcpus",
                format!("vcpus is {}", self.vcpus),
                format!("a PV domain has 1 to {MAX_VCPUS} vCPUs"),
            ));
        }
        if self.cpus.len() > 1 && self.cpus.len() != self.vcpus as usize {
            return Err(Invalid::new(
                "cpus",
                format!(
                    "cpus lists {} sets for {} vCPUs",
                    self.cpus.len(),
                    self.vcpus
                ),
                "give one set for all vCPUs, or one for each",
            ));
        }
        self.image.check()
    }
}

impl Image {
    fn check(&self) -> Result<(), Invalid> {
        let paths = [
            ("kernel", Some(&self.kernel)),
            ("ramdisk", self.ramdisk.as_ref()),
        ];
        for (key, path) in paths {
            let Some(path) = path else { continue };
            if !path.is_absolute() {
                return Err(Invalid::new(
                    key,
                    format!("the path of the {key}, {path:?}, is not absolute"),
                    "begin it with /",
                ));
            }
        }
        let len = self.command_line.len();
        if len > MAX_COMMAND_LINE {
            return Err(Invalid::new(
                "extra",
                format!("the kernel's command line is {len} bytes long"),
                format!("shorten root and extra to {MAX_COMMAND_LINE} bytes together"),
            ));
        }
        if self.command_line.contains('\0') {
            return Err(Invalid::new(
                "extra",
                "the kernel's command line contains a NUL byte",
                "remove it",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DomainConfig {
        DomainConfig {
            name: "demo".into(),
            uuid: None,
            image: Image {
                kernel: "/boot/vmlinuz".into(),
                ramdisk: None,
                command_line: String::new(),
            },
            memory_mib: 256,
            maxmem_mib: 256,
            vcpus: 1,
            cpus: vec![],
            on_poweroff: Action::Destroy,
            on_reboot: Action::Restart,
            on_crash: Action::Restart,
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(config().check(), Ok(()));
        let mut c = config();
        c.memory_mib = 0;
        assert_eq!(c.check().unwrap_err().key, "memory");
        let mut c = config();
        c.maxmem_mib = 255;
        assert_eq!(c.check().unwrap_err().key, "maxmem");
        let mut c = config();
        c.vcpus = 129;
        assert_eq!(c.check().unwrap_err().key, "vcpus");
        let mut c = config();
        c.image.command_line = "x".repeat(1024);
        assert_eq!(c.check().unwrap_err().key, "extra");
        let mut c = config();
        c.image.kernel = "vmlinuz".into();
        assert_eq!(c.check().unwrap_err().key, "kernel");
    }

    #[test]
    fn names() {
        for good in ["demo", "a1", "x.y-z_0", "vm+1:2"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "12", "a b", "a/b", "-x", "ä", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_round_trip_and_unknown_keys() {
        let text = serde_json::to_string(&config()).unwrap();
        assert_eq!(
            serde_json::from_str::<DomainConfig>(&text).unwrap(),
            config()
        );
        let more = text.replacen('{', "{\"disk\":[],", 1);
        let e = serde_json::from_str::<DomainConfig>(&more).unwrap_err();
        assert!(e.to_string().contains("disk"));
    }
}
