//! The tools of Debian's Xen 4.17 with the libraries that they need, and GRUB for PV guests, as an archive to put behind
//! dom0's initramfs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cpio::Cpio;
use crate::debs::{self, Deb};
use crate::{cache, paths};

/// Where Xen 4.17's programs lie in its package, and where they look for each other.
const FOLDER: &str = "usr/lib/xen-4.17/bin";

/// From [`FOLDER`], to be found as `usr/sbin/NAME` too. Our own daemons keep the names of theirs there.
const PROGRAMS: [(&str, bool); 8] = [
    ("xl", true),
    ("xen-init-dom0", true),
    ("xenconsole", true),
    ("xenpm", true),
    ("xentop", true),
    ("libxl-save-helper", false),
    ("xenstored", false),
    ("xenconsoled", false),
];

/// GRUB as a PV kernel, in its package.
const GRUB: (&str, &str) = ("usr/lib/grub-xen", "grub-x86_64-xen.bin");

/// Names of the one program of xenstore's clients.
const XENSTORE: [&str; 6] = ["ls", "read", "write", "list", "rm", "exists"];

/// Packages with libraries.
const LIBRARIES: [&str; 22] = [
    "libxenmisc4.17",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxenstore4",
    "libxentoolcore1",
    "libxentoollog1",
    "libyajl2",
    "libuuid1",
    "libgcc-s1",
    "liblzma5",
    "libzstd1",
    "zlib1g",
    "libbz2-1.0",
    "libncurses6",
    "libtinfo6",
    "liblzo2-2",
    "libfdt1",
    "libc6",
];

/// The archive, made once.
pub(crate) fn layer() -> Result<PathBuf> {
    let tools = debs::unpacked("xen-utils-4.17")
        .context("Debian's tools of Xen 4.17 are in Debian 12 only")?;
    let common = debs::unpacked("xen-utils-common")?;
    let xenstore = debs::unpacked("xenstore-utils")?;
    let grub = debs::unpacked("grub-xen-host")?;
    let libraries = LIBRARIES
        .iter()
        .map(|package| debs::unpacked(package))
        .collect::<Result<Vec<_>>>()?;
    let ids = [&tools, &common, &xenstore, &grub]
        .into_iter()
        .chain(&libraries);
    let key = cache::hash(
        ids.map(|deb| deb.id.as_bytes())
            .chain([include_bytes!("debian_tools.rs").as_slice()]),
    );
    let out = paths::target().join("image/debian-tools.img");
    cache::keep(&out, &key, |out| {
        let mut cpio = Cpio::default();
        for (name, on_path) in PROGRAMS {
            add(&mut cpio, &tools, FOLDER, name)?;
            if on_path {
                cpio.link(&format!("usr/sbin/{name}"), &format!("/{FOLDER}/{name}"))?;
            }
        }
        for name in XENSTORE {
            add(&mut cpio, &xenstore, "usr/bin", &format!("xenstore-{name}"))?;
        }
        add(&mut cpio, &common, "etc/xen", "xl.conf")?;
        add(&mut cpio, &grub, GRUB.0, GRUB.1)?;
        for library in &libraries {
            add_libraries(&mut cpio, library)?;
        }
        Ok(fs::write(out, cpio.finish_gz()?)?)
    })?;
    Ok(out)
}

fn add(cpio: &mut Cpio, deb: &Deb, folder: &str, name: &str) -> Result<()> {
    let path = deb.root.join(folder).join(name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    cpio.file(&format!("{folder}/{name}"), 0o755, &bytes)
}

/// What a program's loader may ask for: files and links with a version in their names. The loader itself too.
fn add_libraries(cpio: &mut Cpio, deb: &Deb) -> Result<()> {
    let mut found = false;
    for (from, to) in [
        ("lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        ("lib64", "lib64"),
        ("usr/lib64", "lib64"),
    ] {
        found |= add_folder(cpio, &deb.root.join(from), to)?;
    }
    ensure!(found, "no library in {}", deb.root.display());
    Ok(())
}

/// Whether `from` holds a library.
fn add_folder(cpio: &mut Cpio, from: &Path, to: &str) -> Result<bool> {
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(false);
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.contains(".so."));
    names.sort();
    for name in &names {
        let path = from.join(name);
        let at = format!("{to}/{name}");
        match fs::read_link(&path) {
            Ok(target) => cpio.link(&at, &target.to_string_lossy())?,
            Err(_) => cpio.file(&at, 0o755, &fs::read(&path)?)?,
        }
    }
    Ok(!names.is_empty())
}
