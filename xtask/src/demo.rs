//! The initramfs of the guest `demo`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Cpio;
use crate::debs::Deb;
use crate::kernel::Kernel;
use crate::{busybox, cache, paths};

const MODULES: [&str; 2] = ["xen-blkfront", "xen-netfront"];

/// Makes the image unless it is there; `fpucheck` is the program of that name.
pub(crate) fn initrd(kernel: &Kernel, busybox: &Deb, fpucheck: &Path) -> Result<PathBuf> {
    let boot = paths::root().join("boot/demo");
    let init = fs::read(boot.join("init")).context("cannot read boot/demo/init")?;
    let halt = fs::read(boot.join("halt")).context("cannot read boot/demo/halt")?;
    let fpucheck = fs::read(fpucheck)?;
    let key = cache::hash([
        kernel.deb.id.as_bytes(),
        busybox.id.as_bytes(),
        include_bytes!("demo.rs"),
        include_bytes!("kernel.rs"),
        include_bytes!("busybox.rs"),
        &init,
        &halt,
        &fpucheck,
    ]);
    let out = paths::target().join(format!("image/demo-initrd-{}.img", kernel.release));
    cache::keep(&out, &key, |out| {
        let mut cpio = Cpio::default();
        busybox::add(&mut cpio, busybox, &["poweroff", "reboot", "halt"])?;
        kernel.add_modules(&mut cpio, &MODULES)?;
        cpio.file("init", 0o755, &init)?;
        for name in ["poweroff", "reboot", "halt"] {
            cpio.file(&format!("sbin/{name}"), 0o755, &halt)?;
        }
        cpio.file("usr/bin/fpucheck", 0o755, &fpucheck)?;
        Ok(fs::write(out, cpio.finish_gz()?)?)
    })?;
    Ok(out)
}
