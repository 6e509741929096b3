//! AMD's format: containers one after the other. Each begins with a magic word and a table that maps signatures of
//! processors to short numbers; updates follow, which name these numbers. Table and updates are sections with a type and
//! a length in front.
//!
//! | offset in an update | what |
//! |---|---|
//! | 4 | revision |
//! | 16, 20 | chipset that it is for; never used |
//! | 24 | number of the processor |

use super::{Found, Processor, length, word};

/// What a container begins with.
const MAGIC: u32 = 0x0041_4d44;
/// Types of sections.
const TABLE: u32 = 0;
const UPDATE: u32 = 1;
/// Of an entry of the table: signature, two words about errata, the number, a reserved half.
const TABLE_ENTRY: usize = 16;
/// Of an update.
const HEADER: usize = 64;

/// Looks for the newest update. The second value says that the whole file is well-formed.
pub(super) fn choose<'a>(mut file: &'a [u8], processor: &Processor) -> (Option<Found<'a>>, bool) {
    let mut best = None;
    // The processor's number in this container; there is a container from the first table on.
    let mut number = None;
    let mut inside = false;
    while !file.is_empty() {
        let container = word(file, 0) == Some(MAGIC);
        if container {
            file = file.get(4..).unwrap_or_default();
        }
        let want = if container { TABLE } else { UPDATE };
        let Some((content, rest)) = section(file, want).filter(|_| container || inside) else {
            return (best, false);
        };
        if container {
            number = find(content, processor.signature);
            inside = true;
        } else {
            let Some(header) = content.get(..HEADER) else {
                return (best, false);
            };
            if let Some(found) = found(content, header, number) {
                best = Found::newer(best, found);
            }
        }
        file = rest;
    }
    (best, true)
}

/// The content of the section that `file` begins with, if its type is `kind`, and what follows it.
fn section(file: &[u8], kind: u32) -> Option<(&[u8], &[u8])> {
    let length = length(file, 4)?;
    let right = word(file, 0)? == kind;
    let (content, rest) = file.get(8..)?.split_at_checked(length)?;
    right.then_some((content, rest))
}

/// The number of the processor with this signature. The table ends at a signature of zero.
fn find(table: &[u8], signature: u32) -> Option<u16> {
    let (entries, _) = table.as_chunks::<TABLE_ENTRY>();
    let entry = entries
        .iter()
        .take_while(|entry| word(*entry, 0) != Some(0))
        .find(|entry| word(*entry, 0) == Some(signature))?;
    let number = entry.get(12..)?.first_chunk()?;
    Some(u16::from_le_bytes(*number)).filter(|number| *number != 0)
}

fn found<'a>(bytes: &'a [u8], header: &[u8], number: Option<u16>) -> Option<Found<'a>> {
    let own = header.get(24..)?.first_chunk()?;
    let meant = number == Some(u16::from_le_bytes(*own))
        && (word(header, 16)?, word(header, 20)?) == (0, 0);
    meant.then_some(Found {
        revision: word(header, 4)?,
        bytes,
    })
}
