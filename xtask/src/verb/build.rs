//! `cargo xtask build`: everything that boots, left in `target/dist`.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::bare;
use crate::toolchain::Bare;

/// What can be built by itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// boot/oxen.elf32 and oxen-syms.
    Hypervisor,
    /// The PV test guest.
    TestGuest,
}

/// Builds `parts`, or everything when none is named.
pub(crate) fn run(parts: &[Part]) -> Result<ExitCode> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let bare = Bare::find()?;
    if wanted(Part::Hypervisor) {
        let hypervisor = bare::hypervisor(&bare)?;
        println!("{}", hypervisor.elf32.display());
        println!("{}", hypervisor.syms.display());
    }
    if wanted(Part::TestGuest) {
        println!("{}", bare::test_guest(&bare)?.display());
    }
    Ok(ExitCode::SUCCESS)
}
