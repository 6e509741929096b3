//! Text on a VGA screen: 80 columns of cells, each a character and its colours.
//!
//! What stands there is kept in memory too: video memory is slow to read, and the first lines come before it is mapped.

/// Columns; other widths are not used.
pub const COLUMNS: usize = 80;
/// Most rows of a text mode.
pub const MAX_ROWS: usize = 60;
/// Light grey on black.
const COLOURS: u16 = 0x0700;

/// Where the cells go: (row, column, cell).
pub type Paint<'a> = &'a mut dyn FnMut(usize, usize, u16);

/// A screen's contents.
#[derive(Debug)]
pub struct Screen {
    cells: [[u8; COLUMNS]; MAX_ROWS],
    rows: usize,
    row: usize,
    column: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// An empty one of 25 rows.
    pub const fn new() -> Self {
        Self {
            cells: [[b' '; COLUMNS]; MAX_ROWS],
            rows: 25,
            row: 0,
            column: 0,
        }
    }

    /// The real screen has this many rows (1 to [`MAX_ROWS`]). The text that fits stays.
    pub fn set_rows(&mut self, rows: usize) {
        self.rows = rows.clamp(1, MAX_ROWS);
        let over = (self.row + 1).saturating_sub(self.rows);
        self.cells.rotate_left(over);
        self.row -= over;
        for row in self.cells.iter_mut().skip(self.rows) {
            *row = [b' '; COLUMNS];
        }
    }

    /// Row and column of the next character.
    pub const fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    /// Rows of the screen.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Puts bytes on the screen: printable ASCII, line feeds, tabs to each eighth column. Others are left out.
    pub fn write(&mut self, bytes: &[u8], paint: Paint<'_>) {
        let mut scrolled = false;
        for byte in bytes {
            match byte {
                b'\n' => scrolled |= self.line_feed(),
                b'\r' => self.column = 0,
                b'\t' => {
                    for _ in 0..8 - self.column % 8 {
                        scrolled |= self.put(b' ', paint);
                    }
                }
                b' '..=b'~' => scrolled |= self.put(*byte, paint),
                _ => {}
            }
        }
        if scrolled {
            self.repaint(paint);
        }
    }

    /// Paints all cells.
    pub fn repaint(&self, paint: Paint<'_>) {
        for (row, cells) in self.cells.iter().enumerate().take(self.rows) {
            for (column, byte) in cells.iter().enumerate() {
                paint(row, column, COLOURS | u16::from(*byte));
            }
        }
    }

    /// Returns whether the screen has scrolled.
    fn put(&mut self, byte: u8, paint: Paint<'_>) -> bool {
        let scrolled = self.column == COLUMNS && self.line_feed();
        if let Some(cell) = self
            .cells
            .get_mut(self.row)
            .and_then(|row| row.get_mut(self.column))
        {
            *cell = byte;
            paint(self.row, self.column, COLOURS | u16::from(byte));
        }
        self.column += 1;
        scrolled
    }

    fn line_feed(&mut self) -> bool {
        self.column = 0;
        self.row += 1;
        let scrolls = self.row == self.rows;
        if scrolls {
            self.scroll();
        }
        scrolls
    }

    fn scroll(&mut self) {
        self.cells.rotate_left(1);
        let last = self.rows.min(MAX_ROWS) - 1;
        for row in self.cells.iter_mut().skip(last) {
            *row = [b' '; COLUMNS];
        }
        self.row = self.row.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(screen: &Screen) -> Vec<String> {
        let mut rows = vec![String::new(); screen.rows()];
        screen.repaint(&mut |row, _, cell| rows[row].push(char::from((cell & 0xff) as u8)));
        rows.iter().map(|row| row.trim_end().to_owned()).collect()
    }

    #[test]
    fn lines_wrap_and_scroll() {
        let mut screen = Screen::new();
        let mut painted = 0;
        screen.write(b"one\n", &mut |_, _, _| painted += 1);
        assert_eq!((painted, screen.cursor()), (3, (1, 0)));
        screen.write(&[b'x'; 85], &mut |_, _, _| ());
        assert_eq!(screen.cursor(), (2, 5));
        for n in 0..40 {
            screen.write(format!("\n{n}").as_bytes(), &mut |_, _, _| ());
        }
        let text = text(&screen);
        assert_eq!(text.len(), 25);
        assert_eq!((text[0].as_str(), text[24].as_str()), ("15", "39"));
    }

    #[test]
    fn what_is_painted_is_what_is_kept() {
        let mut screen = Screen::new();
        let mut video = [[0u16; COLUMNS]; 25];
        screen.repaint(&mut |row, column, cell| video[row][column] = cell);
        for n in 0..100u32 {
            let line = format!("line {n}\t{}\x1b\x07\r\n", "y".repeat(n as usize % 90));
            screen.write(line.as_bytes(), &mut |row, column, cell| {
                video[row][column] = cell
            });
            let mut kept = [[0u16; COLUMNS]; 25];
            screen.repaint(&mut |row, column, cell| kept[row][column] = cell);
            assert!(video == kept, "after line {n}");
        }
    }

    #[test]
    fn a_lower_screen_keeps_the_newest_lines() {
        let mut screen = Screen::new();
        for n in 0..20 {
            screen.write(format!("{n}\n").as_bytes(), &mut |_, _, _| ());
        }
        screen.set_rows(10);
        assert_eq!(text(&screen)[8], "19");
        assert_eq!(screen.cursor(), (9, 0));
        screen.set_rows(1000);
        assert_eq!(screen.rows(), MAX_ROWS);
    }
}
