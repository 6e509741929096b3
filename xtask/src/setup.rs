//! From options to a machine ready to start: the hypervisor, dom0 and what the boot is for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oxen_tests::boots::{BootRun, Kernel};
use oxen_tests::disk;
use oxen_tests::qemu::{Boot, Machine};
use oxen_tests::session::{Linux, Tools};
use tempfile::TempDir;

use crate::dom0::{self, Start};
use crate::hypervisor::{self, Hypervisor, Which};
use crate::toolchain::Bare;
use crate::{bare, cpio, debian_tools, iso, paths};

/// dom0's console is the hypervisor's, from the first line on.
const DOM0_ARGS: &str = "console=hvc0 earlyprintk=xen";

/// Of the test guest's machine.
const MEMORY: &str = "2048M";

/// What boots.
pub(crate) struct Setup<'a> {
    pub(crate) hypervisor: Which,
    pub(crate) hypervisor_args: &'a str,
    /// dom0's kernel, unless a file is named.
    pub(crate) linux: Linux,
    pub(crate) tools: Tools,
    pub(crate) dom0_kernel: Option<&'a Path>,
    pub(crate) dom0_initrd: Option<&'a Path>,
    pub(crate) dom0_args: &'a str,
    pub(crate) start: Start<'a>,
    pub(crate) direct: bool,
}

impl Setup<'_> {
    /// Through GRUB, with the stock kernel and our tools, without further options.
    pub(crate) fn new(hypervisor: Which) -> Self {
        Self {
            hypervisor,
            hypervisor_args: "",
            linux: Linux::Stock,
            tools: Tools::Ours,
            dom0_kernel: None,
            dom0_initrd: None,
            dom0_args: "",
            start: Start::Demo,
            direct: false,
        }
    }
}

/// Everything built, as files and command lines.
struct Parts {
    hypervisor: Hypervisor,
    hypervisor_args: String,
    kernel: PathBuf,
    kernel_args: String,
    initrd: Option<PathBuf>,
}

/// Builds everything and puts what depends on the options into `dir`.
pub(crate) fn prepare(setup: &Setup<'_>, dir: &Path) -> Result<Boot> {
    if !setup.direct {
        return Ok(Boot::Iso(iso(setup, dir)?));
    }
    let parts = parts(setup, dir)?;
    Ok(Boot::Direct {
        hypervisor: parts.hypervisor.elf32,
        hypervisor_args: parts.hypervisor_args,
        kernel: parts.kernel,
        kernel_args: parts.kernel_args,
        modules: parts.initrd.into_iter().collect(),
    })
}

/// The same as a CD image in `dir`.
pub(crate) fn iso(setup: &Setup<'_>, dir: &Path) -> Result<PathBuf> {
    let parts = parts(setup, dir)?;
    let out = dir.join("oxen.iso");
    iso::make(
        &iso::Contents {
            hypervisor: &parts.hypervisor.gz,
            hypervisor_args: &parts.hypervisor_args,
            kernel: &parts.kernel,
            kernel_args: &parts.kernel_args,
            initrd: parts.initrd.as_deref(),
        },
        &out,
    )?;
    Ok(out)
}

fn parts(setup: &Setup<'_>, dir: &Path) -> Result<Parts> {
    let hypervisor = hypervisor::get(setup.hypervisor)?;
    let (kernel, initrd) = match setup.dom0_kernel {
        // A kernel of one's own gets the initramfs that was named with it, or none.
        Some(kernel) => (
            absolute(kernel)?,
            setup.dom0_initrd.map(absolute).transpose()?,
        ),
        None => {
            let dom0 = dom0::build(setup.linux)?;
            let initrd = setup.dom0_initrd.map(absolute).transpose()?;
            (dom0.kernel, Some(initrd.unwrap_or(dom0.initrd)))
        }
    };
    Ok(Parts {
        hypervisor_args: format!("{} {}", hypervisor.args, setup.hypervisor_args),
        hypervisor,
        kernel,
        kernel_args: format!("{DOM0_ARGS} {}", setup.dom0_args),
        initrd: initrd
            .map(|initrd| with_overlay(&initrd, setup, dir))
            .transpose()?,
    })
}

/// A copy of the initramfs, followed by Debian's tools where they are wanted and by the archive that says what this
/// boot is for.
fn with_overlay(initrd: &Path, setup: &Setup<'_>, dir: &Path) -> Result<PathBuf> {
    let mut image =
        fs::read(initrd).with_context(|| format!("cannot read {}", initrd.display()))?;
    if setup.tools == Tools::Debian {
        cpio::join(&mut image, &fs::read(debian_tools::layer()?)?);
    }
    cpio::join(&mut image, &dom0::overlay(&setup.start)?);
    let whole = dir.join("initrd.img");
    fs::write(&whole, image)?;
    Ok(whole)
}

/// Leaves the CD image that starts the demo in `dist`.
pub(crate) fn demo_iso() -> Result<PathBuf> {
    let dir = run_dir()?;
    let setup = Setup::new(Which::Oxen);
    let out = paths::dist().join("oxen.iso");
    fs::rename(iso(&setup, dir.path())?, &out).context("cannot move the CD image")?;
    Ok(out)
}

/// A machine whose dom0 is the test guest with the command line `args`. There is a disk, which the guest leaves alone.
pub(crate) fn test_guest(
    hypervisor: Which,
    hypervisor_args: &str,
    args: &str,
    cpus: u32,
    dir: &Path,
) -> Result<Machine> {
    let kernel = bare::test_guest(&Bare::find()?)?;
    let boot = prepare(
        &Setup {
            hypervisor_args,
            dom0_kernel: Some(&kernel),
            dom0_args: &format!("{args} disk={}", disk::SIGNATURE),
            start: Start::Test,
            direct: true,
            ..Setup::new(hypervisor)
        },
        dir,
    )?;
    let image = dir.join("disk.img");
    disk::make(&image)?;
    Ok(Machine {
        disk: Some(image),
        ..Machine::new(cpus, MEMORY, boot)
    })
}

/// The machine of a boot that is judged by the hypervisor's own lines.
pub(crate) fn boot_run(run: &BootRun, dir: &Path) -> Result<Machine> {
    let hypervisor = hypervisor::get(Which::Oxen)?;
    let hypervisor_args = format!("{} {}", hypervisor.args, run.hypervisor_args);
    let half = |kernel: &Path| -> Result<PathBuf> {
        let bytes = fs::read(kernel)?;
        let out = dir.join("half");
        fs::write(&out, &bytes[..bytes.len() / 2])?;
        Ok(out)
    };
    let (kernel, kernel_args) = match run.kernel {
        Kernel::TestGuest(args) => (Some(bare::test_guest(&Bare::find()?)?), args),
        Kernel::HalfElf => (Some(half(&bare::test_guest(&Bare::find()?)?)?), ""),
        Kernel::HalfBzImage => (Some(half(&dom0::build(Linux::Stock)?.kernel)?), ""),
        Kernel::Missing => (None, ""),
    };
    let modules = (0..).zip(run.modules).map(|(number, bytes)| {
        let out = dir.join(format!("module{number}"));
        fs::write(&out, bytes)?;
        Ok(out)
    });
    let modules = modules.collect::<Result<Vec<_>>>()?;
    let boot = match kernel {
        Some(kernel) => Boot::Direct {
            hypervisor: hypervisor.elf32,
            hypervisor_args,
            kernel,
            kernel_args: format!("{DOM0_ARGS} {kernel_args}"),
            modules,
        },
        None => Boot::Alone {
            hypervisor: hypervisor.elf32,
            hypervisor_args,
        },
    };
    Ok(Machine {
        cpu: run.cpu,
        options: run.machine,
        clock: run.clock,
        port: run.port,
        monitor: Some(dir.join("monitor")),
        ..Machine::new(run.cpus, MEMORY, boot)
    })
}

/// A folder under target/ for one run, removed at its end.
pub(crate) fn run_dir() -> Result<TempDir> {
    let base = paths::target().join("run");
    fs::create_dir_all(&base)?;
    Ok(TempDir::new_in(base)?)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))
}
