//! The services that are called: what goes into registers, what comes out, and whether it may be believed.

use super::area::BUFFER_SIZE;

/// Bytes of a display's description.
const EDID: usize = 128;
/// Bytes of a disk's parameters.
const PARAMETERS: usize = 74;

const DISPLAY: u8 = 0x10;
const DISK: u8 = 0x13;
const KEYBOARD: u8 = 0x16;

/// EFLAGS.CF: the service failed.
const CARRY: u16 = 1;

/// The registers of a call, before and after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(super) struct Registers {
    pub(super) eax: u32,
    pub(super) ebx: u32,
    pub(super) ecx: u32,
    pub(super) edx: u32,
    pub(super) esi: u32,
    pub(super) edi: u32,
    pub(super) ds: u16,
    pub(super) es: u16,
    /// After the call only.
    pub(super) flags: u16,
    pub(super) _padding: u16,
}

impl Registers {
    const fn failed(&self) -> bool {
        self.flags & CARRY != 0
    }

    const fn ah(&self) -> u8 {
        self.eax.to_le_bytes()[1]
    }

    const fn bx(&self) -> u16 {
        (self.ebx & 0xffff) as u16
    }

    const fn cx(&self) -> u16 {
        (self.ecx & 0xffff) as u16
    }
}

/// A CPU that can go to real mode and execute an interrupt there.
pub(super) trait Interrupts {
    /// The segment that begins with the buffer.
    fn segment(&self) -> u16;
    /// What the BIOS reads and writes. It is at offset 0 of [`Interrupts::segment`].
    fn buffer(&mut self) -> &mut [u8; BUFFER_SIZE];
    /// Executes software interrupt `number`.
    fn interrupt(&mut self, number: u8, registers: &mut Registers);
}

/// Interrupt 16h, AH=02h: shift keys and locks.
pub(super) fn shift_flags(cpu: &mut impl Interrupts) -> u8 {
    let mut registers = Registers {
        eax: 0x0200,
        ..Registers::default()
    };
    cpu.interrupt(KEYBOARD, &mut registers);
    registers.eax.to_le_bytes()[0]
}

/// Interrupt 13h, AH=41h: version and interfaces of a disk's extended services (EDD 3.0, 8.1).
pub(super) fn extensions(cpu: &mut impl Interrupts, disk: u8) -> Option<(u8, u16)> {
    let mut registers = Registers {
        eax: 0x4100,
        ebx: 0x55aa,
        edx: disk.into(),
        ..Registers::default()
    };
    cpu.interrupt(DISK, &mut registers);
    let there = !registers.failed() && registers.bx() == 0xaa55;
    there.then(|| (registers.ah(), registers.cx()))
}

/// Interrupt 13h, AH=48h: a disk's parameters, which begin with their length (EDD 3.0, 8.8).
pub(super) fn parameters(cpu: &mut impl Interrupts, disk: u8) -> Option<[u8; PARAMETERS]> {
    // The room there is, and a word of flags that some want to be zero.
    clear(cpu);
    let room = cpu.buffer().first_chunk_mut()?;
    *room = u16::try_from(PARAMETERS).ok()?.to_le_bytes();
    let mut registers = Registers {
        eax: 0x4800,
        edx: disk.into(),
        ds: cpu.segment(),
        ..Registers::default()
    };
    cpu.interrupt(DISK, &mut registers);
    if registers.failed() || registers.ah() != 0 {
        return None;
    }
    cpu.buffer().first_chunk().copied()
}

/// Interrupt 13h, AH=08h: a disk's last cylinder, its last head, and the sectors of a track.
pub(super) fn geometry(cpu: &mut impl Interrupts, disk: u8) -> Option<(u16, u8, u8)> {
    // ES:DI is null: some look at it.
    let mut registers = Registers {
        eax: 0x0800,
        edx: disk.into(),
        ..Registers::default()
    };
    cpu.interrupt(DISK, &mut registers);
    if registers.failed() || registers.ah() != 0 {
        return None;
    }
    let [sectors, cylinder] = registers.cx().to_le_bytes();
    let head = registers.edx.to_le_bytes()[1];
    let cylinder = u16::from(cylinder) | u16::from(sectors & 0xc0) << 2;
    Some((cylinder, head, sectors & 0x3f))
}

/// Interrupt 13h, AH=02h: a disk's first sector.
pub(super) fn first_sector(cpu: &mut impl Interrupts, disk: u8) -> Option<[u8; BUFFER_SIZE]> {
    clear(cpu);
    // One sector: cylinder 0, sector 1, head 0.
    let mut registers = Registers {
        eax: 0x0201,
        ecx: 0x0001,
        edx: disk.into(),
        es: cpu.segment(),
        ..Registers::default()
    };
    cpu.interrupt(DISK, &mut registers);
    let read = !registers.failed() && registers.ah() == 0;
    read.then(|| *cpu.buffer())
}

/// Interrupt 10h, AX=4F15h, BL=00h: what the display's channel can do, and the seconds that a block takes (VBE/DDC 1.0).
pub(super) fn display_channel(cpu: &mut impl Interrupts) -> Option<(u8, u8)> {
    let mut registers = Registers {
        eax: 0x4f15,
        ..Registers::default()
    };
    cpu.interrupt(DISPLAY, &mut registers);
    let [capabilities, seconds] = registers.bx().to_le_bytes();
    done(&registers).then_some((capabilities, seconds))
}

/// Interrupt 10h, AX=4F15h, BL=01h: the first block of the display's description of itself.
pub(super) fn edid(cpu: &mut impl Interrupts) -> Option<[u8; EDID]> {
    clear(cpu);
    let mut registers = Registers {
        eax: 0x4f15,
        ebx: 1,
        es: cpu.segment(),
        ..Registers::default()
    };
    cpu.interrupt(DISPLAY, &mut registers);
    if !done(&registers) {
        return None;
    }
    cpu.buffer().first_chunk().copied()
}

/// A display service is there (AL = 4Fh) and has succeeded (AH = 0).
const fn done(registers: &Registers) -> bool {
    registers.eax & 0xffff == 0x004f
}

fn clear(cpu: &mut impl Interrupts) {
    cpu.buffer().fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one call.
    struct Fake {
        buffer: [u8; BUFFER_SIZE],
        asked: Option<(u8, Registers)>,
        given: [u8; BUFFER_SIZE],
        answer: fn(&mut Registers, &mut [u8; BUFFER_SIZE]),
    }

    fn fake(answer: fn(&mut Registers, &mut [u8; BUFFER_SIZE])) -> Fake {
        Fake {
            buffer: [0xee; BUFFER_SIZE],
            asked: None,
            given: [0; BUFFER_SIZE],
            answer,
        }
    }

    impl Interrupts for Fake {
        fn segment(&self) -> u16 {
            0x9b80
        }

        fn buffer(&mut self) -> &mut [u8; BUFFER_SIZE] {
            &mut self.buffer
        }

        fn interrupt(&mut self, number: u8, registers: &mut Registers) {
            self.asked = Some((number, *registers));
            self.given = self.buffer;
            (self.answer)(registers, &mut self.buffer);
        }
    }

    #[test]
    fn shift_keys() {
        let mut cpu = fake(|r, _| r.eax = 0xffff_ff23);
        assert_eq!(shift_flags(&mut cpu), 0x23);
        assert_eq!(cpu.asked.map(|(n, r)| (n, r.eax)), Some((0x16, 0x200)));
    }

    #[test]
    fn extended_services() {
        let mut cpu = fake(|r, _| (r.eax, r.ebx, r.ecx) = (0x3000, 0xaa55, 7));
        assert_eq!(extensions(&mut cpu, 0x81), Some((0x30, 7)));
        assert_eq!(cpu.asked.map(|(n, r)| (n, r.edx)), Some((0x13, 0x81)));
        for wrong in [
            |r: &mut Registers, _: &mut _| (r.ebx, r.flags) = (0xaa55, CARRY),
            |_: &mut Registers, _: &mut _| {},
        ] {
            assert_eq!(extensions(&mut fake(wrong), 0x80), None);
        }
    }

    #[test]
    fn parameters_go_into_the_buffer() {
        let mut cpu = fake(|r, buffer| {
            r.eax = 0;
            buffer[..4].copy_from_slice(&[30, 0, 2, 0]);
        });
        let told = parameters(&mut cpu, 0x80).unwrap();
        assert_eq!(told[..5], [30, 0, 2, 0, 0]);
        assert_eq!(cpu.given[..5], [74, 0, 0, 0, 0]);
        assert_eq!(cpu.asked.map(|(_, r)| (r.ds, r.esi)), Some((0x9b80, 0)));
        assert_eq!(parameters(&mut fake(|r, _| r.flags = CARRY), 0x80), None);
        assert_eq!(parameters(&mut fake(|r, _| r.eax = 0x100), 0x80), None);
    }

    #[test]
    fn a_geometry_is_packed() {
        let told = geometry(
            &mut fake(|r, _| (r.eax, r.ecx, r.edx) = (0, 0xffff_12bf, 0x0f02)),
            0x80,
        );
        assert_eq!(told, Some((0x212, 15, 63)));
        assert_eq!(geometry(&mut fake(|r, _| r.flags = CARRY), 0x80), None);
    }

    #[test]
    fn a_sector() {
        let mut cpu = fake(|r, buffer| {
            r.eax = 1;
            buffer[511] = 0xaa;
        });
        assert_eq!(first_sector(&mut cpu, 0x80).map(|s| s[511]), Some(0xaa));
        assert_eq!(cpu.asked.map(|(_, r)| (r.es, r.ebx)), Some((0x9b80, 0)));
        assert_eq!(cpu.given, [0; BUFFER_SIZE]);
        assert_eq!(first_sector(&mut fake(|r, _| r.eax = 0x2000), 0x80), None);
    }

    #[test]
    fn the_display() {
        let mut cpu = fake(|r, _| (r.eax, r.ebx) = (0x4f, 0x0102));
        assert_eq!(display_channel(&mut cpu), Some((2, 1)));
        for answer in [0x014f, 0x4f15] {
            assert!(!done(&Registers {
                eax: answer,
                ..Registers::default()
            }));
        }
        let mut cpu = fake(|r, buffer| {
            r.eax = 0x4f;
            buffer[1] = 0xff;
        });
        assert_eq!(edid(&mut cpu).map(|e| (e[0], e[1])), Some((0, 0xff)));
        assert_eq!(edid(&mut fake(|_, _| {})), None);
    }
}
