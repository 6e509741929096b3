//! Which hypervisor boots: ours, or Debian's Xen for comparison.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use flate2::read::GzDecoder;
use oxen_tests::session;

use crate::toolchain::Bare;
use crate::{bare, cpio, debs, paths};

/// The hypervisors that a run can start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Ours.
    #[default]
    Oxen,
    /// Debian's Xen 4.17, with settings that make it comparable.
    DebianXen,
}

impl Which {
    /// The one that a test names.
    pub(crate) fn of(hypervisor: session::Hypervisor) -> Self {
        match hypervisor {
            session::Hypervisor::Oxen => Self::Oxen,
            session::Hypervisor::DebianXen => Self::DebianXen,
        }
    }
}

/// A hypervisor on disk.
pub(crate) struct Hypervisor {
    /// For GRUB.
    pub(crate) gz: PathBuf,
    /// For QEMU's `-kernel`.
    pub(crate) elf32: PathBuf,
    /// The command line that it always gets.
    pub(crate) args: String,
}

/// What our image may have, compressed: 1.2 MB.
const MAX_IMAGE: usize = 1_200_000;
/// The console, everything logged, and a fixed share for dom0, so that guests find memory.
const ARGS: &str = "console=com1 com1=115200,8n1 loglvl=all dom0_mem=1024M";
/// The same scheduler as ours, and eager switching of FPU state: Xen's lazy way corrupts registers under QEMU.
const XEN_ARGS: &str = "sched=credit spec-ctrl=eager-fpu";
const XEN_PACKAGE: &str = "xen-hypervisor-4.17-amd64";
const XEN_IMAGE: &str = "boot/xen-4.17-amd64.gz";

/// Builds or fetches it.
pub(crate) fn get(which: Which) -> Result<Hypervisor> {
    match which {
        Which::Oxen => oxen(),
        Which::DebianXen => debian_xen(),
    }
}

fn oxen() -> Result<Hypervisor> {
    let built = bare::hypervisor(&Bare::find()?)?;
    let gz = built.elf32.with_file_name("oxen.gz");
    let image = cpio::gzip(&fs::read(&built.elf32)?)?;
    ensure!(
        image.len() < MAX_IMAGE,
        "the compressed image has {} bytes, and is to stay under {MAX_IMAGE}",
        image.len()
    );
    fs::write(&gz, image)?;
    Ok(Hypervisor {
        gz,
        elf32: built.elf32,
        args: ARGS.to_owned(),
    })
}

/// Why Debian's Xen 4.17 cannot be compared with here, if that is so: only Debian 12 has it.
pub(crate) fn no_debian_xen() -> Result<Option<String>> {
    let exists = debs::exist(XEN_PACKAGE)?;
    Ok((!exists)
        .then(|| format!("this machine's apt sources have no {XEN_PACKAGE} (Debian 12 has)")))
}

fn debian_xen() -> Result<Hypervisor> {
    let deb = debs::unpacked(XEN_PACKAGE)
        .context("--hypervisor debian-xen needs Debian 12, which has Xen 4.17")?;
    let gz = deb.root.join(XEN_IMAGE);
    let elf32 = paths::target().join("image/xen.elf32");
    let mut image = Vec::new();
    GzDecoder::new(
        fs::read(&gz)
            .with_context(|| format!("cannot read {}", gz.display()))?
            .as_slice(),
    )
    .read_to_end(&mut image)?;
    if let Some(dir) = elf32.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&elf32, image)?;
    Ok(Hypervisor {
        gz,
        elf32,
        args: format!("{ARGS} {XEN_ARGS}"),
    })
}
