//! Building the bare-metal packages: the hypervisor and the test guest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::toolchain::{Bare, TARGET};
use crate::{elf32, paths, profile, sh, symbols};

/// A bare-metal program of the workspace.
struct Program {
    package: &'static str,
    bin: &'static str,
}

/// The hypervisor.
const OXEN: Program = Program {
    package: "oxen",
    bin: "oxen",
};

/// The PV test guest, an ordinary kernel in the top 2 GiB.
const TEST_GUEST: Program = Program {
    package: "guest-drivers",
    bin: "oxen-test-guest",
};

/// Of both, beside the linker script that each package's build script names. Position-independent code linked at a
/// fixed address, because the kernel code model with static relocation reaches only the top 2 GiB, which belong to a
/// PV guest. One set of flags lets the two share what they are made of.
const FLAGS: [&str; 5] = [
    "-Crelocation-model=pic",
    "-Cforce-frame-pointers=yes",
    "-Clink-arg=--no-pie",
    "-Clink-arg=-znorelro",
    "-Clink-arg=--gc-sections",
];

/// What the hypervisor's build leaves behind.
pub(crate) struct Hypervisor {
    /// The whole ELF64 with symbols and line tables, for debuggers.
    pub(crate) syms: PathBuf,
    /// A 32-bit ELF by physical address: what multiboot loaders take.
    pub(crate) elf32: PathBuf,
}

/// Compiles the hypervisor and the test guest at once, which is quicker than one after the other.
pub(crate) fn both(bare: &Bare) -> Result<()> {
    compile(bare, &[&OXEN, &TEST_GUEST])
}

/// Builds the hypervisor into `dist`.
pub(crate) fn hypervisor(bare: &Bare) -> Result<Hypervisor> {
    let built = build(bare, &OXEN)?;
    let mut image = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    symbols::embed(&mut image).context("cannot put the symbol table into the hypervisor")?;
    let low = elf32::convert(&image).context("cannot make a 32-bit ELF of the hypervisor")?;
    let dist = paths::dist();
    fs::create_dir_all(dist.join("boot"))?;
    let out = Hypervisor {
        syms: dist.join("oxen-syms"),
        elf32: dist.join("boot/oxen.elf32"),
    };
    fs::write(&out.syms, &image)?;
    fs::write(&out.elf32, &low)?;
    Ok(out)
}

/// Builds the test guest into `dist` and returns its path.
pub(crate) fn test_guest(bare: &Bare) -> Result<PathBuf> {
    let built = build(bare, &TEST_GUEST)?;
    let out = paths::dist().join("oxen-test-guest");
    fs::create_dir_all(paths::dist())?;
    fs::copy(&built, &out).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(out)
}

/// Lints both programs and what they are made of, for the target that they run on.
pub(crate) fn clippy(bare: &Bare) -> Result<()> {
    for program in [&OXEN, &TEST_GUEST] {
        let mut cargo = bare.clippy();
        cargo
            .current_dir(paths::root())
            .args(["--target", TARGET, "--target-dir"])
            .arg(folder().join("clippy"))
            .args(["--package", program.package, "--bin", program.bin])
            .args(["--", "-Dwarnings"]);
        set_flags(&mut cargo, bare)?;
        sh::run(&mut cargo)?;
    }
    Ok(())
}

fn build(bare: &Bare, program: &Program) -> Result<PathBuf> {
    compile(bare, &[program])?;
    Ok(folder()
        .join(TARGET)
        .join(profile::name())
        .join(program.bin))
}

fn compile(bare: &Bare, programs: &[&Program]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::root());
    bare.apply(&mut cargo);
    cargo
        .args(["build", "--profile", profile::name(), "--target", TARGET])
        .arg("--target-dir")
        .arg(folder());
    for program in programs {
        cargo.args(["--package", program.package, "--bin", program.bin]);
    }
    set_flags(&mut cargo, bare)?;
    sh::run(&mut cargo)
}

/// Where cargo builds them.
fn folder() -> PathBuf {
    paths::target().join("bare")
}

/// Flags with blanks in their paths survive only in cargo's encoded form.
fn set_flags(cargo: &mut Command, bare: &Bare) -> Result<()> {
    let mut flags = bare.flags()?;
    flags.extend(FLAGS.map(str::to_owned));
    cargo.env_remove("RUSTFLAGS");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Ok(())
}
