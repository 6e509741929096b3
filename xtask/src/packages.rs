//! Debian packages that the verbs need, installed when they are missing.
//!
//! Works as root or through sudo, says what it does, and never removes anything. A machine that took
//! `qemu-utils` from backports cannot install the suite's own older QEMU beside it (apt would remove the
//! former); there, and only there, QEMU and its firmware are taken from backports too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::sh;
use crate::toolchain::Bare;

/// For unpacking packages and making the dom0 image and the ISO.
const IMAGE: [&str; 6] = [
    "grub-pc-bin",
    "grub-common",
    "xorriso",
    "mtools",
    "kmod",
    "xz-utils",
];
const EMULATOR: [&str; 1] = ["qemu-system-x86"];
/// The bare-metal compiler, where rustup has not the target.
const COMPILER: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-clippy"];
/// The public headers of Xen, which the tests of the ABI crate are checked against.
const HEADERS: [&str; 1] = ["libxen-dev"];

const SOURCES: &str = "/etc/apt/sources.list.d/xtask-backports.sources";
const PIN: &str = "/etc/apt/preferences.d/xtask-backports";

/// What a verb is going to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compile for bare metal.
    Compile,
    /// Compile, and make images.
    Image,
    /// Compile, make images, boot them.
    Boot,
    /// All that and the tests.
    Test,
}

/// Installs what is missing for `need`.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let mut wanted = Vec::new();
    let compiler = Bare::needs_debian()?;
    if compiler {
        wanted.extend(COMPILER);
    }
    if need != Need::Compile {
        wanted.extend(IMAGE);
    }
    if matches!(need, Need::Boot | Need::Test) {
        wanted.extend(EMULATOR);
    }
    if need == Need::Test {
        wanted.extend(HEADERS);
    }
    // An old compiler counts as missing: installing it again upgrades it.
    let old = compiler && !Bare::debian_is_ready();
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|name| !installed(name) || old && COMPILER.contains(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

fn installed(name: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", name])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|out| out.stdout == b"installed")
}

fn install(missing: &[&str]) -> Result<()> {
    eprintln!(
        "installing Debian packages{}: {}",
        through(),
        missing.join(" ")
    );
    update()?;
    if !installable(missing)? {
        use_backports().context("cannot set up the suite's backports")?;
        update()?;
        if !installable(missing)? {
            // The real run prints apt's reasons.
            eprintln!("apt cannot install them all without removing something:");
        }
    }
    sh::run(&mut apt(missing))
}

/// An installation that keeps everything which is there.
fn apt(names: &[&str]) -> Command {
    let mut cmd = as_root("apt-get");
    cmd.args([
        "-y",
        "-q",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "DPkg::Lock::Timeout=300",
    ])
    .args(["--no-install-recommends", "--no-remove", "install"])
    .args(names)
    .stdin(Stdio::null());
    cmd
}

fn installable(names: &[&str]) -> Result<bool> {
    let out = apt(names)
        .arg("--simulate")
        .output()
        .context("cannot start apt-get")?;
    Ok(out.status.success())
}

/// What apt has said in this run, by the command.
static SAID: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

// A panic elsewhere leaves whole answers behind.
fn said() -> MutexGuard<'static, BTreeMap<String, String>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What apt says to a question, which it takes a second for: asked once, until the lists change.
pub(crate) fn ask(program: &str, args: &[&str]) -> Result<String> {
    let question = format!("{program} {}", args.join(" "));
    if let Some(known) = said().get(&question) {
        return Ok(known.clone());
    }
    let text = sh::output(Command::new(program).env("LC_ALL", "C").args(args))?;
    said().insert(question, text.clone());
    Ok(text)
}

/// Reads the package lists anew.
pub(crate) fn update() -> Result<()> {
    said().clear();
    sh::quiet(as_root("apt-get").args(["-qq", "-o", "DPkg::Lock::Timeout=300", "update"]))
}

/// Where the machine's own suite of Debian comes from.
pub(crate) fn mirror() -> Result<String> {
    let codename = codename()?;
    index_field("$(REPO_URI)", &codename)?
        .with_context(|| format!("apt has no source for {codename}"))
}

/// The name of the machine's suite of Debian; an error on another system.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    ensure!(
        field("ID").as_deref() == Some("debian"),
        "this machine is not Debian's"
    );
    field("VERSION_CODENAME").context("/etc/os-release names no VERSION_CODENAME")
}

/// Adds backports beside the machine's own suite, from the same place, for QEMU and its firmware alone.
fn use_backports() -> Result<()> {
    let codename = codename().context("apt cannot install the packages, and knows no backports")?;
    let suite = format!("{codename}-backports");
    if index_field("$(REPO_URI)", &suite)?.is_none() {
        let Some(uri) = index_field("$(REPO_URI)", &codename)? else {
            bail!("apt has no source for {codename}");
        };
        let signed_by = index_field("$(SIGNED_BY)", &codename)?
            .filter(|path| path.starts_with('/'))
            .unwrap_or_else(|| "/usr/share/keyrings/debian-archive-keyring.gpg".to_owned());
        let text = format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {signed_by}\n"
        );
        write_as_root(SOURCES, &text)?;
    }
    write_as_root(
        PIN,
        &format!("Package: src:qemu src:seabios\nPin: release n={suite}\nPin-Priority: 500\n"),
    )
}

/// A field of apt's entry for the main component of a suite, if apt has that suite.
fn index_field(format: &str, codename: &str) -> Result<Option<String>> {
    let text = sh::output(
        Command::new("apt-get")
            .args(["indextargets", "--format", format, "Created-By: Packages"])
            .arg(format!("Codename: {codename}"))
            .arg("Component: main"),
    )?;
    Ok(text
        .lines()
        .next()
        .filter(|line| !line.is_empty())
        .map(str::to_owned))
}

fn write_as_root(path: &str, text: &str) -> Result<()> {
    eprintln!("writing {path}{}", through());
    let mut tee = as_root("tee");
    let mut child = tee
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start tee")?;
    child
        .stdin
        .take()
        .context("tee has no standard input")?
        .write_all(text.as_bytes())?;
    ensure!(child.wait()?.success(), "cannot write {path}");
    Ok(())
}

fn is_root() -> bool {
    sh::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn through() -> &'static str {
    if is_root() { "" } else { " through sudo" }
}

fn as_root(program: &str) -> Command {
    let mut cmd = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    };
    cmd.args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", program]);
    cmd
}
