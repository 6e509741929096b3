//! The hypervisor's lines on the VGA screen, whose video memory dom0 may map.

use oxen_abi::version::{XEN_COMMANDLINE_LEN, XENVER_COMMANDLINE};

use super::version::text;
use super::{Outcome, Suite, ensure, good, same, skip};
use crate::pagetable::{self, RW};
use crate::sys::frame::Frame;
use crate::sys::probe;

/// Frame of the video memory of text modes.
const VIDEO: u64 = 0xb8;
/// A screen of 80 columns and 25 rows.
const CELLS: usize = 80 * 25;

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("console_io/vga", || {
        let line = text::<XEN_COMMANDLINE_LEN>(XENVER_COMMANDLINE)?;
        if !privileged
            || !line
                .windows(8)
                .any(|word| word == b"vga,keep" || word == b"ent,keep")
        {
            skip!("the hypervisor does not keep the screen");
        }
        let shown = shown()?;
        ensure!(
            shown.windows(15).any(|text| text == b"(XEN) Dom0 has "),
            "the screen shows none of the hypervisor's last lines"
        );
        Ok(())
    });
}

/// The characters on the screen, row after row.
pub(super) fn shown() -> Outcome<[u8; CELLS]> {
    let page = Frame::new();
    same!(
        pagetable::update_va(page.address(), VIDEO << 12 | RW),
        Ok(0)
    );
    let mut shown = [0u8; CELLS];
    for (cells, address) in shown.chunks_mut(4).zip((page.address()..).step_by(8)) {
        let word = good!(probe::read(address)).to_le_bytes();
        for (cell, character) in cells.iter_mut().zip(word.iter().step_by(2)) {
            *cell = *character;
        }
    }
    same!(pagetable::make_writable(page), Ok(0));
    Ok(shown)
}
