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

/// Components: x87 and SSE.
pub const X87_SSE: u64 = 3;
/// AVX.
pub const AVX: u64 = 4;
/// AVX-512's three.
pub const AVX512: u64 = 0xe0;

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

/// Whether a value of XCR0 is one that can be, on a host with the components `mask` (SDM volume 1, 13.3).
pub const fn is_xcr0(value: u64, mask: u64) -> bool {
    value & !mask == 0
        && value & 1 != 0
        && (value & AVX == 0 || value & X87_SSE == X87_SSE)
        && (value & AVX512 == 0 || (value & AVX512 == AVX512 && value & AVX != 0))
}

/// Whether bytes are an XSAVE area of the standard format with components of `mask`: long enough for the
/// header, whose other words than XSTATE_BV are zero (SDM volume 1, 13.4.2).
pub fn is_standard(area: &[u8], mask: u64) -> bool {
    let Some(header) = area.get(HEADER..MINIMUM) else {
        return false;
    };
    let mut words = header
        .chunks_exact(8)
        .map(|word| word.try_into().map_or(u64::MAX, u64::from_le_bytes));
    words.next().is_some_and(|present| present & !mask == 0) && words.all(|word| word == 0)
}

#[cfg(test)]
mod tests {
    use super::{
        AVX, AVX512, FCW_DEFAULT, HEADER, MINIMUM, MXCSR, MXCSR_MASK, REGISTERS, X87_SSE, XMM,
        XMM_END, fill_initial, is_standard, is_xcr0,
    };

    #[test]
    fn xcr0_has_rules() {
        let all = X87_SSE | AVX | AVX512;
        for good in [1, 3, 7, all] {
            assert!(is_xcr0(good, all), "{good:#x}");
        }
        for bad in [0, 2, 5, 4, 0x27, 0xe3, 0x1_0007] {
            assert!(!is_xcr0(bad, all), "{bad:#x}");
        }
        assert!(!is_xcr0(7, X87_SSE));
    }

    #[test]
    fn an_area_has_a_header() {
        let mut area = [0; MINIMUM];
        assert!(is_standard(&area, 7));
        assert!(!is_standard(&area[..MINIMUM - 1], 7));
        area[HEADER] = 7;
        assert!(is_standard(&area, 7));
        assert!(!is_standard(&area, 3));
        // The compacted format, and reserved words.
        for at in [HEADER + 15, HEADER + 16, MINIMUM - 1] {
            area[at] = 0x80;
            assert!(!is_standard(&area, 7));
            area[at] = 0;
        }
    }

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
