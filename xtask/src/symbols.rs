//! The symbol table that the hypervisor carries for the backtrace of a panic.
//!
//! The hypervisor reserves a section, `.oxen_syms`. After linking, the table is written into it in place: one
//! link, and no address moves. All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `OXSYMS1\0` |
//! | 4 | number of entries |
//! | 8 each | offset of the function from [`IMAGE_BASE`], offset of its name from the start of the table; ascending |
//! | | the names, each ended by a NUL |

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::{SHN_UNDEF, SHT_NOBITS, STT_FUNC};
use elf::endian::LittleEndian;

/// The virtual address that the hypervisor is linked at.
const IMAGE_BASE: u64 = 0xffff_82d0_4000_0000;
const MAGIC: &[u8; 8] = b"OXSYMS1\0";
const SECTION: &str = ".oxen_syms";
/// Generic names can be very long; a shorter limit is tried when the section is too small.
const NAME_LIMITS: [usize; 4] = [160, 96, 64, 40];

/// Writes the table of the functions of the ELF64 `image` into its reserved section.
pub(crate) fn embed(image: &mut [u8]) -> Result<()> {
    let elf =
        ElfBytes::<LittleEndian>::minimal_parse(image).context("not a little-endian ELF file")?;
    let section = elf
        .section_header_by_name(SECTION)?
        .with_context(|| format!("the image has no section {SECTION}"))?;
    ensure!(
        section.sh_type != SHT_NOBITS,
        "section {SECTION} has no contents in the file; reserve it with data, not as bss"
    );
    let start = usize::try_from(section.sh_offset)?;
    let room = usize::try_from(section.sh_size)?;
    let functions = functions(&elf)?;
    let table = NAME_LIMITS
        .iter()
        .map(|&limit| table(&functions, limit))
        .find(|table| table.as_ref().is_ok_and(|bytes| bytes.len() <= room))
        .with_context(|| {
            format!(
                "{} functions do not fit into the {room} bytes of {SECTION}; make the section larger",
                functions.len()
            )
        })??;
    image
        .get_mut(start..start + table.len())
        .context("the section lies outside the file")?
        .copy_from_slice(&table);
    Ok(())
}

/// Offset from the image base and demangled name of each function, by address.
fn functions(elf: &ElfBytes<'_, LittleEndian>) -> Result<Vec<(u32, String)>> {
    let (symbols, names) = elf
        .symbol_table()?
        .context("the image has no symbol table")?;
    let mut functions = Vec::new();
    for symbol in symbols
        .iter()
        .filter(|symbol| symbol.st_symtype() == STT_FUNC)
    {
        let Some(offset) = symbol.st_value.checked_sub(IMAGE_BASE) else {
            continue;
        };
        let Ok(offset) = u32::try_from(offset) else {
            continue;
        };
        let name = names.get(usize::try_from(symbol.st_name)?)?;
        // The alternate form leaves the hash out.
        functions.push((offset, format!("{:#}", rustc_demangle::demangle(name))));
    }
    functions.sort();
    functions.dedup_by_key(|(offset, _)| *offset);
    Ok(functions)
}

/// The functions of an ELF file, for telling what lies at an address.
pub(crate) struct Functions {
    /// By address.
    all: Vec<(u64, String)>,
}

impl Functions {
    /// Reads the symbol table of the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let image = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&image)
            .with_context(|| format!("{} is no little-endian ELF file", path.display()))?;
        let (symbols, names) = elf
            .symbol_table()?
            .with_context(|| format!("{} has no symbol table", path.display()))?;
        let mut all = Vec::new();
        for symbol in symbols.iter().filter(|symbol| symbol.st_shndx != SHN_UNDEF) {
            let name = names.get(usize::try_from(symbol.st_name)?)?;
            all.push((
                symbol.st_value,
                format!("{:#}", rustc_demangle::demangle(name)),
            ));
        }
        all.sort();
        Ok(Self { all })
    }

    /// The last one at or before `address`, within a megabyte.
    pub(crate) fn at(&self, address: u64) -> Option<&str> {
        let behind = self.all.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.all.get(behind.checked_sub(1)?)?;
        (address - start < 1 << 20).then_some(name)
    }

    /// Where a function starts.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        let found = self.all.iter().find(|(_, other)| other == name);
        found.map(|&(address, _)| address)
    }
}

fn table(functions: &[(u32, String)], limit: usize) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    let mut out = MAGIC.to_vec();
    out.extend(u32::try_from(functions.len())?.to_le_bytes());
    let names_start = out.len() + functions.len() * 8;
    for (offset, name) in functions {
        out.extend(offset.to_le_bytes());
        out.extend(u32::try_from(names_start + names.len())?.to_le_bytes());
        names.extend(name.chars().take(limit).collect::<String>().into_bytes());
        names.push(0);
    }
    out.extend(names);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn the_table_is_laid_out_as_documented() {
        let bytes = table(&[(16, "start".into()), (64, "panic".into())], 3).expect("small");
        let mut want = b"OXSYMS1\0".to_vec();
        for word in [2u32, 16, 28, 64, 32] {
            want.extend(word.to_le_bytes());
        }
        want.extend(b"sta\0pan\0");
        assert_eq!(bytes, want);
    }
}
