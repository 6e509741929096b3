//! The user space of our initramfs images: Debian's static busybox.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cpio::Cpio;
use crate::debs::{self, Deb};
use crate::sh;

/// Fetches the package.
pub(crate) fn fetch() -> Result<Deb> {
    debs::unpacked("busybox-static")
}

/// Adds busybox, a link for each of its programs except those in `without`, and the usual empty folders.
pub(crate) fn add(cpio: &mut Cpio, deb: &Deb, without: &[&str]) -> Result<()> {
    let binary = ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|path| deb.root.join(path))
        .find(|path| path.exists())
        .context("Debian's busybox-static has no busybox")?;
    for dir in [
        "proc", "sys", "dev", "run", "tmp", "root", "etc", "usr/bin", "usr/sbin", "sbin",
        "var/lib", "var/log",
    ] {
        cpio.dir(dir)?;
    }
    cpio.file("bin/busybox", 0o755, &fs::read(&binary)?)?;
    for path in sh::output(Command::new(&binary).arg("--list-full"))?.lines() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if path != "bin/busybox" && !without.contains(&name) {
            cpio.link(path, "/bin/busybox")?;
        }
    }
    Ok(())
}
