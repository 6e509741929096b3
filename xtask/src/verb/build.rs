//! `cargo xtask build`: everything that boots, left in `target/dist`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use oxen_tests::session::Linux;

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
    // Linking a bare-metal program keeps one processor busy for long; the others are built meanwhile.
    let (bare, dom0) = thread::scope(|scope| {
        let dom0 = scope.spawn(|| {
            wanted(Part::Dom0)
                .then(|| dom0::build(Linux::Stock))
                .transpose()
        });
        let bare = bare_parts(wanted(Part::TestGuest), wanted(Part::Hypervisor));
        (bare, dom0.join())
    });
    let dom0 = dom0.map_err(|_| anyhow!("building dom0 panicked"))?;
    for file in bare? {
        println!("{}", file.display());
    }
    if let Some(dom0) = dom0? {
        println!("{}", dom0.kernel.display());
        println!("{}", dom0.initrd.display());
    }
    if wanted(Part::Iso) {
        println!("{}", setup::demo_iso()?.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The test guest and the hypervisor: the files that come out.
fn bare_parts(guest: bool, hypervisor: bool) -> Result<Vec<PathBuf>> {
    if !guest && !hypervisor {
        return Ok(Vec::new());
    }
    let bare = Bare::find()?;
    if guest && hypervisor {
        bare::both(&bare)?;
    }
    let mut files = Vec::new();
    if guest {
        files.push(bare::test_guest(&bare)?);
    }
    if hypervisor {
        files.push(hypervisor::get(Which::Oxen)?.gz);
        files.push(paths::dist().join("oxen-syms"));
    }
    Ok(files)
}
