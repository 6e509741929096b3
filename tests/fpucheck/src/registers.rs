//! Loading all vector registers, waiting, and storing them again.

use std::arch::{asm, is_x86_feature_detected};
use std::fmt;

/// A value of 256 bits for each of the 16 registers; the XMM registers hold the lower two lanes.
pub(crate) type Pattern = [[u64; 4]; 16];

/// Which registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bank {
    /// 128 bits each, SSE2.
    Xmm,
    /// 256 bits each, AVX. Present where CPUID and XCR0 say so.
    Ymm,
}

impl Bank {
    /// The banks that this CPU and kernel have.
    pub(crate) fn available() -> Vec<Self> {
        if is_x86_feature_detected!("avx") {
            vec![Self::Xmm, Self::Ymm]
        } else {
            vec![Self::Xmm]
        }
    }

    /// Whether a register of the bank differs; lanes that the bank has not do not count.
    pub(crate) fn differs(self, want: &Pattern, got: &Pattern) -> bool {
        let lanes = match self {
            Self::Xmm => 2,
            Self::Ymm => 4,
        };
        want.iter().zip(got).any(|(want, got)| {
            want.iter()
                .zip(got)
                .take(lanes)
                .any(|(want, got)| want != got)
        })
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xmm => "xmm",
            Self::Ymm => "ymm",
        })
    }
}

/// One block: load the 16 registers with the instruction named, count down, store them.
macro_rules! hold {
    ($mov:literal, $reg:literal, $pattern:expr, $out:expr, $turns:expr) => {
        asm!(
            hold!(@load $mov, $reg, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            "2: dec {turns}",
            "jnz 2b",
            hold!(@store $mov, $reg, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            from = in(reg) $pattern,
            to = in(reg) $out,
            turns = inout(reg) $turns => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack),
        )
    };
    (@load $mov:literal, $reg:literal, $($n:literal),*) => {
        concat!($($mov, " ", $reg, $n, ", [{from} + ", $n, " * 32]\n",)*)
    };
    (@store $mov:literal, $reg:literal, $($n:literal),*) => {
        concat!($($mov, " [{to} + ", $n, " * 32], ", $reg, $n, "\n",)*)
    };
}

/// Holds `pattern` in the registers of `bank` for `turns` iterations of an empty loop; returns what they held then.
pub(crate) fn hold(bank: Bank, pattern: &Pattern, turns: u64) -> Pattern {
    let mut out: Pattern = [[0; 4]; 16];
    let turns = turns.max(1);
    match bank {
        // SAFETY: reads 16 bytes at each of 16 offsets of 32 in `pattern` (512 bytes) and writes likewise to
        // `out`, both live for the call; SSE2 is part of x86-64; every register touched is declared.
        Bank::Xmm => unsafe { hold!("movdqu", "xmm", pattern.as_ptr(), out.as_mut_ptr(), turns) },
        // SAFETY: as above with 32 bytes at each offset; a `Bank::Ymm` is handed out only where AVX was detected.
        Bank::Ymm => unsafe {
            hold!("vmovdqu", "ymm", pattern.as_ptr(), out.as_mut_ptr(), turns);
        },
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Bank, Pattern, hold};

    #[test]
    fn registers_come_back_as_they_were() {
        let pattern: Pattern =
            std::array::from_fn(|r| std::array::from_fn(|l| (r as u64) << 8 | l as u64));
        for bank in Bank::available() {
            assert!(
                !bank.differs(&pattern, &hold(bank, &pattern, 1000)),
                "{bank}"
            );
        }
    }

    #[test]
    fn a_changed_register_is_seen() {
        let pattern: Pattern = [[7; 4]; 16];
        let mut other = pattern;
        other[15][3] = 8;
        assert!(Bank::Ymm.differs(&pattern, &other));
        assert!(!Bank::Xmm.differs(&pattern, &other));
    }
}
