//! Multiple APIC Description Table: processors and interrupt controllers (section 5.2.12).

use arrayvec::ArrayVec;

use super::table::Table;
use crate::boot::phys::PhysMemory;
use crate::layout::MAX_CPUS;

const MAX_IO_APICS: usize = 32;
const MAX_OVERRIDES: usize = 16;
const MAX_NMIS: usize = MAX_CPUS;

/// Physical address of the local APICs unless the table says otherwise.
const LAPIC_BASE: u64 = 0xfee0_0000;

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Local APIC id.
    pub apic_id: u32,
    /// ACPI processor UID.
    pub acpi_id: u32,
    /// Present and working; else it may be added while the machine runs.
    pub enabled: bool,
}

/// An IO-APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its id.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u32,
    /// Global system interrupt of its first pin.
    pub gsi_base: u32,
}

/// Where a legacy IRQ is wired, when not one to one, edge-triggered and active high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// The ISA IRQ.
    pub irq: u8,
    /// The global system interrupt it comes on.
    pub gsi: u32,
    /// Active low.
    pub active_low: bool,
    /// Level-triggered.
    pub level: bool,
}

/// A local APIC pin that NMI is wired to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalNmi {
    /// The processor's ACPI UID; `None` for all processors.
    pub acpi_id: Option<u32>,
    /// LINT0 or LINT1.
    pub lint: u8,
}

/// The table's contents.
#[derive(Debug, Default)]
pub struct Madt {
    /// Physical address of the local APICs.
    pub lapic_base: u64,
    /// There is a pair of 8259s, which must be masked.
    pub has_8259: bool,
    /// Processors, in the firmware's order.
    pub cpus: ArrayVec<Cpu, MAX_CPUS>,
    /// IO-APICs.
    pub io_apics: ArrayVec<IoApic, MAX_IO_APICS>,
    /// Legacy interrupts.
    pub overrides: ArrayVec<Override, MAX_OVERRIDES>,
    /// NMI pins.
    pub nmis: ArrayVec<LocalNmi, MAX_NMIS>,
    /// Processors past [`MAX_CPUS`], which stay unused.
    pub cpus_left_out: u32,
}

/// Polarity and trigger of an interrupt (table 5.24); what the bus says is high and edge for ISA.
fn mode(flags: u16) -> (bool, bool) {
    (flags & 3 == 3, flags >> 2 & 3 == 3)
}

/// Reads the table.
pub(super) fn read<P: PhysMemory>(table: &Table<'_, P>) -> Madt {
    let mut madt = Madt {
        lapic_base: table.u32(36).map_or(LAPIC_BASE, u64::from),
        has_8259: table.u32(40).is_some_and(|flags| flags & 1 != 0),
        ..Madt::default()
    };
    let mut at = 44;
    while let (Some(kind), Some(length)) = (table.u8(at), table.u8(at + 1)) {
        // An entry of no length would be met for ever.
        if length < 2 {
            break;
        }
        // What does not fit the entry's length or the list is left out.
        let _ = entry(table, &mut madt, at, kind, length);
        at += u64::from(length);
    }
    madt
}

fn entry<P: PhysMemory>(
    table: &Table<'_, P>,
    madt: &mut Madt,
    at: u64,
    kind: u8,
    length: u8,
) -> Option<()> {
    let shortest = [8, 12, 10, 8, 6, 12, 16, 16, 16, 16, 12];
    if shortest
        .get(usize::from(kind))
        .is_some_and(|shortest| length < *shortest)
    {
        return None;
    }
    match kind {
        0 => {
            let (acpi_id, apic_id) = (table.u8(at + 2)?, table.u8(at + 3)?);
            add_cpu(madt, apic_id.into(), acpi_id.into(), table.u32(at + 4)?);
        }
        1 => madt
            .io_apics
            .try_push(IoApic {
                id: table.u8(at + 2)?,
                address: table.u32(at + 4)?,
                gsi_base: table.u32(at + 8)?,
            })
            .ok()?,
        2 => {
            let (active_low, level) = mode(table.u16(at + 8)?);
            let (irq, gsi) = (table.u8(at + 3)?, table.u32(at + 4)?);
            madt.overrides
                .try_push(Override {
                    irq,
                    gsi,
                    active_low,
                    level,
                })
                .ok()?;
        }
        4 => {
            let id = table.u8(at + 2)?;
            let acpi_id = (id != 0xff).then_some(id.into());
            madt.nmis
                .try_push(LocalNmi {
                    acpi_id,
                    lint: table.u8(at + 5)?,
                })
                .ok()?;
        }
        5 => madt.lapic_base = table.u64(at + 4)?,
        9 => add_cpu(
            madt,
            table.u32(at + 4)?,
            table.u32(at + 12)?,
            table.u32(at + 8)?,
        ),
        10 => {
            let id = table.u32(at + 4)?;
            let acpi_id = (id != u32::MAX).then_some(id);
            madt.nmis
                .try_push(LocalNmi {
                    acpi_id,
                    lint: table.u8(at + 8)?,
                })
                .ok()?;
        }
        _ => {}
    }
    Some(())
}

/// Flags: bit 0 enabled, bit 1 may be enabled later. Neither: there is no such processor.
fn add_cpu(madt: &mut Madt, apic_id: u32, acpi_id: u32, flags: u32) {
    let broadcast = apic_id == u32::MAX || (apic_id == 0xff && flags & 1 == 0);
    if flags & 3 == 0 || broadcast || madt.cpus.iter().any(|cpu| cpu.apic_id == apic_id) {
        return;
    }
    if madt
        .cpus
        .try_push(Cpu {
            apic_id,
            acpi_id,
            enabled: flags & 1 != 0,
        })
        .is_err()
    {
        madt.cpus_left_out += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acpi::table::testing::with;

    fn head() -> Vec<u8> {
        [0xfee0_0000u32.to_le_bytes(), 1u32.to_le_bytes()].concat()
    }

    fn local(acpi: u8, apic: u8, flags: u32) -> Vec<u8> {
        [&[0, 8, acpi, apic][..], &flags.to_le_bytes()].concat()
    }

    fn x2(acpi: u32, apic: u32, flags: u32) -> Vec<u8> {
        [
            &[9, 16, 0, 0][..],
            &apic.to_le_bytes(),
            &flags.to_le_bytes(),
            &acpi.to_le_bytes(),
        ]
        .concat()
    }

    #[test]
    fn two_hundred_and_fifty_six_cpus_are_found_and_numbered() {
        use crate::smp::topology::order;
        // As firmware lists 4 sockets of 32 cores with two threads each: first threads first, and
        // ids that need it in the newer form.
        let place = |n: u32| (n % 128) * 2 + n / 128;
        let entry = |n: u32| match (u8::try_from(n), u8::try_from(place(n))) {
            (Ok(acpi), Ok(apic)) if apic < 255 => local(acpi, apic, 1),
            _ => x2(n, place(n), 1),
        };
        let cpus: Vec<u8> = (0..256).flat_map(entry).collect();
        let madt = with(&[head(), cpus].concat(), read);
        assert_eq!(madt.cpus.len(), 256);
        let order = order(&madt.cpus, 0, false);
        assert!(order.iter().map(|cpu| cpu.apic_id).eq(0..256));
        // Both threads of a core, of which the MADT has the second one far behind.
        assert_eq!([order[4].acpi_id, order[5].acpi_id], [2, 130]);
    }

    #[test]
    fn a_q35_table_is_read() {
        let body = [
            head(),
            local(0, 0, 1),
            local(1, 1, 1),
            local(2, 0xff, 0),
            vec![1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
            vec![2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
            vec![2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0],
            vec![4, 6, 0xff, 0, 0, 1],
        ]
        .concat();
        let madt = with(&body, read);
        assert_eq!(madt.cpus.len(), 2);
        assert_eq!(
            madt.io_apics[0],
            IoApic {
                id: 0,
                address: 0xfec0_0000,
                gsi_base: 0
            }
        );
        assert_eq!(
            madt.overrides[0],
            Override {
                irq: 0,
                gsi: 2,
                active_low: false,
                level: false
            }
        );
        assert_eq!(
            madt.overrides[1],
            Override {
                irq: 9,
                gsi: 9,
                active_low: false,
                level: true
            }
        );
        assert_eq!(
            madt.nmis[0],
            LocalNmi {
                acpi_id: None,
                lint: 1
            }
        );
        assert!(madt.has_8259);
    }

    #[test]
    fn it_takes_256_cpus_of_both_kinds_and_counts_the_rest() {
        let mut body = head();
        for id in 0..255u8 {
            body.extend(local(id, id, 1));
        }
        for id in 255..300u32 {
            body.extend(x2(id, id * 2, 1));
        }
        let madt = with(&body, read);
        assert_eq!(madt.cpus.len(), MAX_CPUS);
        assert_eq!(
            madt.cpus[255],
            Cpu {
                apic_id: 510,
                acpi_id: 255,
                enabled: true
            }
        );
        assert_eq!(madt.cpus_left_out, 44);
    }

    proptest! {
        #[test]
        fn any_bytes_end(body in prop::collection::vec(any::<u8>(), 0..600)) {
            let madt = with(&body, read);
            prop_assert!(madt.cpus.len() <= MAX_CPUS);
        }
    }
}
