//! Debian packages that go into images: downloaded and unpacked under the target folder, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::{paths, sh};

/// An unpacked package.
pub(crate) struct Deb {
    /// The root that its files lie under.
    pub(crate) root: PathBuf,
    /// Name, version and checksum: stands for the contents in cache keys.
    pub(crate) id: String,
}

/// Fetches and unpacks `package` from the machine's own apt sources; does nothing when it is there already.
pub(crate) fn unpacked(package: &str) -> Result<Deb> {
    unpacked_from(&Apt::Own, package)
}

/// As [`unpacked`], from another suite.
pub(crate) fn unpacked_from(apt: &Apt, package: &str) -> Result<Deb> {
    ensure!(
        exist_in(apt, package)?,
        "cannot find Debian's package {package} in apt's sources"
    );
    let candidate = candidate(apt, package)?;
    let dir = paths::target()
        .join("debs")
        .join(crate::cache::hash([&candidate]));
    let deb = Deb {
        root: dir.join("root"),
        id: candidate.clone(),
    };
    let done = dir.join("done");
    if done.exists() {
        return Ok(deb);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    eprintln!("fetching Debian's {package}");
    if download(apt, package, &dir).is_err() {
        apt.update()?;
        download(apt, package, &dir)?;
    }
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            sh::quiet(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&deb.root))?;
            fs::remove_file(&path)?;
        }
    }
    fs::write(&done, &candidate)?;
    Ok(deb)
}

/// Whether the machine's apt sources have `package`.
pub(crate) fn exist(package: &str) -> Result<bool> {
    exist_in(&Apt::Own, package)
}

fn exist_in(apt: &Apt, package: &str) -> Result<bool> {
    if candidate(apt, package).is_ok() {
        return Ok(true);
    }
    // A fresh machine has no package lists, or old ones.
    apt.update()?;
    Ok(candidate(apt, package).is_ok())
}

/// The package that `meta` depends on by a versioned name starting with `prefix` (the kernel behind `linux-image-amd64`).
pub(crate) fn dependency(meta: &str, prefix: &str) -> Result<String> {
    dependency_from(&Apt::Own, meta, prefix)
}

/// As [`dependency`], of another suite's package.
pub(crate) fn dependency_from(apt: &Apt, meta: &str, prefix: &str) -> Result<String> {
    let find = || -> Result<String> {
        let text = apt.ask("apt-cache", &["depends", meta])?;
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("Debian's {meta} depends on no {prefix}*"))
    };
    find().or_else(|_| {
        apt.update()?;
        find()
    })
}

fn download(apt: &Apt, package: &str, dir: &Path) -> Result<()> {
    sh::quiet(
        apt.command("apt-get")
            .current_dir(dir)
            .args(["-qq", "download", package]),
    )
}

/// File name and checksum of the version that apt would fetch; the first word, where from, is left out.
fn candidate(apt: &Apt, package: &str) -> Result<String> {
    let text = apt.ask("apt-get", &["-qq", "download", "--print-uris", package])?;
    let mut words = text.split_whitespace().skip(1);
    let (name, _size, sum) = (words.next(), words.next(), words.next());
    match (name, sum) {
        (Some(name), Some(sum)) => Ok(format!("{name} {sum}")),
        _ => anyhow::bail!("apt knows no package {package}"),
    }
}
