//! Which of the boot loader's files is what. They are told apart by content, not by order.

use super::load::Image;

/// A file that the boot loader has put into memory.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// Its contents.
    pub bytes: &'a [u8],
    /// What stands behind its name in the boot entry.
    pub command_line: &'a str,
}

/// The files by what they are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    pub(super) kernel: Module<'a>,
    pub(super) initrd: Option<Module<'a>>,
    /// How many more there are that nothing is known to do with.
    pub(super) others: usize,
}

impl<'a> Files<'a> {
    /// The kernel is the first file that is one; the initrd the first of the others. `None`
    /// without any file; without a kernel the first file is taken for it, so that what is wrong
    /// with it can be said.
    pub(super) fn tell_apart(modules: &[Module<'a>]) -> Option<Self> {
        let place = modules
            .iter()
            .position(|m| Image::new(m.bytes).is_ok())
            .unwrap_or(0);
        let kernel = *modules.get(place)?;
        let mut rest = modules
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != place)
            .map(|(_, module)| *module);
        Some(Self {
            kernel,
            initrd: rest.next(),
            others: rest.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter() {
        let kernel = Module {
            bytes: b"\x7fELF...",
            command_line: "quiet",
        };
        let initrd = Module {
            bytes: b"070701",
            command_line: "",
        };
        for modules in [[kernel, initrd], [initrd, kernel]] {
            let files = Files::tell_apart(&modules).unwrap();
            assert_eq!(files.kernel.command_line, "quiet");
            assert_eq!(files.initrd.unwrap().bytes, initrd.bytes);
        }
        assert!(Files::tell_apart(&[]).is_none());
        assert_eq!(
            Files::tell_apart(&[initrd]).unwrap().kernel.bytes,
            initrd.bytes
        );
    }
}
