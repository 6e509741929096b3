//! The CD image: GRUB for BIOS, which loads the hypervisor, dom0's kernel and its initramfs by multiboot2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sh;

/// Where Debian's grub-pc-bin lies; naming it keeps EFI parts (and their tools) out.
const GRUB_BIOS: &str = "/usr/lib/grub/i386-pc";

/// What GRUB loads.
pub(crate) struct Contents<'a> {
    pub(crate) hypervisor: &'a Path,
    pub(crate) hypervisor_args: &'a str,
    pub(crate) kernel: &'a Path,
    pub(crate) kernel_args: &'a str,
    pub(crate) initrd: Option<&'a Path>,
}

/// Makes the image at `out`.
pub(crate) fn make(contents: &Contents<'_>, out: &Path) -> Result<()> {
    let stage = out.with_extension("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    let boot = stage.join("boot");
    fs::create_dir_all(boot.join("grub"))?;
    place(contents.hypervisor, &boot.join("oxen.gz"))?;
    place(contents.kernel, &boot.join("vmlinuz"))?;
    if let Some(initrd) = contents.initrd {
        place(initrd, &boot.join("initrd.img"))?;
    }
    fs::write(boot.join("grub/grub.cfg"), config(contents)?)?;
    sh::quiet(
        Command::new("grub-mkrescue")
            .args(["-d", GRUB_BIOS, "-o"])
            .arg(out)
            .arg(&stage),
    )?;
    fs::remove_dir_all(&stage)?;
    Ok(())
}

/// A hard link where possible: the initramfs is large.
fn place(from: &Path, to: &PathBuf) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn config(contents: &Contents<'_>) -> Result<String> {
    let initrd = match contents.initrd {
        // GRUB would unpack it; the kernel does that.
        Some(_) => "  module2 --nounzip /boot/initrd.img\n",
        None => "",
    };
    Ok(format!(
        "set timeout=0\n\
         set default=0\n\
         serial --unit=0 --speed=115200\n\
         terminal_input serial\n\
         terminal_output serial\n\
         menuentry \"Oxen\" {{\n  \
           multiboot2 /boot/oxen.gz {}\n  \
           module2 /boot/vmlinuz {}\n\
         {initrd}\
         }}\n",
        words(contents.hypervisor_args)?,
        words(contents.kernel_args)?,
    ))
}

/// Command lines for grub.cfg: each word in single quotes, in which GRUB changes nothing.
fn words(line: &str) -> Result<String> {
    ensure!(
        !line.contains(['\'', '\n']),
        "a boot command line cannot contain a single quote or a line break: {line}"
    );
    Ok(line
        .split_whitespace()
        .map(|word| format!("'{word}'"))
        .collect::<Vec<_>>()
        .join(" "))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_quoted() {
        assert_eq!(words("a=b  c;d").expect("quotes"), "'a=b' 'c;d'");
        assert!(words("it's").is_err());
    }
}
