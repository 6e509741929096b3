//! Amounts of memory with a suffix.

/// An amount of memory, or (negative) what is to be left over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// The amount is subtracted from what is available.
    pub negative: bool,
}

/// Parses a number: decimal, or hexadecimal after `0x`.
pub(super) fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // from_str_radix takes a sign, the options do not.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// Parses a size in bytes: a number and `B`, `K`, `M`, `G` or `T` in either case; without a
/// suffix the unit is kilobytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let (digits, shift) = match text.chars().last()? {
        // In a hexadecimal number a last B is a digit.
        'b' | 'B' if !hex => (text.get(..text.len() - 1)?, 0),
        'k' | 'K' => (text.get(..text.len() - 1)?, 10),
        'm' | 'M' => (text.get(..text.len() - 1)?, 20),
        'g' | 'G' => (text.get(..text.len() - 1)?, 30),
        't' | 'T' => (text.get(..text.len() - 1)?, 40),
        _ => (text, 10),
    };
    number(digits)?.checked_mul(1 << shift)
}

/// Parses a size that may be negative.
pub(super) fn amount(text: &str) -> Option<Amount> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    Some(Amount {
        bytes: size(text)?,
        negative,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_default_unit() {
        assert_eq!(size("1"), Some(1024));
        assert_eq!(size("512M"), Some(512 << 20));
        assert_eq!(size("3g"), Some(3 << 30));
        assert_eq!(size("4096B"), Some(4096));
        assert_eq!(size("0x10K"), Some(16 << 10));
        assert_eq!(size("0x1b"), Some(0x1b << 10));
        assert_eq!(size("2T"), Some(2 << 40));
    }

    #[test]
    fn wrong_sizes() {
        for text in [
            "",
            "M",
            "x",
            "1MB",
            "+1",
            "--1",
            "0x",
            "99999999999999999999",
            "20000000000G",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(
            amount("-1G"),
            Some(Amount {
                bytes: 1 << 30,
                negative: true
            })
        );
        assert_eq!(amount("--1G"), None);
    }
}
