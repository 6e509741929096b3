//! The XSAVE area: where things are in it, and what its memory means (SDM volume 1, 13.4).

/// Bytes of FXSAVE's image and XSAVE's header.
pub const MINIMUM: usize = 512 + 64;
/// Offset of XSTATE_BV.
pub const HEADER: usize = 512;
/// Offset of MXCSR.
pub const MXCSR: usize = 24;
/// Offset of MXCSR_MASK.
pub const MXCSR_MASK: usize = 28;
/// MXCSR after a reset.
pub const MXCSR_DEFAULT: u32 = 0x1f80;
/// The x87's control word after FNINIT.
pub const FCW_DEFAULT: u16 = 0x37f;

/// The x87's registers, and the XMM registers behind them.
const REGISTERS: usize = 32;
const XMM: usize = 160;
const XMM_END: usize = 416;
/// Bits of XSTATE_BV.
const X87: u32 = 1;
const SSE: u32 = 2;

/// Writes into a legacy image what XSAVEOPT left out: a component whose bit in XSTATE_BV (`present`) is
/// clear is in its initial state, and the memory holds what it was some time before. MXCSR is saved
/// and loaded regardless of that (SDM volume 1, 13.8 and 13.9).
pub fn fill_initial(image: &mut [u8; 512], present: u32) {
    if present & X87 == 0 {
        // Control, status and tag word, opcode, instruction and data pointer.
        image[..MXCSR].fill(0);
        image[..2].copy_from_slice(&FCW_DEFAULT.to_le_bytes());
        image[REGISTERS..XMM].fill(0);
    }
    if present & SSE == 0 {
        image[XMM..XMM_END].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{FCW_DEFAULT, MXCSR, MXCSR_MASK, REGISTERS, XMM, XMM_END, fill_initial};

    #[test]
    fn components_in_their_initial_state_are_not_read_from_old_memory() {
        let stale = [0xa5; 512];
        let mut image = stale;
        fill_initial(&mut image, 3);
        assert_eq!(image, stale, "both components are in memory");

        fill_initial(&mut image, 1);
        assert!(image[XMM..XMM_END].iter().all(|byte| *byte == 0));
        assert_eq!(image[..XMM], stale[..XMM]);

        let mut image = stale;
        fill_initial(&mut image, 2);
        assert_eq!(image[..2], FCW_DEFAULT.to_le_bytes());
        assert!(image[2..MXCSR].iter().all(|byte| *byte == 0));
        assert!(image[REGISTERS..XMM].iter().all(|byte| *byte == 0));
        assert_eq!(image[XMM..XMM_END], stale[XMM..XMM_END]);
        // MXCSR is always there.
        assert_eq!(image[MXCSR..MXCSR_MASK + 4], stale[MXCSR..MXCSR_MASK + 4]);
    }
}
