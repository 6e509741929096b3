//! `cargo xtask build`: everything that boots, left in `target/dist`.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::dom0;
use crate::hypervisor::{self, Which};
use crate::packages::{self, Need};
use crate::setup;
use crate::toolchain::Bare;
use crate::{bare, paths};

/// What can be built by itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// boot/oxen.gz and oxen-syms.
    Hypervisor,
    /// The PV test guest.
    TestGuest,
    /// dom0's kernel and initramfs.
    Dom0,
    /// The CD image, with all it needs.
    Iso,
}

/// Builds `parts`, or everything when none is named.
pub(crate) fn run(parts: &[Part]) -> Result<ExitCode> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let images = wanted(Part::Dom0) || wanted(Part::Iso);
    packages::ensure(if images { Need::Image } else { Need::Compile })?;
    if wanted(Part::TestGuest) {
        println!("{}", bare::test_guest(&Bare::find()?)?.display());
    }
    if wanted(Part::Hypervisor) {
        println!("{}", hypervisor::get(Which::Oxen)?.gz.display());
        println!("{}", paths::dist().join("oxen-syms").display());
    }
    if wanted(Part::Dom0) {
        let dom0 = dom0::build()?;
        println!("{}", dom0.kernel.display());
        println!("{}", dom0.initrd.display());
    }
    if wanted(Part::Iso) {
        println!("{}", setup::demo_iso()?.display());
    }
    Ok(ExitCode::SUCCESS)
}
