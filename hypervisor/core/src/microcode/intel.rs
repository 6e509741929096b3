//! Intel's format: updates one after the other (SDM volume 3, 10.11.1).
//!
//! | offset | what |
//! |---|---|
//! | 0 | version of the header: 1 |
//! | 4 | revision of the update |
//! | 12 | signature of the processor |
//! | 16 | makes the sum of all words of header and data zero |
//! | 20 | version of the loader: 1 |
//! | 24 | a bit for each platform |
//! | 28, 32 | bytes of the data, and of the whole; both 0 stand for 2,000 and 2,048 |
//! | 48 | the data; behind them perhaps a table of further signatures |

use super::{Found, Processor, length, word};

const HEADER: usize = 48;
const USUAL: (usize, usize) = (2000, 2048);
/// Of the table: a count, a sum, three reserved words.
const TABLE_HEADER: usize = 20;
/// Of its entries: signature, platforms, and the sum that the update had with these in its header.
const TABLE_ENTRY: usize = 12;

/// An update whose lengths and sums are right.
struct Update<'a> {
    whole: &'a [u8],
    /// Header and data.
    main: &'a [u8],
    /// Entries of the table.
    table: &'a [u8],
}

/// Looks for the newest update. The second value says that the whole file is well-formed.
pub(super) fn choose<'a>(mut file: &'a [u8], processor: &Processor) -> (Option<Found<'a>>, bool) {
    let mut best = None;
    while !file.is_empty() {
        let Some(update) = Update::parse(file) else {
            return (best, false);
        };
        if let Some(found) = update.found(processor) {
            best = Found::newer(best, found);
        }
        file = file.get(update.whole.len()..).unwrap_or_default();
    }
    (best, true)
}

impl<'a> Update<'a> {
    /// The update that `file` begins with.
    fn parse(file: &'a [u8]) -> Option<Self> {
        if word(file, 0)? != 1 || word(file, 20)? != 1 {
            return None;
        }
        let (data, total) = match length(file, 28)? {
            0 => USUAL,
            data => (data, length(file, 32)?),
        };
        let whole = file.get(..total)?;
        let main = whole.get(..data.checked_add(HEADER)?)?;
        let table = whole.get(main.len()..)?;
        if sum(main)? != 0 {
            return None;
        }
        let update = Self {
            whole,
            main,
            table: table.get(TABLE_HEADER..).unwrap_or_default(),
        };
        let right = table.is_empty()
            || sum(table)? == 0
                && length(table, 0)?.checked_mul(TABLE_ENTRY)? == update.table.len()
                && update.entries().all(|entry| update.stands_in(entry));
        right.then_some(update)
    }

    fn entries(&self) -> impl Iterator<Item = &'a [u8]> {
        self.table.chunks_exact(TABLE_ENTRY)
    }

    /// Whether the sum stays zero with an entry of the table in the header's place.
    fn stands_in(&self, entry: &[u8]) -> bool {
        let own = [12, 24, 16].map(|at| word(self.main, at).unwrap_or(0));
        own.into_iter().fold(0u32, u32::wrapping_add) == sum(entry).unwrap_or(0)
    }

    fn found(&self, processor: &Processor) -> Option<Found<'a>> {
        let fits = |signature: Option<u32>, platforms: Option<u32>| {
            signature == Some(processor.signature)
                && platforms.is_some_and(|platforms| platforms & processor.platform != 0)
        };
        let meant = fits(word(self.main, 12), word(self.main, 24))
            || self
                .entries()
                .any(|entry| fits(word(entry, 0), word(entry, 4)));
        meant.then_some(Found {
            revision: word(self.main, 4)?,
            bytes: self.main,
        })
    }
}

/// The sum of all words; `None` for a part of a word.
fn sum(bytes: &[u8]) -> Option<u32> {
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u32::from_le_bytes(*word));
    rest.is_empty().then(|| words.fold(0, u32::wrapping_add))
}
