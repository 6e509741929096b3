//! A kernel's ELF file: which bytes belong where, and its notes.

use alloc::vec::Vec;
use core::fmt;

use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD, PT_NOTE, SHT_NOTE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::note::Note;

use super::notes::{NoteError, Notes};
use crate::types::PAGE_SIZE;

/// A piece of the kernel. Offsets are in bytes; `place` counts from the virtual base, which is
/// pseudo-physical address 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// Where it starts in the file.
    pub(crate) file: usize,
    /// How much of it is in the file.
    pub(crate) file_size: usize,
    /// Where it goes.
    pub(crate) place: usize,
    /// How long it is there; what is not in the file is zero.
    pub(crate) size: usize,
}

/// What the ELF file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kernel {
    /// Its pieces, in ascending order of place.
    pub(crate) segments: Vec<Segment>,
    /// Virtual address of its entry.
    pub(crate) entry: u64,
    /// Virtual address of place 0.
    pub(crate) base: u64,
    /// Its notes.
    pub(crate) notes: Notes,
    /// First byte after the last segment, as a place.
    pub(crate) end: usize,
}

/// Why an ELF file cannot be dom0's kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ElfError {
    /// It is not well-formed.
    Malformed,
    /// It is not a 64-bit x86 file.
    WrongMachine,
    /// A segment lies past the file's end.
    Truncated {
        /// Bytes that its headers tell of.
        wanted: u64,
        /// Bytes there are.
        found: usize,
    },
    /// It has nothing to load, or pieces below its physical base, overlapping or too large.
    Layout,
    /// Its notes forbid it.
    Notes(NoteError),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("its ELF headers are damaged"),
            Self::WrongMachine => f.write_str("it is no 64-bit x86 kernel"),
            Self::Truncated { wanted, found } => write!(
                f,
                "the file is truncated: its headers tell of {wanted} bytes, there are {found}"
            ),
            Self::Layout => f.write_str("its segments overlap or lie at impossible addresses"),
            Self::Notes(error) => error.fmt(f),
        }
    }
}

/// The most a kernel may take in memory, so that all sums stay small.
const LIMIT: u64 = 1 << 32;

/// Reads an ELF file's headers and notes.
pub(crate) fn parse(file: &[u8]) -> Result<Kernel, ElfError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| {
        match headers_end(file).filter(|end| *end > file.len() as u64) {
            Some(wanted) => ElfError::Truncated {
                wanted,
                found: file.len(),
            },
            None => ElfError::Malformed,
        }
    })?;
    if elf.ehdr.class != Class::ELF64 || elf.ehdr.e_machine != EM_X86_64 {
        return Err(ElfError::WrongMachine);
    }
    let headers = elf.segments().ok_or(ElfError::Malformed)?;
    for header in headers.iter().filter(|h| h.p_type == PT_LOAD) {
        let wanted = header.p_offset.saturating_add(header.p_filesz);
        if wanted > file.len() as u64 {
            return Err(ElfError::Truncated {
                wanted,
                found: file.len(),
            });
        }
    }
    let notes = notes(&elf)?;
    notes.check().map_err(ElfError::Notes)?;

    let paddr_offset = notes.paddr_offset.unwrap_or(0);
    let mut segments = Vec::new();
    for header in headers
        .iter()
        .filter(|h| h.p_type == PT_LOAD && h.p_memsz > 0)
    {
        let place = header
            .p_paddr
            .checked_sub(paddr_offset)
            .ok_or(ElfError::Layout)?;
        if place
            .checked_add(header.p_memsz)
            .is_none_or(|end| end > LIMIT)
            || header.p_filesz > header.p_memsz
        {
            return Err(ElfError::Layout);
        }
        let small = |value: u64| usize::try_from(value).map_err(|_| ElfError::Layout);
        segments.push(Segment {
            file: small(header.p_offset)?,
            file_size: small(header.p_filesz)?,
            place: small(place)?,
            size: small(header.p_memsz)?,
        });
    }
    segments.sort_by_key(|segment| segment.place);
    let apart = |pair: &[Segment]| matches!(pair, [a, b] if a.place + a.size <= b.place);
    if !segments.windows(2).all(apart) {
        return Err(ElfError::Layout);
    }
    let end = segments
        .last()
        .map(|s| s.place + s.size)
        .ok_or(ElfError::Layout)?;
    let base = notes.virt_base.unwrap_or(0);
    if !base.is_multiple_of(PAGE_SIZE) || base.checked_add(end as u64 - 1).is_none() {
        return Err(ElfError::Layout);
    }
    let entry = notes.entry.unwrap_or(elf.ehdr.e_entry);
    Ok(Kernel {
        segments,
        entry,
        base,
        notes,
        end,
    })
}

/// Collects the notes named `Xen`, from note segments or, failing that, note sections.
fn notes(elf: &ElfBytes<'_, LittleEndian>) -> Result<Notes, ElfError> {
    let mut notes = Notes::default();
    let segments = elf.segments().into_iter().flat_map(|table| table.iter());
    for header in segments.filter(|header| header.p_type == PT_NOTE) {
        let found = elf
            .segment_data_as_notes(&header)
            .map_err(|_| ElfError::Malformed)?;
        found.for_each(|note| take(&mut notes, &note));
    }
    if !notes.found {
        let sections = elf
            .section_headers()
            .into_iter()
            .flat_map(|table| table.iter());
        for header in sections.filter(|header| header.sh_type == SHT_NOTE) {
            if let Ok(found) = elf.section_data_as_notes(&header) {
                found.for_each(|note| take(&mut notes, &note));
            }
        }
    }
    Ok(notes)
}

fn take(notes: &mut Notes, note: &Note<'_>) {
    if let Note::Unknown(any) = note
        && any.name_str().is_ok_and(|name| name == "Xen")
        && let Ok(kind) = u32::try_from(any.n_type)
    {
        notes.take(kind, any.desc);
    }
}

/// Where the section headers end, which is at the end of most files: headers that cannot be read
/// mean a truncated file if they lie past its end.
fn headers_end(file: &[u8]) -> Option<u64> {
    let offset = u64::from_le_bytes(*file.get(0x28..)?.first_chunk::<8>()?);
    let [size, count] = [0x3a, 0x3c].map(|at| {
        file.get(at..)
            .and_then(|rest| rest.first_chunk::<2>().copied())
            .map(u16::from_le_bytes)
    });
    offset.checked_add(u64::from(size?) * u64::from(count?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;
    use oxen_abi::elfnote::*;

    /// A small PV kernel: one segment of `code` at 1 MiB with 4 KiB of zeros behind it.
    pub(crate) fn kernel(code: &[u8], notes: &[(u32, &[u8])]) -> Vec<u8> {
        let mut note_data = Vec::new();
        for (kind, value) in notes {
            for word in [4, u32::try_from(value.len()).unwrap(), *kind] {
                note_data.extend_from_slice(&word.to_le_bytes());
            }
            note_data.extend_from_slice(b"Xen\0");
            note_data.extend_from_slice(value);
            note_data.resize(note_data.len().next_multiple_of(4), 0);
        }
        let code_at = 64 + 2 * 56 + note_data.len();
        let mut file = vec![0; 64];
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        file[16] = 2;
        file[18] = 62;
        file[20] = 1;
        file[24..32].copy_from_slice(&0x10_0000u64.to_le_bytes());
        file[32] = 64;
        file[52] = 64;
        file[54] = 56;
        file[56] = 2;
        file[58] = 64;
        let header = |kind: u32, offset: usize, place: u64, size: usize, memory: usize| {
            let mut header = Vec::new();
            header.extend_from_slice(&kind.to_le_bytes());
            header.extend_from_slice(&7u32.to_le_bytes());
            for word in [offset as u64, place, place, size as u64, memory as u64, 4] {
                header.extend_from_slice(&word.to_le_bytes());
            }
            header
        };
        file.extend(header(1, code_at, 0x10_0000, code.len(), code.len() + 4096));
        file.extend(header(4, 64 + 2 * 56, 0, note_data.len(), note_data.len()));
        file.extend(note_data);
        file.extend_from_slice(code);
        file
    }

    pub(crate) const NOTES: [(u32, &[u8]); 3] = [
        (XEN_ELFNOTE_XEN_VERSION, b"xen-3.0\0"),
        (
            XEN_ELFNOTE_VIRT_BASE,
            &0xffff_ffff_8000_0000u64.to_le_bytes(),
        ),
        (XEN_ELFNOTE_ENTRY, &0xffff_ffff_8010_0010u64.to_le_bytes()),
    ];

    #[test]
    fn reads_segments_and_notes() {
        let file = kernel(b"code", &NOTES);
        let kernel = parse(&file).unwrap();
        assert_eq!(kernel.base, 0xffff_ffff_8000_0000);
        assert_eq!(kernel.entry, 0xffff_ffff_8010_0010);
        assert_eq!(kernel.end, 0x10_0000 + 4096 + 4);
        let [segment] = kernel.segments[..] else {
            panic!("{:?}", kernel.segments)
        };
        assert_eq!(
            &file[segment.file..segment.file + segment.file_size],
            b"code"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let file = kernel(b"code", &NOTES);
        assert!(matches!(
            parse(&file[..file.len() - 1]),
            Err(ElfError::Truncated { .. })
        ));
        assert_eq!(parse(&file[..20]), Err(ElfError::Malformed));
        assert_eq!(
            parse(&kernel(b"code", &[])),
            Err(ElfError::Notes(NoteError::NoNotes))
        );
        let mut arm = file;
        arm[18] = 183;
        assert_eq!(parse(&arm), Err(ElfError::WrongMachine));
    }

    proptest::proptest! {
        #[test]
        fn no_damage_panics(at in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut file = kernel(b"code and more of it", &NOTES);
            file.truncate(cut.max(1));
            let at = at % file.len();
            file[at] = byte;
            let _ = parse(&file);
        }
    }
}
