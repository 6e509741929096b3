//! The kernel's ELF file: segments and notes.

use elf::ElfBytes;
use elf::abi::{EM_386, EM_X86_64, ET_DYN, ET_EXEC, PT_LOAD, PT_NOTE, SHT_NOTE};
use elf::endian::AnyEndian;
use elf::file::Class;
use elf::note::Note;

use super::Segment;
use super::notes::Notes;
use crate::error::ImageError;

/// Most segments of a kernel; Linux has five.
const MAX_SEGMENTS: usize = 64;
/// The name of Xen's notes, with the zero byte that the format asks for.
const XEN: &[u8] = b"Xen\0";

pub(super) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

pub(super) fn parse(file: &[u8]) -> Result<(Vec<Segment>, Notes), ImageError> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file)
        .map_err(|_| ImageError::Damaged("the ELF header"))?;
    check_machine(&elf)?;
    let mut notes = Notes::default();
    read_notes(&elf, &mut notes)?;
    notes.check(elf.ehdr.e_entry)?;
    let segments = segments(file, &elf, notes.paddr_offset)?;
    Ok((segments, notes))
}

fn check_machine(elf: &ElfBytes<'_, AnyEndian>) -> Result<(), ImageError> {
    if elf.ehdr.endianness != AnyEndian::Little {
        return Err(ImageError::Machine("for a big-endian machine"));
    }
    match (elf.ehdr.class, elf.ehdr.e_machine) {
        (Class::ELF64, EM_X86_64) => {}
        (_, EM_386) => return Err(ImageError::Machine("a 32-bit x86 kernel")),
        _ => return Err(ImageError::Machine("for another kind of machine")),
    }
    match elf.ehdr.e_type {
        ET_EXEC | ET_DYN => Ok(()),
        _ => Err(ImageError::Machine("an object file, not a linked kernel")),
    }
}

/// The notes are in note segments; where there are none of Xen's, in note sections.
fn read_notes(elf: &ElfBytes<'_, AnyEndian>, notes: &mut Notes) -> Result<(), ImageError> {
    let mut found = false;
    for header in elf.segments().into_iter().flatten() {
        if header.p_type == PT_NOTE {
            let list = elf
                .segment_data_as_notes(&header)
                .map_err(|_| ImageError::Damaged("a note segment"))?;
            found |= take_notes(list, notes)?;
        }
    }
    if found {
        return Ok(());
    }
    for header in elf.section_headers().into_iter().flatten() {
        if header.sh_type == SHT_NOTE {
            let list = elf
                .section_data_as_notes(&header)
                .map_err(|_| ImageError::Damaged("a note section"))?;
            found |= take_notes(list, notes)?;
        }
    }
    if found {
        Ok(())
    } else {
        Err(ImageError::NoNotes)
    }
}

fn take_notes<'a>(
    list: impl Iterator<Item = Note<'a>>,
    notes: &mut Notes,
) -> Result<bool, ImageError> {
    let mut found = false;
    for note in list {
        if let Note::Unknown(note) = note
            && note.name == XEN
        {
            found = true;
            notes.take(note.n_type, note.desc)?;
        }
    }
    Ok(found)
}

fn segments(
    file: &[u8],
    elf: &ElfBytes<'_, AnyEndian>,
    paddr_offset: u64,
) -> Result<Vec<Segment>, ImageError> {
    let mut segments = Vec::new();
    for header in elf.segments().into_iter().flatten() {
        if header.p_type != PT_LOAD || header.p_memsz == 0 {
            continue;
        }
        if segments.len() == MAX_SEGMENTS {
            return Err(ImageError::Damaged("it has too many segments"));
        }
        let address = header.p_paddr.checked_sub(paddr_offset).ok_or_else(|| {
            ImageError::Addresses(format!(
                "a segment is at {:#x}, below PADDR_OFFSET {paddr_offset:#x}",
                header.p_paddr
            ))
        })?;
        if address.checked_add(header.p_memsz).is_none() {
            return Err(ImageError::Addresses(format!(
                "a segment of {:#x} bytes at {address:#x} wraps around",
                header.p_memsz
            )));
        }
        if header.p_filesz > header.p_memsz {
            return Err(ImageError::Damaged(
                "a segment is larger in the file than in memory",
            ));
        }
        let outside = ImageError::Damaged("a segment reaches past the end of the file");
        let offset = usize::try_from(header.p_offset).map_err(|_| outside.clone())?;
        let file_size = usize::try_from(header.p_filesz).map_err(|_| outside.clone())?;
        if offset
            .checked_add(file_size)
            .is_none_or(|end| end > file.len())
        {
            return Err(outside);
        }
        segments.push(Segment {
            address,
            offset,
            file_size,
            memory_size: header.p_memsz,
        });
    }
    if segments.is_empty() {
        return Err(ImageError::Damaged("it has nothing to load"));
    }
    Ok(segments)
}
