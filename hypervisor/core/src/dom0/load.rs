//! Bringing a kernel's pieces to their places in memory.

use super::elf::{self, ElfError, Kernel};
use super::payload::{self, BzImage, Format, ImageError, PayloadError};
use core::fmt;

/// What the kernel's file is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Image<'a> {
    /// An ELF file.
    Elf(&'a [u8]),
    /// A compressed one in a bzImage.
    Compressed(BzImage<'a>),
}

/// Why a kernel was not loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LoadError {
    /// It is no kernel's file.
    Image(ImageError),
    /// Its payload cannot be decoded.
    Payload(PayloadError),
    /// The payload has another length than the file says.
    Length {
        /// Bytes it should have.
        wanted: usize,
        /// Bytes it has.
        found: usize,
    },
    /// Its ELF file cannot be used.
    Elf(ElfError),
    /// The memory it was to be loaded to is too small; so much is needed.
    Room(usize),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::Elf(error) => error.fmt(f),
            Self::Length { wanted, found } => {
                write!(f, "its payload has {found} bytes instead of {wanted}")
            }
            Self::Room(size) => write!(f, "it needs {} MiB of memory in one piece", size >> 20),
        }
    }
}

/// Where a file is decoded to. Linux's segments lie 2 MiB into the file and 16 MiB into memory,
/// so most of the kernel is in its place at once when the file begins here.
const DECODE_AT: usize = 14 << 20;

impl<'a> Image<'a> {
    /// Tells what a file is.
    pub(crate) fn new(file: &'a [u8]) -> Result<Self, ImageError> {
        if file.starts_with(b"\x7fELF") {
            return Ok(Self::Elf(file));
        }
        BzImage::parse(file).map(Self::Compressed)
    }

    /// The format's name.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Elf(_) => Format::Elf,
            Self::Compressed(image) => image.format,
        }
    }

    /// How much memory to try to load it to.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Elf(file) => elf::parse(file).map_or(file.len(), |kernel| kernel.end),
            Self::Compressed(image) => image.size.saturating_add(DECODE_AT),
        }
    }

    /// Loads it, with a `pause` now and then: place 0 is the start of `memory`. What no segment covers is zero afterwards,
    /// up to the kernel's end; behind it `memory` holds anything.
    pub(crate) fn load(
        &self,
        memory: &mut [u8],
        pause: &mut dyn FnMut(usize),
    ) -> Result<Kernel, LoadError> {
        match self {
            Self::Elf(file) => load_elf(file, memory),
            Self::Compressed(image) => load_compressed(image, memory, pause),
        }
    }
}

fn load_elf(file: &[u8], memory: &mut [u8]) -> Result<Kernel, LoadError> {
    let kernel = elf::parse(file).map_err(LoadError::Elf)?;
    let memory = memory
        .get_mut(..kernel.end)
        .ok_or(LoadError::Room(kernel.end))?;
    for segment in &kernel.segments {
        let from = file
            .get(segment.file..)
            .and_then(|rest| rest.get(..segment.file_size));
        let to = memory
            .get_mut(segment.place..)
            .and_then(|rest| rest.get_mut(..segment.file_size));
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
    }
    clear_gaps(&kernel, memory);
    Ok(kernel)
}

fn load_compressed(
    image: &BzImage<'_>,
    memory: &mut [u8],
    pause: &mut dyn FnMut(usize),
) -> Result<Kernel, LoadError> {
    let room = image.size.saturating_add(DECODE_AT);
    let area = memory
        .get_mut(DECODE_AT..room)
        .ok_or(LoadError::Room(room))?;
    let found =
        payload::decode(image.format, image.payload, area, pause).map_err(LoadError::Payload)?;
    if found != image.size {
        return Err(LoadError::Length {
            wanted: image.size,
            found,
        });
    }
    let kernel = elf::parse(area).map_err(LoadError::Elf)?;

    // The file must begin where no segment has to move up, so that moving them down one after
    // the other never overwrites what is still to be moved.
    let begin = kernel
        .segments
        .iter()
        .map(|s| s.place.saturating_sub(s.file))
        .max()
        .unwrap_or(0);
    let ascending = |pair: &[_]| matches!(pair, [a, b] if file_end(a) <= b.file);
    if !kernel.segments.windows(2).all(ascending) {
        return Err(LoadError::Elf(ElfError::Layout));
    }
    let needed = kernel.end.max(begin.saturating_add(image.size));
    if needed > memory.len() {
        return Err(LoadError::Room(needed));
    }
    if begin != DECODE_AT {
        memory.copy_within(DECODE_AT..room, begin);
    }
    for segment in &kernel.segments {
        let from = begin + segment.file;
        if from != segment.place {
            memory.copy_within(from..from + segment.file_size, segment.place);
        }
    }
    clear_gaps(&kernel, memory);
    Ok(kernel)
}

fn file_end(segment: &elf::Segment) -> usize {
    segment.file + segment.file_size
}

/// Zeros what is not loaded, up to the kernel's end.
fn clear_gaps(kernel: &Kernel, memory: &mut [u8]) {
    let mut clean = 0;
    for segment in &kernel.segments {
        if let Some(gap) = memory.get_mut(clean..segment.place) {
            gap.fill(0);
        }
        clean = segment.place + segment.file_size;
    }
    if let Some(gap) = memory.get_mut(clean..kernel.end) {
        gap.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::{NOTES, kernel};
    use super::super::payload::test_image as image;
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn check(memory: &[u8], kernel: &Kernel, code: &[u8]) {
        assert!(memory[..0x10_0000].iter().all(|byte| *byte == 0));
        assert_eq!(&memory[0x10_0000..0x10_0000 + code.len()], code);
        assert!(
            memory[0x10_0000 + code.len()..kernel.end]
                .iter()
                .all(|byte| *byte == 0)
        );
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
        file.extend_from_slice(b"vmlinux\0");
        file.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
        file
    }

    #[test]
    fn loads_elf_and_bzimage_alike() {
        let code: Vec<u8> = (0..50_000u32)
            .map(|n| (n * 7 % 251).to_le_bytes()[0])
            .collect();
        let file = kernel(&code, &NOTES);
        let mut memory = vec![0xaa; 32 << 20];
        let loaded = Image::new(&file)
            .unwrap()
            .load(&mut memory, &mut |_| {})
            .unwrap();
        check(&memory, &loaded, &code);
        let zipped = image(&gzip(&file));
        let mut memory = vec![0xaa; 32 << 20];
        let unzipped = Image::new(&zipped)
            .unwrap()
            .load(&mut memory, &mut |_| {})
            .unwrap();
        assert_eq!(loaded, unzipped);
        check(&memory, &unzipped, &code);
    }

    #[test]
    fn says_what_is_wrong() {
        let file = kernel(b"code", &NOTES);
        let mut small = vec![0; 4096];
        let needed = 0x10_0000 + 4096 + 4;
        assert_eq!(
            load_elf(&file, &mut small).unwrap_err(),
            LoadError::Room(needed)
        );
        let mut zipped = gzip(&file);
        zipped[30] ^= 0x55;
        let mut memory = vec![0; 32 << 20];
        let bad = image(&zipped);
        assert!(
            Image::new(&bad)
                .unwrap()
                .load(&mut memory, &mut |_| {})
                .is_err()
        );
    }
}
