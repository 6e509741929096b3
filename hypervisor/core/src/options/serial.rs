//! `com1=` and `com2=`: `<baud>[/<clock>][,DPS[,<I/O base>[,<irq>]]]`, any prefix of it.

use super::size::number;

/// Parity of a serial line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// None (`n`).
    None,
    /// Odd (`o`).
    Odd,
    /// Even (`e`).
    Even,
    /// Always one (`m`).
    Mark,
    /// Always zero (`s`).
    Space,
}

/// Settings of a serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Serial {
    /// Bits a second; `None` leaves the port as the boot loader set it (`auto`).
    pub baud: Option<u32>,
    /// Clock of the UART in Hz; 1,843,200 in a PC.
    pub clock: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// First I/O port.
    pub io_base: u16,
    /// Interrupt; 0 = the port is polled.
    pub irq: u8,
}

/// What [`Serial::parse`] takes, for messages.
pub(super) const EXPECTED: &str = "<baud or auto>[/<clock Hz>][,<data bits 5-8><parity n,o,e,m,s><stop bits 1-2>[,<I/O port>[,<irq>]]]";

impl Serial {
    /// The first port of a PC.
    pub const COM1: Self = Self::usual(0x3f8, 4);
    /// The second port of a PC.
    pub const COM2: Self = Self::usual(0x2f8, 3);

    /// The port's usual settings: 115,200 8n1.
    pub const fn usual(io_base: u16, irq: u8) -> Self {
        Self {
            baud: Some(115_200),
            clock: 1_843_200,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            io_base,
            irq,
        }
    }

    /// What the UART divides its clock by, to the nearest; `None` where the boot loader's value
    /// stays.
    pub fn divisor(&self) -> Option<u16> {
        let rate = u64::from(self.baud?) * 16;
        let divisor = (u64::from(self.clock) + rate / 2) / rate;
        Some(u16::try_from(divisor).unwrap_or(u16::MAX).max(1))
    }

    /// Takes what is given and leaves the rest of `self`.
    pub fn parse(self, value: &str) -> Option<Self> {
        let mut new = self;
        let mut parts = value.split(',').map(str::trim);
        let speed = parts.next()?;
        if !speed.is_empty() {
            let (baud, clock) = match speed.split_once('/') {
                Some((baud, clock)) => (baud, Some(clock)),
                None => (speed, None),
            };
            new.baud = match baud {
                "auto" => None,
                _ => Some(
                    number(baud)
                        .and_then(|b| u32::try_from(b).ok())
                        .filter(|b| *b > 0)?,
                ),
            };
            if let Some(clock) = clock {
                new.clock = number(clock)
                    .and_then(|c| u32::try_from(c).ok())
                    .filter(|c| *c >= 16)?;
            }
        }
        if let Some(format) = parts.next().filter(|p| !p.is_empty()) {
            new.set_format(format)?;
        }
        if let Some(base) = parts.next().filter(|p| !p.is_empty()) {
            // The last of the eight registers must have a port number too.
            new.io_base = number(base)
                .and_then(|b| u16::try_from(b).ok())
                .filter(|b| (1..=0xfff8).contains(b))?;
        }
        if let Some(irq) = parts.next().filter(|p| !p.is_empty()) {
            new.irq = number(irq)
                .and_then(|i| u8::try_from(i).ok())
                .filter(|i| *i < 16)?;
        }
        parts.next().is_none().then_some(new)
    }

    fn set_format(&mut self, format: &str) -> Option<()> {
        let &[data, parity, stop] = format.as_bytes() else {
            return None;
        };
        self.data_bits = match data {
            b'5'..=b'8' => data - b'0',
            _ => return None,
        };
        self.parity = match parity {
            b'n' => Parity::None,
            b'o' => Parity::Odd,
            b'e' => Parity::Even,
            b'm' => Parity::Mark,
            b's' => Parity::Space,
            _ => return None,
        };
        self.stop_bits = match stop {
            b'1' | b'2' => stop - b'0',
            _ => return None,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COM1: Serial = Serial::usual(0x3f8, 4);

    #[test]
    fn whole_form_of_the_manual() {
        let serial = COM1.parse("9600,8n1,0x408,5").unwrap();
        let wanted = Serial {
            baud: Some(9600),
            io_base: 0x408,
            irq: 5,
            ..COM1
        };
        assert_eq!(serial, wanted);
    }

    #[test]
    fn prefixes_keep_the_rest() {
        assert_eq!(
            COM1.parse("38400"),
            Some(Serial {
                baud: Some(38400),
                ..COM1
            })
        );
        assert_eq!(COM1.parse("auto"), Some(Serial { baud: None, ..COM1 }));
        let odd = Serial {
            baud: Some(9600),
            data_bits: 7,
            parity: Parity::Odd,
            stop_bits: 2,
            ..COM1
        };
        assert_eq!(COM1.parse("9600,7o2"), Some(odd));
        assert_eq!(
            COM1.parse("115200/3686400"),
            Some(Serial {
                clock: 3_686_400,
                ..COM1
            })
        );
    }

    #[test]
    fn divisors_are_rounded() {
        let divisor = |value: &str| COM1.parse(value).unwrap().divisor();
        assert_eq!(divisor("115200"), Some(1));
        assert_eq!(divisor("9600"), Some(12));
        assert_eq!(divisor("110"), Some(1047));
        assert_eq!(divisor("115200/8000000"), Some(4));
        assert_eq!(divisor("4294967295"), Some(1));
        assert_eq!(divisor("1/4294967295"), Some(u16::MAX));
        assert_eq!(divisor("auto"), None);
    }

    #[test]
    fn wrong_forms() {
        for text in [
            "fast",
            "0",
            "9600,9n1",
            "9600,8x1",
            "9600,8n",
            "9600,8n1,0x10000",
            "9600,8n1,0x3f8,16",
            "9600,8n1,0x3f8,4,x",
        ] {
            assert_eq!(COM1.parse(text), None, "{text}");
        }
    }
}
