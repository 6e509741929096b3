//! dom0: Debian's stock kernel and an initramfs with busybox, the modules, our toolstack and the demo guest.
//!
//! The initramfs is three archives one after the other, which the kernel unpacks in order: what comes from
//! Debian (made once), what is ours (made at each build), and what this boot is for ([`overlay`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};
use oxen_tests::session::Linux;

use crate::cpio::{self, Cpio};
use crate::debs::Deb;
use crate::kernel::Kernel;
use crate::{busybox, cache, demo, paths, userland};

const MODULES: [&str; 21] = [
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xen-privcmd",
    "xenfs",
    "xen-blkback",
    "xen-netback",
    "xen-pciback",
    "bridge",
    "loop",
    "tun",
    "ahci",
    "sd_mod",
    "sr_mod",
    "isofs",
    "edd",
    "e1000",
    "e1000e",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
];

/// What a boot of dom0 is for.
pub(crate) enum Start<'a> {
    /// xend, the guest `demo`, and a shell.
    Demo,
    /// xend, these commands, and power-off.
    Exec(&'a str),
    /// Commands over the console, for the tests.
    Test,
}

/// The files that dom0 boots from.
pub(crate) struct Dom0 {
    /// The bzImage.
    pub(crate) kernel: PathBuf,
    /// The initramfs, to be completed with an [`overlay`].
    pub(crate) initrd: PathBuf,
}

/// Builds dom0: with the stock kernel into `dist`, which users take it from.
pub(crate) fn build(linux: Linux) -> Result<Dom0> {
    // Compiling keeps the processors busy while Debian's packages come over the network.
    let (programs, fetched) = thread::scope(|scope| {
        let programs = scope.spawn(|| userland::build(&userland::PROGRAMS.map(|(name, _)| name)));
        let fetched = Kernel::fetch(linux).and_then(|kernel| Ok((kernel, busybox::fetch()?)));
        (programs.join(), fetched)
    });
    let programs = programs.map_err(|_| anyhow!("building the programs for dom0 panicked"))??;
    let (kernel, busybox) = fetched?;
    let demo_initrd = demo::initrd(&kernel, &busybox, &programs.join("fpucheck"))?;

    let boot = match linux {
        Linux::Stock => paths::dist().join("boot"),
        Linux::V5_10 => paths::target().join("image/5.10"),
        Linux::V6_12 => paths::target().join("image/6.12"),
    };
    fs::create_dir_all(&boot)?;
    let out = Dom0 {
        kernel: boot.join("vmlinuz"),
        initrd: boot.join("initrd.img"),
    };
    fs::copy(kernel.image(), &out.kernel)
        .with_context(|| format!("cannot copy {}", kernel.image().display()))?;
    let mut image = fs::read(debian_layer(&kernel, &busybox)?)?;
    cpio::join(&mut image, &own_layer(&programs, &kernel, &demo_initrd)?);
    fs::write(&out.initrd, image)?;
    Ok(out)
}

/// busybox and modules.
fn debian_layer(kernel: &Kernel, busybox: &Deb) -> Result<PathBuf> {
    let key = cache::hash([
        kernel.deb.id.as_bytes(),
        busybox.id.as_bytes(),
        include_bytes!("dom0.rs"),
        include_bytes!("kernel.rs"),
        include_bytes!("busybox.rs"),
    ]);
    let out = paths::target().join(format!("image/dom0-debian-{}.img", kernel.release));
    cache::keep(&out, &key, |out| {
        let mut cpio = Cpio::default();
        busybox::add(&mut cpio, busybox, &[])?;
        cpio.link("var/run", "/run")?;
        cpio.link("var/lock", "/run/lock")?;
        kernel.add_modules(&mut cpio, &MODULES)?;
        Ok(fs::write(out, cpio.finish_gz()?)?)
    })?;
    Ok(out)
}

/// Our programs and scripts, and the demo guest.
fn own_layer(programs: &Path, kernel: &Kernel, demo_initrd: &Path) -> Result<Vec<u8>> {
    let boot = paths::root().join("boot/dom0");
    let script = |name: &str| {
        fs::read(boot.join(name)).with_context(|| format!("cannot read boot/dom0/{name}"))
    };
    let mut cpio = Cpio::default();
    cpio.file("init", 0o755, &script("init")?)?;
    cpio.file("etc/oxen/lib", 0o644, &script("lib")?)?;
    cpio.file("etc/oxen/start", 0o644, &script("start-shell")?)?;
    cpio.file("etc/udhcpc/default.script", 0o755, &script("udhcpc")?)?;
    cpio.file("etc/xen/demo", 0o644, &script("demo")?)?;
    for (name, folder) in userland::PROGRAMS {
        cpio.file(
            &format!("{folder}/{name}"),
            0o755,
            &userland::program(programs, name)?,
        )?;
    }
    let mut packed = cpio.finish_gz()?;

    // Compressed already; stored as they are.
    let mut guest = Cpio::default();
    guest.file("boot/vmlinuz-guest", 0o644, &fs::read(kernel.image())?)?;
    guest.file("boot/initrd-guest", 0o644, &fs::read(demo_initrd)?)?;
    cpio::join(&mut packed, &guest.finish()?);
    Ok(packed)
}

/// The archive that goes behind the initramfs and says what this boot is for.
pub(crate) fn overlay(start: &Start<'_>) -> Result<Vec<u8>> {
    let name = match start {
        Start::Demo => "start-demo",
        Start::Exec(_) => "start-exec",
        Start::Test => "start-test",
    };
    let path = paths::root().join("boot/dom0").join(name);
    let script = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut cpio = Cpio::default();
    cpio.file("etc/oxen/start", 0o644, &script)?;
    if let Start::Exec(commands) = start {
        cpio.file(
            "etc/oxen/commands",
            0o644,
            format!("{commands}\n").as_bytes(),
        )?;
    }
    // Behind a compressed archive the kernel takes another compressed one; a plain one works as well.
    cpio::gzip(&cpio.finish()?)
}
