//! The few privileged instructions that are emulated for PV guests, taken apart (SDM volume 2).

/// The most bytes an instruction has.
pub(super) const MAX_LENGTH: usize = 15;

/// A segment override that has a meaning in 64-bit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    /// FS.
    Fs,
    /// GS.
    Gs,
}

/// A port's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Port {
    /// In the instruction.
    Immediate(u8),
    /// In DX.
    Dx,
}

/// What an instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// IN.
    In(Port),
    /// OUT.
    Out(Port),
    /// INS.
    Ins,
    /// OUTS.
    Outs,
    /// CLI or STI.
    InterruptFlag,
    /// CLTS.
    Clts,
    /// INVD or WBINVD.
    FlushCache,
    /// MOV from a control register to a general one.
    ReadCr {
        /// Control register.
        cr: u8,
        /// General register.
        gpr: u8,
    },
    /// MOV to a control register from a general one.
    WriteCr {
        /// Control register.
        cr: u8,
        /// General register.
        gpr: u8,
    },
    /// MOV from a debug register.
    ReadDr {
        /// Debug register.
        dr: u8,
        /// General register.
        gpr: u8,
    },
    /// MOV to a debug register.
    WriteDr {
        /// Debug register.
        dr: u8,
        /// General register.
        gpr: u8,
    },
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// XSETBV.
    Xsetbv,
    /// RDTSC.
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// CPUID.
    Cpuid,
}

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    /// What it does.
    pub(super) operation: Operation,
    /// Its length in bytes, 1 to 15.
    pub(super) length: u8,
    /// Operand size in bytes: 1, 2 or 4 (port operations; 8 counts as 4 there).
    pub(super) size: u8,
    /// Address size in bytes: 2, 4 or 8.
    pub(super) address_size: u8,
    /// REP or REPNE.
    pub(super) repeat: bool,
    /// Segment override.
    pub(super) segment: Option<Segment>,
}

struct Bytes<'a> {
    code: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.code.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }
}

/// Takes the instruction at the start of `code` apart. `None` if it is none of those that are
/// emulated, or not all there. `long` = the code segment is a 64-bit one.
pub(super) fn decode(code: &[u8], long: bool) -> Option<Instruction> {
    let code = code.get(..MAX_LENGTH).unwrap_or(code);
    let mut bytes = Bytes { code, at: 0 };
    let (mut operand16, mut short_address, mut repeat, mut segment) = (false, false, false, None);
    let mut rex = 0;
    let opcode = loop {
        let byte = bytes.next()?;
        // REX counts only directly before the opcode.
        match byte {
            0x66 => operand16 = true,
            0x67 => short_address = true,
            0xf2 | 0xf3 => repeat = true,
            0x64 => segment = Some(Segment::Fs),
            0x65 => segment = Some(Segment::Gs),
            0x26 | 0x2e | 0x36 | 0x3e => segment = None,
            0x40..=0x4f if long => {
                rex = byte;
                continue;
            }
            _ => break byte,
        }
        rex = 0;
    };
    let wide = if operand16 { 2 } else { 4 };
    let mut size = wide;
    let operation = match opcode {
        0x6c..=0x6f | 0xe4..=0xe7 | 0xec..=0xef => {
            if opcode & 1 == 0 {
                size = 1;
            }
            port_operation(opcode, &mut bytes)?
        }
        0xfa | 0xfb => Operation::InterruptFlag,
        0x0f => two_bytes(&mut bytes, rex)?,
        _ => return None,
    };
    let address_size = match (long, short_address) {
        (true, false) => 8,
        (true, true) | (false, false) => 4,
        (false, true) => 2,
    };
    let length = u8::try_from(bytes.at).ok()?;
    Some(Instruction {
        operation,
        length,
        size,
        address_size,
        repeat,
        segment,
    })
}

fn port_operation(opcode: u8, bytes: &mut Bytes<'_>) -> Option<Operation> {
    Some(match opcode {
        0x6c | 0x6d => Operation::Ins,
        0x6e | 0x6f => Operation::Outs,
        0xe4 | 0xe5 => Operation::In(Port::Immediate(bytes.next()?)),
        0xe6 | 0xe7 => Operation::Out(Port::Immediate(bytes.next()?)),
        0xec | 0xed => Operation::In(Port::Dx),
        _ => Operation::Out(Port::Dx),
    })
}

/// Opcodes after 0F.
fn two_bytes(bytes: &mut Bytes<'_>, rex: u8) -> Option<Operation> {
    let opcode = bytes.next()?;
    Some(match opcode {
        0x01 => match bytes.next()? {
            0xd1 => Operation::Xsetbv,
            0xf9 => Operation::Rdtscp,
            _ => return None,
        },
        0x06 => Operation::Clts,
        0x08 | 0x09 => Operation::FlushCache,
        0x20..=0x23 => {
            // The mod field is ignored: it is always a register.
            let modrm = bytes.next()?;
            let special = ((modrm >> 3) & 7) | ((rex & 4) << 1);
            let gpr = (modrm & 7) | ((rex & 1) << 3);
            match opcode {
                0x20 => Operation::ReadCr { cr: special, gpr },
                0x21 => Operation::ReadDr { dr: special, gpr },
                0x22 => Operation::WriteCr { cr: special, gpr },
                _ => Operation::WriteDr { dr: special, gpr },
            }
        }
        0x30 => Operation::Wrmsr,
        0x31 => Operation::Rdtsc,
        0x32 => Operation::Rdmsr,
        0xa2 => Operation::Cpuid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Instruction, MAX_LENGTH, Operation, Port, Segment, decode};

    fn operation(code: &[u8]) -> Option<Operation> {
        decode(code, true).map(|instruction| instruction.operation)
    }

    #[test]
    fn port_instructions() {
        assert_eq!(
            decode(&[0xe6, 0x80, 0x90], true),
            Some(Instruction {
                operation: Operation::Out(Port::Immediate(0x80)),
                length: 2,
                size: 1,
                address_size: 8,
                repeat: false,
                segment: None,
            })
        );
        let word = decode(&[0x66, 0xed], true).expect("in ax, dx");
        assert_eq!(
            (word.operation, word.size, word.length),
            (Operation::In(Port::Dx), 2, 2)
        );
        let outs = decode(&[0xf3, 0x64, 0x48, 0x6f], true).expect("rep outs");
        assert_eq!(
            (outs.operation, outs.size, outs.repeat),
            (Operation::Outs, 4, true)
        );
        assert_eq!(outs.segment, Some(Segment::Fs));
        assert_eq!(decode(&[0x67, 0x6c], true).expect("ins").address_size, 4);
    }

    #[test]
    fn system_registers() {
        assert_eq!(
            operation(&[0x0f, 0x20, 0xc0]),
            Some(Operation::ReadCr { cr: 0, gpr: 0 })
        );
        assert_eq!(
            operation(&[0x41, 0x0f, 0x22, 0xe1]),
            Some(Operation::WriteCr { cr: 4, gpr: 9 })
        );
        assert_eq!(
            operation(&[0x44, 0x0f, 0x20, 0xc3]),
            Some(Operation::ReadCr { cr: 8, gpr: 3 })
        );
        assert_eq!(
            operation(&[0x0f, 0x23, 0xf8]),
            Some(Operation::WriteDr { dr: 7, gpr: 0 })
        );
        assert_eq!(operation(&[0x0f, 0x01, 0xd1]), Some(Operation::Xsetbv));
    }

    #[test]
    fn others_and_cut_off_ones_are_refused() {
        for code in [
            &[0x90][..],
            &[0x0f],
            &[0x0f, 0x20],
            &[0xe4],
            &[0x66],
            &[],
            &[0x0f, 0x01, 0xd0],
            &[0xf4],
        ] {
            assert_eq!(operation(code), None, "{code:x?}");
        }
        // Sixteen bytes are too many.
        let mut long = [0x66; 16];
        long[15] = 0xec;
        assert_eq!(operation(&long), None);
        // In 32-bit code this is INC, not REX.
        assert_eq!(decode(&[0x48, 0xec], false), None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_sane_answer(code in proptest::collection::vec(any::<u8>(), 0..20), long: bool) {
            if let Some(found) = decode(&code, long) {
                let length = usize::from(found.length);
                prop_assert!(length >= 1 && length <= code.len().min(MAX_LENGTH));
                prop_assert!(matches!(found.size, 1 | 2 | 4));
                // The rest of the bytes does not matter.
                prop_assert_eq!(decode(&code[..length], long), Some(found));
            }
        }
    }
}
