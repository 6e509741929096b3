//! Our static programs for dom0 and guests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, sh};

const HOST: &str = "x86_64-unknown-linux-gnu";

/// With this variable set, programs that do not build just now are taken from the last build: for working on one
/// while another is in pieces.
const KEEP_GOING: &str = "OXEN_KEEP_GOING";

/// The programs in dom0: package (and program) and folder. The toolstack, and three for tests.
pub(crate) const PROGRAMS: [(&str, &str); 7] = [
    ("xend", "usr/sbin"),
    ("xm", "usr/sbin"),
    ("xenstored", "usr/sbin"),
    ("xenconsoled", "usr/sbin"),
    ("xenstore-ls", "usr/bin"),
    ("fpucheck", "usr/bin"),
    ("memchurn", "usr/bin"),
];

/// Builds `packages` statically, so that they run in an initramfs without any library; returns the folder they are in.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let dir = paths::target().join("static");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(paths::root())
        .args(["build", "--release", "--keep-going", "--target", HOST])
        .args(["--config", "profile.release.debug=false"])
        .arg("--target-dir")
        .arg(&dir)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    for package in packages {
        cargo.args(["--package", package]);
    }
    let built = sh::run(&mut cargo).context("cannot build the programs for dom0");
    if std::env::var_os(KEEP_GOING).is_none() {
        built?;
    } else if let Err(err) = built {
        eprintln!("{err:#}; {KEEP_GOING} is set: going on with what was built before");
    }
    Ok(dir.join(HOST).join("release"))
}

/// The program `name` in `dir`.
pub(crate) fn program(dir: &Path, name: &str) -> Result<Vec<u8>> {
    let path = dir.join(name);
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}
