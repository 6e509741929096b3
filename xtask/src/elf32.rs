//! Rewrites the hypervisor's ELF64 as the 32-bit ELF that multiboot loaders take.
//!
//! QEMU's `-kernel` refuses a 64-bit ELF, and GRUB's multiboot2 wants load addresses below 4 GiB. The result
//! has the same bytes at the same physical addresses, with `p_vaddr` set to `p_paddr`, the entry point
//! translated likewise, and no sections but the null one, for GRUB takes no file without (since 2.12). The segments lie in the file as they lie in memory, so that a loader
//! which goes by the address fields of the multiboot header (and not by the ELF header) finds them too.

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::{EM_386, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;

/// Where the image starts in the file. Multiboot 1 looks for its header in the first 8 KiB.
const IMAGE_OFFSET: u64 = 0x1000;
/// Gaps between segments are stored as zeros; more than this would be a mistake in the linker script.
const MAX_IMAGE: u64 = 64 << 20;
const EHDR_SIZE: u16 = 52;
const PHDR_SIZE: u16 = 32;
const SHDR_SIZE: u16 = 40;

/// Converts the ELF64 in `image`.
pub(crate) fn convert(image: &[u8]) -> Result<Vec<u8>> {
    let elf =
        ElfBytes::<LittleEndian>::minimal_parse(image).context("not a little-endian ELF file")?;
    let loads: Vec<ProgramHeader> = elf
        .segments()
        .context("the ELF file has no program headers")?
        .iter()
        .filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
        .collect();
    let base = loads
        .iter()
        .map(|load| load.p_paddr)
        .min()
        .context("the ELF file has nothing to load")?;
    let entry = physical_entry(elf.ehdr.e_entry, &loads)?;

    let mut body: Vec<u8> = Vec::new();
    let mut headers = Vec::new();
    for load in &loads {
        let at = load.p_paddr - base;
        let end = at
            .checked_add(load.p_filesz)
            .context("a segment wraps around")?;
        ensure!(
            end <= MAX_IMAGE,
            "the image spans more than {} MiB of memory",
            MAX_IMAGE >> 20
        );
        let (from, to) = (usize::try_from(at)?, usize::try_from(end)?);
        if body.len() < to {
            body.resize(to, 0);
        }
        let data = elf
            .segment_data(load)
            .context("a segment lies outside the file")?;
        body[from..to].copy_from_slice(data);
        headers.push([
            PT_LOAD,
            u32::try_from(IMAGE_OFFSET + at)?,
            low(load.p_paddr)?,
            low(load.p_paddr)?,
            u32::try_from(load.p_filesz)?,
            low(load.p_memsz)?,
            load.p_flags,
            0x1000,
        ]);
    }

    let mut out = file_header(low(entry)?, u16::try_from(headers.len())?);
    for field in headers.iter().flatten() {
        out.extend(field.to_le_bytes());
    }
    // The null section's header is all zeros.
    out.extend([0; SHDR_SIZE as usize]);
    let start = usize::try_from(IMAGE_OFFSET)?;
    ensure!(
        out.len() <= start,
        "too many segments for a multiboot image"
    );
    out.resize(start, 0);
    out.extend(body);
    // The load end of the multiboot header may be rounded up; the loader then reads that far.
    out.resize(out.len().next_multiple_of(0x1000), 0);
    Ok(out)
}

fn low(address: u64) -> Result<u32> {
    u32::try_from(address)
        .with_context(|| format!("physical address {address:#x} is not below 4 GiB"))
}

/// The entry point's load address; an entry that is no virtual address of a segment is physical already.
fn physical_entry(entry: u64, loads: &[ProgramHeader]) -> Result<u64> {
    let inside = |start: u64, load: &ProgramHeader| entry >= start && entry - start < load.p_memsz;
    if let Some(load) = loads.iter().find(|load| inside(load.p_vaddr, load)) {
        return Ok(entry - load.p_vaddr + load.p_paddr);
    }
    if loads.iter().any(|load| inside(load.p_paddr, load)) {
        return Ok(entry);
    }
    bail!("the entry point {entry:#x} lies in no segment")
}

fn file_header(entry: u32, segments: u16) -> Vec<u8> {
    // Class 32, little-endian, version 1, then padding.
    let mut out = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend(ET_EXEC.to_le_bytes());
    out.extend(EM_386.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(entry.to_le_bytes());
    out.extend(u32::from(EHDR_SIZE).to_le_bytes());
    out.extend((u32::from(EHDR_SIZE) + u32::from(segments) * u32::from(PHDR_SIZE)).to_le_bytes());
    out.extend([0; 4]); // no flags
    for field in [EHDR_SIZE, PHDR_SIZE, segments, SHDR_SIZE, 1, 0] {
        out.extend(field.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF64 with one segment: 8 bytes at virtual 0xffff82d040000000, physical 2 MiB, 16 bytes in memory.
    fn sample() -> Vec<u8> {
        let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        out.extend(2u16.to_le_bytes());
        out.extend(62u16.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(0xffff_82d0_4000_0004u64.to_le_bytes());
        out.extend(64u64.to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        for field in [64u16, 56, 1, 0, 0, 0] {
            out.extend(field.to_le_bytes());
        }
        out.extend(PT_LOAD.to_le_bytes());
        out.extend(5u32.to_le_bytes());
        for field in [120u64, 0xffff_82d0_4000_0000, 0x20_0000, 8, 16, 0x1000] {
            out.extend(field.to_le_bytes());
        }
        out.extend(*b"MULTBOOT");
        out
    }

    #[test]
    fn segments_keep_bytes_and_physical_addresses() {
        let low = convert(&sample()).expect("converts");
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&low).expect("is an ELF file");
        assert_eq!(elf.ehdr.e_entry, 0x20_0004);
        let segments: Vec<_> = elf.segments().expect("has segments").iter().collect();
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].p_vaddr, 0x20_0000);
        assert_eq!(segments[0].p_memsz, 16);
        assert_eq!(elf.segment_data(&segments[0]).expect("data"), b"MULTBOOT");
        assert_eq!(&low[0x1000..0x1008], b"MULTBOOT");
        let sections = elf.section_headers().expect("has sections");
        assert_eq!(sections.len(), 1);
        assert_eq!(sections.get(0).expect("the null section").sh_type, 0);
    }

    #[test]
    fn an_address_above_4_gib_is_refused() {
        let mut high = sample();
        high[120 - 32..120 - 24].copy_from_slice(&(1u64 << 33).to_le_bytes());
        assert!(convert(&high).is_err());
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        assert!(convert(b"GRUB").is_err());
    }
}
