//! Which of the boot loader's files is what. They are told apart by content, not by order.

use alloc::vec::Vec;
use core::fmt;

use super::load::Image;

/// A file that the boot loader has put into memory.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// Its contents.
    pub bytes: &'a [u8],
    /// What stands behind its name in the boot entry.
    pub command_line: &'a str,
}

/// What a file is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// dom0's kernel.
    Kernel,
    /// dom0's initrd, in this format.
    Initrd(&'static str),
    /// A policy of sHype/ACM.
    Policy,
    /// Nothing that is known. dom0 may know better, and gets it as its initrd.
    Given,
    /// Nothing that is known, or a second one of its kind: nobody gets it.
    Ignored,
}

impl Use {
    /// Whether somebody should hear of it.
    pub(super) fn is_odd(self) -> bool {
        !matches!(self, Self::Kernel | Self::Initrd(_))
    }
}

impl fmt::Display for Use {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => out.write_str("dom0's kernel"),
            Self::Initrd(format) => write!(out, "dom0's initrd ({format})"),
            Self::Policy => out.write_str("an sHype/ACM policy, which is not enforced yet"),
            Self::Given => out.write_str("of no known kind, dom0 gets it as its initrd"),
            Self::Ignored => out.write_str("of no known kind or one too many, ignored"),
        }
    }
}

/// The files by what they are for.
#[derive(Clone, Debug)]
pub(super) struct Files<'a> {
    pub(super) kernel: Module<'a>,
    pub(super) initrd: Option<Module<'a>>,
    /// What each file is taken for, in the boot loader's order.
    pub(super) uses: Vec<Use>,
}

impl<'a> Files<'a> {
    /// The kernel is the first file that is one; the initrd the first of the others that looks
    /// like one, else the first that looks like nothing. `None` without any file; without a kernel
    /// the first file is taken for it, so that what is wrong with it can be said.
    pub(super) fn tell_apart(modules: &[Module<'a>]) -> Option<Self> {
        let kernel = modules
            .iter()
            .position(|m| Image::new(m.bytes).is_ok())
            .unwrap_or(0);
        let others = || modules.iter().enumerate().filter(|(at, _)| *at != kernel);
        let initrd = others()
            .position_of(|bytes| initrd_format(bytes).is_some())
            .or_else(|| {
                others().position_of(|bytes| !is_policy(bytes) && Image::new(bytes).is_err())
            });
        let uses = modules.iter().enumerate().map(|(at, module)| {
            let format = initrd_format(module.bytes);
            match format {
                _ if at == kernel => Use::Kernel,
                Some(format) if Some(at) == initrd => Use::Initrd(format),
                None if Some(at) == initrd => Use::Given,
                None if is_policy(module.bytes) => Use::Policy,
                _ => Use::Ignored,
            }
        });
        Some(Self {
            kernel: *modules.get(kernel)?,
            initrd: initrd.and_then(|at| modules.get(at)).copied(),
            uses: uses.collect(),
        })
    }
}

/// Finds a numbered file by its contents.
trait PositionOf {
    fn position_of(self, right: impl Fn(&[u8]) -> bool) -> Option<usize>;
}

impl<'a, 'm: 'a, I: Iterator<Item = (usize, &'a Module<'m>)>> PositionOf for I {
    fn position_of(mut self, right: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.find(|(_, module)| right(module.bytes))
            .map(|(at, _)| at)
    }
}

/// The formats that Linux takes as an initrd, by how they begin (Linux's initramfs and decompressors).
const INITRD_FORMATS: &[(&[u8], &str)] = &[
    (b"070701", "cpio"),
    (b"070702", "cpio"),
    (&[0x1f, 0x8b], "gzip"),
    (&[0x1f, 0x9e], "gzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
    (&[0x5d, 0x00, 0x00], "lzma"),
    (b"BZh", "bzip2"),
    (&[0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a], "lzo"),
];

fn initrd_format(bytes: &[u8]) -> Option<&'static str> {
    INITRD_FORMATS
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, name)| *name)
}

/// How a binary policy begins: `ACM_MAGIC` of Xen 3.0's public acm.h in network byte order, behind
/// the version of the format (in the first releases before it).
fn is_policy(bytes: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0x0001_debc_u32.to_be_bytes();
    bytes.get(4..8) == Some(&MAGIC) || bytes.get(..4) == Some(&MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn module(bytes: &[u8]) -> Module<'_> {
        Module {
            bytes,
            command_line: "",
        }
    }

    const KERNEL: Module<'_> = Module {
        bytes: b"\x7fELF...",
        command_line: "quiet",
    };
    const INITRD: Module<'_> = module(b"070701");
    const POLICY: Module<'_> = module(b"\0\0\0\x03\0\x01\xde\xbc\0\0\0\x28");
    const OLD_POLICY: Module<'_> = module(b"\0\x01\xde\xbc\0\0\0\x01");
    const UNKNOWN: Module<'_> = module(b"hello");

    #[test]
    fn order_does_not_matter() {
        for modules in [
            [KERNEL, INITRD, POLICY],
            [POLICY, KERNEL, INITRD],
            [OLD_POLICY, INITRD, KERNEL],
        ] {
            let files = Files::tell_apart(&modules).unwrap();
            assert_eq!(files.kernel.command_line, "quiet");
            assert_eq!(files.initrd.unwrap().bytes, INITRD.bytes);
            for (module, found) in modules.iter().zip(&files.uses) {
                let expected = match module.bytes {
                    bytes if bytes == KERNEL.bytes => Use::Kernel,
                    bytes if bytes == INITRD.bytes => Use::Initrd("cpio"),
                    _ => Use::Policy,
                };
                assert_eq!(*found, expected);
            }
        }
    }

    #[test]
    fn a_policy_is_no_initrd() {
        let files = Files::tell_apart(&[KERNEL, POLICY]).unwrap();
        assert!(files.initrd.is_none());
        assert_eq!(files.uses, [Use::Kernel, Use::Policy]);
    }

    #[test]
    fn what_is_not_known_goes_to_dom0_if_there_is_no_initrd() {
        let files = Files::tell_apart(&[KERNEL, POLICY, UNKNOWN, UNKNOWN]).unwrap();
        assert_eq!(files.initrd.unwrap().bytes, UNKNOWN.bytes);
        assert_eq!(
            files.uses,
            [Use::Kernel, Use::Policy, Use::Given, Use::Ignored]
        );
        let files = Files::tell_apart(&[UNKNOWN, KERNEL, INITRD, INITRD, KERNEL]).unwrap();
        assert_eq!(
            files.uses,
            [
                Use::Ignored,
                Use::Kernel,
                Use::Initrd("cpio"),
                Use::Ignored,
                Use::Ignored
            ]
        );
    }

    #[test]
    fn nothing_and_no_kernel() {
        assert!(Files::tell_apart(&[]).is_none());
        let files = Files::tell_apart(&[INITRD]).unwrap();
        assert_eq!(files.kernel.bytes, INITRD.bytes);
        assert!(files.initrd.is_none());
    }

    #[test]
    fn every_format_is_known_by_its_beginning() {
        for (magic, name) in INITRD_FORMATS {
            assert_eq!(initrd_format(magic), Some(*name));
            assert_eq!(initrd_format(&magic[..magic.len() - 1]), None);
        }
    }
}
