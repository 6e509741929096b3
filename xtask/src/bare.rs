//! Building the bare-metal packages: the hypervisor and the test guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::toolchain::{Bare, TARGET};
use crate::{cache, elf32, paths, profile, sh, symbols};

/// A bare-metal program of the workspace.
struct Program {
    package: &'static str,
    bin: &'static str,
    /// Relative to the workspace.
    linker_script: &'static str,
    relocation_model: &'static str,
}

/// The hypervisor. Position-independent code linked at a fixed address, because the kernel code model
/// with static relocation reaches only the top 2 GiB, which belong to a PV guest.
const OXEN: Program = Program {
    package: "oxen",
    bin: "oxen",
    linker_script: "boot/oxen.ld",
    relocation_model: "pic",
};

/// The PV test guest, an ordinary kernel in the top 2 GiB.
const TEST_GUEST: Program = Program {
    package: "guest-drivers",
    bin: "oxen-test-guest",
    linker_script: "guest-drivers/guest.ld",
    relocation_model: "static",
};

/// What the hypervisor's build leaves behind.
pub(crate) struct Hypervisor {
    /// The whole ELF64 with symbols and line tables, for debuggers.
    pub(crate) syms: PathBuf,
    /// A 32-bit ELF by physical address: what multiboot loaders take.
    pub(crate) elf32: PathBuf,
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
            .arg(paths::target().join("bare/clippy").join(program.bin))
            .args(["--package", program.package, "--bin", program.bin])
            .args(["--", "-Dwarnings"]);
        set_flags(&mut cargo, &flags(bare, program)?);
        sh::run(&mut cargo)?;
    }
    Ok(())
}

fn build(bare: &Bare, program: &Program) -> Result<PathBuf> {
    // A folder for each: the two differ in flags, and cargo would rebuild everything at each change of flags.
    let dir = paths::target().join("bare").join(program.bin);
    let script = linker_script(&dir, program)?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::root());
    bare.apply(&mut cargo);
    cargo
        .args(["rustc", "--profile", profile::name(), "--target", TARGET])
        .arg("--target-dir")
        .arg(&dir)
        .args(["--package", program.package, "--bin", program.bin, "--"])
        .arg(format!("-Clink-arg=-T{}", script.display()))
        .args([
            "-Clink-arg=--no-pie",
            "-Clink-arg=-znorelro",
            "-Clink-arg=--gc-sections",
        ]);
    set_flags(&mut cargo, &flags(bare, program)?);
    sh::run(&mut cargo)?;
    Ok(dir.join(TARGET).join(profile::name()).join(program.bin))
}

fn flags(bare: &Bare, program: &Program) -> Result<Vec<String>> {
    let mut flags = bare.flags()?;
    flags.push(format!("-Crelocation-model={}", program.relocation_model));
    flags.push("-Cforce-frame-pointers=yes".to_owned());
    Ok(flags)
}

/// Flags with blanks in their paths survive only in cargo's encoded form.
fn set_flags(cargo: &mut Command, flags: &[String]) {
    cargo.env_remove("RUSTFLAGS");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
}

/// Cargo does not know that the program depends on its linker script. A copy named by its contents makes
/// the command line change, and so the program is linked again, exactly when the script changes.
fn linker_script(dir: &Path, program: &Program) -> Result<PathBuf> {
    let path = paths::root().join(program.linker_script);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let copy = dir.join(format!("{}.ld", cache::hash([&text])));
    if !copy.exists() {
        fs::create_dir_all(dir)?;
        fs::write(&copy, text)?;
    }
    Ok(copy)
}
