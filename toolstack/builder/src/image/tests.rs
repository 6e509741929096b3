use proptest::prelude::*;

use super::*;
use crate::testing::{BASE, elf, linux_notes, note};

fn parse(notes: &[u8]) -> Result<Kernel, ImageError> {
    Kernel::parse(elf(&[1; 5000], 100, notes))
}

/// A bzImage of boot protocol 2.15 around a payload.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1024];
    out[0x1f1] = 1;
    out[0x202..0x206].copy_from_slice(b"HdrS");
    out[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    out[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
    out[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    out.extend([0; 16]);
    out.extend(payload);
    out
}

#[test]
fn notes_are_read() {
    let kernel = parse(&linux_notes()).unwrap();
    let notes = &kernel.notes;
    assert_eq!(notes.entry, BASE + 0x100_0010);
    assert_eq!((notes.virt_base, notes.paddr_offset), (BASE, 0));
    assert_eq!(notes.init_p2m, Some(0x80_0000_0000));
    assert!(notes.unmapped_ramdisk);
    assert_eq!(notes.guest_os, "linux");
    assert_eq!(kernel.end(), 0x100_0000 + 5100);
}

#[test]
fn kernels_that_cannot_run_are_told_apart() {
    assert_eq!(parse(&[]), Err(ImageError::NoNotes));
    assert_eq!(parse(&note(18, &[0; 4])), Err(ImageError::PvhOnly));
    for (notes, name) in [
        (note(8, b"special\0"), "LOADER"),
        (note(5, b"xen-4.0\0"), "XEN_VERSION"),
        (note(3, &[0; 3]), "VIRT_BASE"),
        (note(3, &5u64.to_le_bytes()), "VIRT_BASE"),
        (note(10, b"!auto_translated_physmap\0"), "FEATURES"),
    ] {
        match parse(&notes) {
            Err(ImageError::Note { note, .. }) => assert_eq!(note, name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        Kernel::parse(b"#!/bin/sh".to_vec()),
        Err(ImageError::UnknownFormat)
    );
    let mut other = elf(&[0; 64], 0, &linux_notes());
    other[18] = 3;
    other[4] = 1;
    assert!(Kernel::parse(other).is_err());
}

#[test]
fn a_paddr_offset_moves_the_kernel() {
    let offset = note(4, &0x80_0000u64.to_le_bytes());
    let kernel = parse(&[linux_notes(), offset].concat()).unwrap();
    assert_eq!(kernel.segments[0].address, 0x80_0000);
    let offset = note(4, &0x100_0001u64.to_le_bytes());
    assert!(matches!(
        parse(&[linux_notes(), offset].concat()),
        Err(ImageError::Addresses(_))
    ));
}

#[test]
fn a_bzimage_is_unpacked() {
    let vmlinux = elf(&[7; 100], 0, &linux_notes());
    // One legacy LZ4 block of literals only: a length of 15 or more continues in further bytes.
    let len = vmlinux.len();
    let mut block = vec![0xf0];
    block.extend(std::iter::repeat_n(255, (len - 15) / 255));
    block.push(u8::try_from((len - 15) % 255).unwrap());
    block.extend(&vmlinux);
    let mut payload = vec![0x02, 0x21, 0x4c, 0x18];
    payload.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
    payload.extend(block);
    payload.extend(u32::try_from(len).unwrap().to_le_bytes());
    let kernel = Kernel::parse(bzimage(&payload)).unwrap();
    assert_eq!(kernel.elf, vmlinux);
}

#[test]
fn bad_bzimages() {
    let outside = {
        let mut b = bzimage(&[0; 8]);
        b[0x24c] = 9;
        b
    };
    assert!(matches!(
        Kernel::parse(outside),
        Err(ImageError::Damaged(_))
    ));
    let huge = bzimage(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(
        Kernel::parse(huge),
        Err(ImageError::TooLarge { .. })
    ));
    let lzo = bzimage(&[0x89, b'L', b'Z', b'O', 0, 0, 0, 0]);
    assert_eq!(Kernel::parse(lzo), Err(ImageError::Compression("LZO")));
    assert!(Kernel::parse(bzimage(&[])[..0x203].to_vec()).is_err());
}

proptest! {
    #[test]
    fn no_damage_panics(at in 0usize..1200, value in any::<u8>(), cut in 0usize..1200) {
        let mut file = elf(&[3; 64], 5, &linux_notes());
        let at = at % file.len();
        file[at] = value;
        let cut = cut % file.len();
        let _ = Kernel::parse(file[..cut].to_vec());
        if let Ok(kernel) = Kernel::parse(file) {
            // Whatever is accepted can be planned or is refused, without overflowing.
            let _ = crate::layout::Layout::plan(&crate::layout::Wanted {
                virt_base: kernel.notes.virt_base,
                kernel_end: kernel.end(),
                ramdisk: 1 << 20,
                unmapped_ramdisk: kernel.notes.unmapped_ramdisk,
                init_p2m: kernel.notes.init_p2m,
                pages: 1 << 16,
            });
        }
    }

    #[test]
    fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), elf_magic in any::<bool>()) {
        let mut file = bytes;
        if elf_magic && file.len() > 20 {
            file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            file[18..20].copy_from_slice(&62u16.to_le_bytes());
        } else if file.len() > 0x206 {
            file[0x202..0x206].copy_from_slice(b"HdrS");
        }
        let _ = Kernel::parse(file);
    }
}
