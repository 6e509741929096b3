//! Decoding the instructions with which kernels write page-table entries in place: moves,
//! exchanges, and read-modify-write arithmetic with a memory destination (AMD64 APM vol. 3).

/// What an instruction does with its memory operand. `source` values are operands that were read
/// at decoding time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Write the value.
    Store(u64),
    /// Exchange with general register `reg`.
    Exchange { reg: u8, value: u64 },
    /// Compare with the accumulator; store the value if equal, else load the accumulator.
    CompareExchange(u64),
    /// Add, and load register `reg` with the old value.
    ExchangeAdd { reg: u8, value: u64 },
    /// Add.
    Add(u64),
    /// Subtract.
    Subtract(u64),
    /// Bitwise and.
    And(u64),
    /// Bitwise or.
    Or(u64),
    /// Bitwise exclusive or.
    Xor(u64),
    /// Test and set a bit.
    SetBit(u64),
    /// Test and clear a bit.
    ClearBit(u64),
    /// Test and invert a bit.
    FlipBit(u64),
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    /// Length in bytes, 1-15.
    pub(super) length: u8,
    /// Bytes of the memory operand: 1, 2, 4 or 8.
    pub(super) size: u8,
    /// What it does.
    pub(super) action: Action,
    /// Whether a byte register 4-7 means AH-BH (no REX prefix).
    pub(super) high_bytes: bool,
}

/// Reads general register `reg` (0-15, as instructions number them).
pub(super) trait Registers {
    /// Its 64 bits.
    fn get(&self, reg: u8) -> u64;
}

/// Keeps the low `size` bytes.
pub(super) const fn truncate(value: u64, size: u8) -> u64 {
    match size {
        1 => value & 0xff,
        2 => value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    }
}

/// A register operand of `size` bytes.
pub(super) fn operand(regs: &impl Registers, reg: u8, size: u8, high_bytes: bool) -> u64 {
    if size == 1 && high_bytes && (4..8).contains(&reg) {
        return (regs.get(reg - 4) >> 8) & 0xff;
    }
    truncate(regs.get(reg), size)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A sign-extended immediate of 1, 2 or 4 bytes.
    fn immediate(&mut self, size: u8) -> Option<u64> {
        let mut value = 0u64;
        for n in 0..u32::from(size.min(4)) {
            value |= u64::from(self.byte()?) << (8 * n);
        }
        let shift = 64 - 8 * u32::from(size.min(4));
        Some(((value << shift).cast_signed() >> shift).cast_unsigned())
    }

    /// ModRM with SIB and displacement of a memory operand: the `reg` field.
    fn memory_operand(&mut self) -> Option<u8> {
        let modrm = self.byte()?;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return None;
        }
        let mut base = rm;
        if rm == 4 {
            base = self.byte()? & 7;
        }
        let displacement = match mode {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        for _ in 0..displacement {
            self.byte()?;
        }
        Some((modrm >> 3) & 7)
    }
}

/// Decodes the instruction at the start of `bytes` (64-bit mode); `None` if it is none of those
/// that write a page-table entry, or if bytes are missing.
pub(super) fn decode(bytes: &[u8], regs: &impl Registers) -> Option<Instruction> {
    let bytes = bytes.get(..bytes.len().min(15))?;
    let mut code = Cursor { bytes, at: 0 };
    let (mut word, mut rex) = (false, 0u8);
    let mut opcode = code.byte()?;
    loop {
        match opcode {
            0x66 => word = true,
            // Segment overrides, LOCK: no difference here. REP prefixes are not supported.
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 => {}
            _ => break,
        }
        opcode = code.byte()?;
    }
    if opcode & 0xf0 == 0x40 {
        rex = opcode;
        opcode = code.byte()?;
    }
    let two_bytes = opcode == 0x0f;
    if two_bytes {
        opcode = code.byte()?;
    }
    let wide = if rex & 8 != 0 {
        8
    } else if word {
        2
    } else {
        4
    };
    let high_bytes = rex == 0;
    let byte_form = opcode & 1 == 0;
    let size = if byte_form { 1 } else { wide };
    let reg_of = |field: u8| field | ((rex & 4) << 1);
    let value_of = |field: u8, size: u8| operand(regs, reg_of(field), size, high_bytes);

    let (size, action) = match (two_bytes, opcode) {
        (false, 0x00 | 0x01 | 0x08 | 0x09 | 0x20 | 0x21 | 0x28 | 0x29 | 0x30 | 0x31) => {
            let field = code.memory_operand()?;
            (size, arithmetic(opcode >> 3, value_of(field, size))?)
        }
        (false, 0x80 | 0x81 | 0x83) => {
            let field = code.memory_operand()?;
            let length = if opcode == 0x81 { size } else { 1 };
            (
                size,
                arithmetic(field, truncate(code.immediate(length)?, size))?,
            )
        }
        (false, 0x86 | 0x87) => {
            let field = code.memory_operand()?;
            (
                size,
                Action::Exchange {
                    reg: reg_of(field),
                    value: value_of(field, size),
                },
            )
        }
        (false, 0x88 | 0x89) => {
            let field = code.memory_operand()?;
            (size, Action::Store(value_of(field, size)))
        }
        (false, 0xc6 | 0xc7) => {
            if code.memory_operand()? != 0 {
                return None;
            }
            (size, Action::Store(truncate(code.immediate(size)?, size)))
        }
        (true, 0xb0 | 0xb1) => {
            let field = code.memory_operand()?;
            (size, Action::CompareExchange(value_of(field, size)))
        }
        (true, 0xc0 | 0xc1) => {
            let field = code.memory_operand()?;
            (
                size,
                Action::ExchangeAdd {
                    reg: reg_of(field),
                    value: value_of(field, size),
                },
            )
        }
        (true, 0xba) => {
            let field = code.memory_operand()?;
            let bit = code.immediate(1)? & (u64::from(wide) * 8 - 1);
            (wide, bit_operation(field, bit)?)
        }
        // A bit offset in a register can reach past the operand: only offsets within it.
        (true, 0xab | 0xb3 | 0xbb) => {
            let field = code.memory_operand()?;
            let bit = value_of(field, wide);
            if bit >= u64::from(wide) * 8 {
                return None;
            }
            (wide, bit_operation((opcode >> 3) & 7, bit)?)
        }
        _ => return None,
    };
    Some(Instruction {
        length: u8::try_from(code.at).ok()?,
        size,
        action,
        high_bytes,
    })
}

fn arithmetic(operation: u8, value: u64) -> Option<Action> {
    match operation {
        0 => Some(Action::Add(value)),
        1 => Some(Action::Or(value)),
        4 => Some(Action::And(value)),
        5 => Some(Action::Subtract(value)),
        6 => Some(Action::Xor(value)),
        _ => None,
    }
}

fn bit_operation(operation: u8, bit: u64) -> Option<Action> {
    match operation {
        5 => Some(Action::SetBit(bit)),
        6 => Some(Action::ClearBit(bit)),
        7 => Some(Action::FlipBit(bit)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Numbered;
    impl Registers for Numbered {
        fn get(&self, reg: u8) -> u64 {
            0x1111_1111_1111_1111 * u64::from(reg)
        }
    }

    fn one(bytes: &[u8]) -> Option<(u8, u8, Action)> {
        decode(bytes, &Numbered).map(|i| (i.length, i.size, i.action))
    }

    #[test]
    fn decodes_what_kernels_use() {
        // mov %rax,(%rdi)
        assert_eq!(one(&[0x48, 0x89, 0x07]), Some((3, 8, Action::Store(0))));
        // xchg %rbx,(%rdi)
        let value = 0x3333_3333_3333_3333;
        assert_eq!(
            one(&[0x48, 0x87, 0x1f]),
            Some((3, 8, Action::Exchange { reg: 3, value }))
        );
        // lock cmpxchg %rdx,0x8(%rsi)
        let value = 0x2222_2222_2222_2222;
        assert_eq!(
            one(&[0xf0, 0x48, 0x0f, 0xb1, 0x56, 0x08]),
            Some((6, 8, Action::CompareExchange(value)))
        );
        // lock andb $0xfd,(%rdi)
        assert_eq!(
            one(&[0xf0, 0x80, 0x27, 0xfd]),
            Some((4, 1, Action::And(0xfd)))
        );
        // lock btr $5,(%rdi) with REX.W
        assert_eq!(
            one(&[0xf0, 0x48, 0x0f, 0xba, 0x37, 0x05]),
            Some((6, 8, Action::ClearBit(5)))
        );
        // movq $0,(%rsp,%rax,8)
        assert_eq!(
            one(&[0x48, 0xc7, 0x04, 0xc4, 0, 0, 0, 0]),
            Some((8, 8, Action::Store(0)))
        );
        // mov %r9,0x1234(%rip)
        assert_eq!(
            one(&[0x4c, 0x89, 0x0d, 0x34, 0x12, 0, 0]),
            Some((7, 8, Action::Store(0x9999_9999_9999_9999)))
        );
        // Register destination, and an instruction that does not write.
        assert_eq!(one(&[0x48, 0x89, 0xc7]), None);
        assert_eq!(one(&[0x48, 0x8b, 0x07]), None);
        assert_eq!(one(&[0x48, 0x89]), None);
    }

    proptest! {
        #[test]
        fn never_reads_past_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(found) = decode(&bytes, &Numbered) {
                prop_assert!(usize::from(found.length) <= bytes.len().min(15));
                prop_assert!(matches!(found.size, 1 | 2 | 4 | 8));
            }
        }
    }
}
