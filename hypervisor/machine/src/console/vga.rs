//! The VGA screen in text mode, as the boot loader left it.

use core::fmt;

use super::screen::{COLUMNS, MAX_ROWS, Screen};
use crate::paging::{Mmio, map_mmio};
use crate::pio;

/// Video memory of the colour text modes.
const VIDEO_MEMORY: u64 = 0xb_8000;
const VIDEO_SIZE: u64 = 0x8000;
/// CRT controller: index and data.
const CRTC: u16 = 0x3d4;
/// Graphics controller: index and data.
const GRAPHICS: u16 = 0x3ce;
/// Miscellaneous output register, to be read.
const MISCELLANEOUS: u16 = 0x3cc;

/// A screen, and video memory once it is mapped.
pub(super) struct Vga {
    /// It is used.
    used: bool,
    screen: Screen,
    memory: Option<Mmio>,
}

impl fmt::Debug for Vga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VGA text at {:?}", self.memory)
    }
}

fn register(port: u16, index: u8) -> u8 {
    pio::outb(port, index);
    pio::inb(port + 1)
}

/// Rows of the text mode that the screen is in; `None` if there is no VGA, or it shows graphics.
fn text_rows() -> Option<usize> {
    if pio::inb(MISCELLANEOUS) == 0xff {
        return None;
    }
    // Graphics controller 6: no graphics, memory at 0xb8000.
    if register(GRAPHICS, 6) & 0xf != 0xe || usize::from(register(CRTC, 1)) + 1 != COLUMNS {
        return None;
    }
    let overflow = register(CRTC, 7);
    let lines = u16::from(register(CRTC, 0x12))
        | u16::from(overflow & 1 << 1) << 7
        | u16::from(overflow & 1 << 6) << 3;
    let height = u16::from(register(CRTC, 9) & 0x1f) + 1;
    let rows = usize::from((lines + 1) / height);
    (1..=MAX_ROWS).contains(&rows).then_some(rows)
}

impl Vga {
    /// A screen that is not used.
    pub(super) const fn new() -> Self {
        Self {
            used: false,
            screen: Screen::new(),
            memory: None,
        }
    }

    /// Uses the screen if it is in text mode. Video memory is not written yet.
    pub(super) fn find(&mut self) {
        if let Some(rows) = text_rows() {
            self.screen.set_rows(rows);
            self.used = true;
        }
    }

    /// Leaves the screen alone from here on.
    pub(super) fn release(&mut self) {
        self.used = false;
    }

    /// Shows what has been written so far, and all that comes. The page tables are the hypervisor's own.
    pub(super) fn attach(&mut self) {
        if !self.used {
            return;
        }
        self.memory = map_mmio(VIDEO_MEMORY, VIDEO_SIZE).ok();
        if let Some(memory) = self.memory {
            self.screen
                .repaint(&mut |row, column, cell| paint(&memory, row, column, cell));
            self.move_cursor();
        }
    }

    /// Writes text.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if !self.used {
            return;
        }
        let memory = self.memory;
        self.screen.write(bytes, &mut |row, column, cell| {
            if let Some(memory) = &memory {
                paint(memory, row, column, cell);
            }
        });
        if memory.is_some() {
            self.move_cursor();
        }
    }

    /// Row of the cursor and rows of the screen, if it is used.
    pub(super) fn rows(&self) -> Option<(usize, usize)> {
        self.used
            .then(|| (self.screen.cursor().0, self.screen.rows()))
    }

    fn move_cursor(&self) {
        let (row, column) = self.screen.cursor();
        let place = row * COLUMNS + column.min(COLUMNS - 1);
        for (index, byte) in [(0xe, place >> 8), (0xf, place & 0xff)] {
            pio::outb(CRTC, index);
            pio::outb(CRTC + 1, u8::try_from(byte).unwrap_or(0));
        }
    }
}

fn paint(memory: &Mmio, row: usize, column: usize, cell: u16) {
    memory.write16(2 * (row * COLUMNS + column) as u64, cell);
}
