//! Debian's stock kernel: the image, and the modules an initramfs needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use oxen_tests::session::Linux;

use crate::apt::Apt;
use crate::cpio::Cpio;
use crate::debs::{self, Deb};
use crate::{cache, sh};

/// The suite of Debian 11, which has Linux 5.10.
const DEBIAN_11: &str = "bullseye";

/// What an xz stream begins with.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// A kernel package of the machine's Debian, unpacked.
pub(crate) struct Kernel {
    /// The unpacked package.
    pub(crate) deb: Deb,
    /// `uname -r` of it.
    pub(crate) release: String,
}

impl Kernel {
    /// Fetches it.
    pub(crate) fn fetch(linux: Linux) -> Result<Self> {
        let apt = match linux {
            Linux::V5_10 => Apt::suite(DEBIAN_11)?,
            Linux::Stock | Linux::V6_12 => Apt::Own,
        };
        let stock = debs::dependency_from(&apt, "linux-image-amd64", "linux-image-")?;
        let package = match linux {
            Linux::V6_12 if !stock.starts_with("linux-image-6.12") => {
                debs::dependency("linux-image-6.12-amd64", "linux-image-")?
            }
            _ => stock,
        };
        let release = package.trim_start_matches("linux-image-").to_owned();
        Ok(Self {
            deb: debs::unpacked_from(&apt, &package)?,
            release,
        })
    }

    /// The bzImage.
    pub(crate) fn image(&self) -> PathBuf {
        self.deb
            .root
            .join("boot")
            .join(format!("vmlinuz-{}", self.release))
    }

    /// The kernel's ELF file, out of the bzImage: for loaders that do not unpack.
    pub(crate) fn elf(&self) -> Result<PathBuf> {
        let out = self.deb.root.join(format!("boot/vmlinux-{}", self.release));
        let key = cache::hash([self.deb.id.as_bytes(), include_bytes!("kernel.rs")]);
        cache::keep(&out, &key, |out| {
            let image = fs::read(self.image())?;
            let payload = payload(&image).context("the kernel is no bzImage")?;
            ensure!(
                payload.starts_with(XZ),
                "the kernel {} is not compressed with xz",
                self.release
            );
            let packed = out.with_extension("xz");
            fs::write(&packed, payload)?;
            // Behind the stream there is its unpacked size, which is none of xz's.
            let elf = sh::bytes(
                Command::new("xz")
                    .args(["--decompress", "--stdout", "--single-stream"])
                    .arg(&packed),
            )?;
            fs::remove_file(&packed)?;
            Ok(fs::write(out, elf)?)
        })?;
        Ok(out)
    }

    /// Adds the modules `names`, those they depend on, and the indexes that modprobe reads.
    pub(crate) fn add_modules(&self, cpio: &mut Cpio, names: &[&str]) -> Result<()> {
        let from = self.modules_dir()?;
        let stage = tempdir(&self.deb.root)?;
        let to = stage.join("lib/modules").join(&self.release);
        fs::create_dir_all(&to)?;
        for file in self.closure(&from, names)? {
            let target = to.join(&file);
            fs::create_dir_all(target.parent().unwrap_or(&to))?;
            fs::copy(from.join(&file), &target).with_context(|| format!("cannot copy {file}"))?;
            // Debian 13 compresses modules; busybox's modprobe wants them plain.
            if file.ends_with(".xz") {
                sh::quiet(Command::new("xz").arg("-d").arg(&target))?;
            }
        }
        for index in [
            "modules.builtin",
            "modules.builtin.modinfo",
            "modules.order",
        ] {
            if from.join(index).exists() {
                fs::copy(from.join(index), to.join(index))?;
            }
        }
        depmod(&stage, &self.release)?;
        cpio.tree(&stage.join("lib/modules"), "lib/modules")?;
        fs::remove_dir_all(&stage)?;
        Ok(())
    }

    /// The unpacked modules, with their dependencies worked out.
    fn modules_dir(&self) -> Result<PathBuf> {
        for base in [self.deb.root.clone(), self.deb.root.join("usr")] {
            let dir = base.join("lib/modules").join(&self.release);
            if dir.is_dir() {
                if !dir.join("modules.dep").exists() {
                    depmod(&base, &self.release)?;
                }
                return Ok(dir);
            }
        }
        bail!(
            "Debian's kernel package has no modules for {}",
            self.release
        )
    }

    /// Files of the named modules and of those they need, relative to the modules' folder.
    fn closure(&self, dir: &Path, names: &[&str]) -> Result<BTreeSet<String>> {
        let dep = fs::read_to_string(dir.join("modules.dep"))?;
        let builtin = fs::read_to_string(dir.join("modules.builtin"))?;
        let mut files = BTreeSet::new();
        for name in names {
            let named = |path: &str| module_name(path) == name.replace('-', "_");
            if let Some((file, needs)) = dep
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(file, _)| named(file))
            {
                files.insert(file.to_owned());
                files.extend(needs.split_whitespace().map(str::to_owned));
            } else if !builtin.lines().any(named) {
                bail!("the kernel {} has no module {name}", self.release);
            }
        }
        Ok(files)
    }
}

/// Why a kernel cannot be had here, if that is so: the mirror may have dropped an old suite.
pub(crate) fn missing(linux: Linux) -> Option<String> {
    match linux {
        Linux::V5_10 => Apt::suite(DEBIAN_11).err().map(|err| format!("{err:#}")),
        Linux::Stock | Linux::V6_12 => None,
    }
}

/// The compressed kernel within a bzImage (Linux's x86/boot.rst: setup_sects, payload_offset, payload_length).
fn payload(image: &[u8]) -> Option<&[u8]> {
    const SECTOR: usize = 512;
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * SECTOR + word(0x248)?;
    image.get(start..start + word(0x24c)?)
}

/// `kernel/drivers/xen/xen-evtchn.ko.xz` is the module `xen_evtchn`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.replace('-', "_")
}

fn depmod(base: &Path, release: &str) -> Result<()> {
    // Root's PATH has /sbin; a user's may not.
    let program = if Path::new("/usr/sbin/depmod").exists() {
        "/usr/sbin/depmod"
    } else {
        "/sbin/depmod"
    };
    sh::quiet(Command::new(program).arg("-b").arg(base).arg(release))
}

/// An empty folder beside `root`.
fn tempdir(root: &Path) -> Result<PathBuf> {
    let dir = root.with_file_name(format!("stage.{}", std::process::id()));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::module_name;

    #[test]
    fn module_names() {
        assert_eq!(
            module_name("kernel/drivers/xen/xen-evtchn.ko.xz"),
            "xen_evtchn"
        );
        assert_eq!(module_name("kernel/drivers/ata/ahci.ko"), "ahci");
    }
}
