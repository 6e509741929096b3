//! Which compiler builds the bare-metal packages.
//!
//! Where rustup has the target `x86_64-unknown-none`, it is used as it is. Where it has not (and cannot
//! fetch it), Debian's `rustc-web` does the work: `core` and `alloc` are built once from `rust-web-src`
//! into a sysroot of our own. Either way the linker is the `rust-lld` of the rustup toolchain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{paths, sh};

/// The target triple of everything that runs without an operating system.
pub(crate) const TARGET: &str = "x86_64-unknown-none";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";

/// A way to build for [`TARGET`].
pub(crate) enum Bare {
    /// rustup's toolchain has the target.
    Rustup,
    /// Debian's compiler with a sysroot that we built.
    Debian {
        /// The folder given to `--sysroot`.
        sysroot: PathBuf,
    },
}

impl Bare {
    /// Finds the way to go on this machine; builds Debian's sysroot when it is the one and not there yet.
    pub(crate) fn find() -> Result<Self> {
        if rustup_has_target()? {
            return Ok(Self::Rustup);
        }
        let Some(version) = debian_version() else {
            bail!(
                "no compiler for {TARGET}: rustup has not that target and Debian's rustc-web and \
                 rust-web-src are not installed; run `rustup target add {TARGET}` or install the two packages"
            );
        };
        ensure!(
            version >= needed_version(),
            "no compiler for {TARGET}: rustup has not that target, and Debian's rustc-web is older than {}; \
             run `rustup target add {TARGET}`, or add Debian's security suite to apt's sources and upgrade",
            env!("CARGO_PKG_RUST_VERSION")
        );
        Ok(Self::Debian {
            sysroot: debian_sysroot()?,
        })
    }

    /// Whether a build would need Debian's packages because rustup lacks the target.
    pub(crate) fn needs_debian() -> Result<bool> {
        Ok(!rustup_has_target()?)
    }

    /// Whether Debian's compiler is there and new enough for us.
    pub(crate) fn debian_is_ready() -> bool {
        debian_version().is_some_and(|version| version >= needed_version())
    }

    /// Points a cargo command at this compiler.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        if let Self::Debian { .. } = self {
            cargo.env("RUSTC", DEBIAN_RUSTC);
        }
    }

    /// The command `cargo clippy` with the lints of this compiler.
    pub(crate) fn clippy(&self) -> Command {
        let mut cargo = match self {
            Self::Rustup => Command::new("cargo"),
            // It takes the driver that lies beside it.
            Self::Debian { .. } => Command::new(DEBIAN_CLIPPY),
        };
        self.apply(&mut cargo);
        cargo.arg("clippy");
        cargo
    }

    /// Compiler flags that every bare-metal crate needs with this compiler.
    pub(crate) fn flags(&self) -> Result<Vec<String>> {
        let mut flags = vec![
            format!("-Clinker={}", rust_lld()?.display()),
            "-Clinker-flavor=ld.lld".to_owned(),
        ];
        if let Self::Debian { sysroot } = self {
            flags.push(format!("--sysroot={}", sysroot.display()));
        }
        Ok(flags)
    }
}

/// The version that the workspace needs.
fn needed_version() -> Vec<u32> {
    numbers(env!("CARGO_PKG_RUST_VERSION"))
}

/// The version of Debian's compiler, if it and the library's sources are installed.
fn debian_version() -> Option<Vec<u32>> {
    if !Path::new(DEBIAN_RUSTC).exists() || !Path::new(DEBIAN_LIBRARY).exists() {
        return None;
    }
    let text = sh::output(Command::new(DEBIAN_RUSTC).arg("--version")).ok()?;
    text.split_whitespace().nth(1).map(numbers)
}

/// `1.96.0` as a list that compares.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

fn rustup_sysroot() -> Result<PathBuf> {
    Ok(PathBuf::from(
        sh::output(Command::new("rustc").args(["--print", "sysroot"]))?.trim(),
    ))
}

fn rustup_has_target() -> Result<bool> {
    let lib = rustup_sysroot()?
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib");
    Ok(lib.is_dir())
}

fn rust_lld() -> Result<PathBuf> {
    let lld = rustup_sysroot()?.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    if !lld.exists() {
        bail!(
            "{} is missing: the bare-metal build links with the rust-lld of a rustup toolchain; \
             install Rust through rustup",
            lld.display()
        );
    }
    Ok(lld)
}

/// Builds `core` and `alloc` with Debian's compiler, once for each version of it.
fn debian_sysroot() -> Result<PathBuf> {
    let version = sh::output(Command::new(DEBIAN_RUSTC).arg("--version"))?;
    let base = paths::target().join("bare/debian");
    let sysroot = base.join("sysroot");
    let stamp = sysroot.join("version");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == version) {
        return Ok(sysroot);
    }
    eprintln!(
        "building core and alloc for {TARGET} with Debian's {}",
        version.trim()
    );
    let seed = base.join("seed");
    fs::create_dir_all(seed.join("src"))?;
    fs::write(
        seed.join("Cargo.toml"),
        "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    fs::write(seed.join("src/lib.rs"), "#![no_std]\n")?;
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&seed)
        .args([
            "build",
            "--quiet",
            "--offline",
            "--release",
            "--target",
            TARGET,
        ])
        .args([
            "-Zbuild-std=core,alloc,compiler_builtins",
            "-Zbuild-std-features=compiler-builtins-mem",
        ])
        .arg("--target-dir")
        .arg(seed.join("target"))
        .args(["--config", "source.crates-io.replace-with=\"debian\""])
        .args([
            "--config",
            &format!("source.debian.directory=\"{DEBIAN_LIBRARY}/vendor\""),
        ])
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            "-Crelocation-model=pic -Cforce-frame-pointers=yes -Cembed-bitcode=yes -Ccodegen-units=1",
        );
    sh::run(&mut cargo)?;

    let lib = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    if lib.exists() {
        fs::remove_dir_all(&lib)?;
    }
    fs::create_dir_all(&lib)?;
    let deps = seed.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&deps).with_context(|| format!("cannot read {}", deps.display()))? {
        let path = entry?.path();
        let (Some(name), Some(ext)) = (path.file_name(), path.extension()) else {
            continue;
        };
        if ext == "rlib" && !name.to_string_lossy().starts_with("libseed") {
            fs::copy(&path, lib.join(name))?;
        }
    }
    fs::write(&stamp, version)?;
    fs::remove_dir_all(&seed)?;
    Ok(sysroot)
}
