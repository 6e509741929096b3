//! What a bank of machine-check registers says (SDM volume 3, chapter 16; AMD64 APM volume 2, chapter 9).

use core::fmt;

const VALID: u64 = 1 << 63;
const OVERFLOW: u64 = 1 << 62;
const UNCORRECTED: u64 = 1 << 61;
const ENABLED: u64 = 1 << 60;
const MISC_VALID: u64 = 1 << 59;
const ADDRESS_VALID: u64 = 1 << 58;
const CONTEXT_CORRUPT: u64 = 1 << 57;

/// IA32_MCG_STATUS: the interrupted instruction can go on.
pub const RESTART_VALID: u64 = 1 << 0;

/// A bank that reports an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bank {
    /// Its number.
    pub number: u32,
    /// MCi_STATUS.
    pub status: u64,
    /// MCi_ADDR, 0 where it says nothing.
    pub address: u64,
    /// MCi_MISC, 0 where it says nothing.
    pub misc: u64,
}

impl Bank {
    /// Reads bank `number`, if it reports an error; `read` reads an MSR.
    pub fn read(number: u32, read: impl Fn(u32) -> Option<u64>) -> Option<Self> {
        let first = 0x400 + 4 * number;
        let status = read(first + 1).filter(|status| status & VALID != 0)?;
        let part = |flag: u64, msr: u32| {
            if status & flag != 0 {
                read(msr).unwrap_or(0)
            } else {
                0
            }
        };
        Some(Self {
            number,
            status,
            address: part(ADDRESS_VALID, first + 2),
            misc: part(MISC_VALID, first + 3),
        })
    }

    /// Whether the hardware has put it right.
    pub const fn is_corrected(&self) -> bool {
        self.status & UNCORRECTED == 0
    }

    /// Whether it is about what the processor is doing now. Uncorrected errors that are not signalled (found by
    /// scrubbing, say) are not.
    pub const fn is_fatal(&self) -> bool {
        !self.is_corrected() && self.status & ENABLED != 0 || self.status & CONTEXT_CORRUPT != 0
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bank {}: status {:#018x} ({}",
            self.number,
            self.status,
            if self.is_corrected() {
                "corrected"
            } else {
                "uncorrected"
            }
        )?;
        for (flag, name) in [
            (CONTEXT_CORRUPT, ", context corrupt"),
            (OVERFLOW, ", others lost"),
        ] {
            if self.status & flag != 0 {
                f.write_str(name)?;
            }
        }
        write!(f, "), error code {:#06x}", self.status & 0xffff)?;
        if self.status & ADDRESS_VALID != 0 {
            write!(f, ", address {:#x}", self.address)?;
        }
        if self.status & MISC_VALID != 0 {
            write!(f, ", misc {:#x}", self.misc)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bank_is_read_as_far_as_it_is_valid() {
        let bank = Bank::read(9, |msr| match msr {
            0x425 => Some(VALID | UNCORRECTED | ENABLED | ADDRESS_VALID | 0x134),
            0x426 => Some(0x1234_5000),
            _ => None,
        })
        .unwrap();
        assert!(bank.is_fatal() && !bank.is_corrected());
        assert_eq!(
            bank.to_string(),
            "bank 9: status 0xb400000000000134 (uncorrected), error code 0x0134, address 0x12345000"
        );
        assert_eq!(Bank::read(9, |_| Some(UNCORRECTED)), None);
        assert_eq!(Bank::read(9, |_| None), None);
    }

    #[test]
    fn corrected_errors_do_not_end_anything() {
        let bank = Bank {
            number: 0,
            status: VALID | ENABLED | OVERFLOW | 0x9f,
            address: 0,
            misc: 0,
        };
        assert!(bank.is_corrected() && !bank.is_fatal());
        assert!(bank.to_string().contains("(corrected, others lost)"));
        let corrupt = Bank {
            status: bank.status | CONTEXT_CORRUPT,
            ..bank
        };
        assert!(corrupt.is_fatal());
    }
}
