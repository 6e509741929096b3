//! PIRQs as dom0's kernel uses them: interrupt lines, messages of PCI functions, and what it tells
//! of them.

use oxen_abi::Errno;
use oxen_abi::event_channel::{BindPirq, EVTCHNOP_BIND_PIRQ, EVTCHNSTAT_PIRQ};
use oxen_abi::hypercall::HYPERVISOR_PHYSDEV_OP;
use oxen_abi::physdev as abi;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::events::{close, op as event_op, status};
use super::version::is_oxen;
use super::{Outcome, Suite, ensure, good, same, skip};
use crate::sys::hypercall::Result;
use crate::sys::{hypercall, probe};

/// A line of the IO-APIC that no device of the tests' machine uses.
const GSI: i32 = 22;
/// The AHCI controller of the tests' machine: device 31, function 2. It has an MSI and no MSI-X.
const AHCI: u8 = 31 << 3 | 2;
/// A place on bus 0 where there is nothing.
const NOTHING: u8 = 29 << 3 | 5;

fn physdev<T: IntoBytes + FromBytes + Immutable>(cmd: u32, arg: &mut T) -> Result {
    hypercall::op(HYPERVISOR_PHYSDEV_OP, cmd, arg)
}

/// Maps a line or a message; returns the PIRQ.
fn map(mut arg: abi::MapPirq) -> Result<i32> {
    arg.domid = DOMID_SELF;
    physdev(abi::PHYSDEVOP_MAP_PIRQ, &mut arg).map(|_| arg.pirq)
}

fn map_gsi(gsi: i32, pirq: i32) -> Result<i32> {
    map(abi::MapPirq {
        type_: abi::MAP_PIRQ_TYPE_GSI,
        index: gsi,
        pirq,
        ..abi::MapPirq::default()
    })
}

fn map_msi(devfn: u8, type_: i32, entry_nr: i32) -> Result<i32> {
    map(abi::MapPirq {
        type_,
        index: -1,
        pirq: -1,
        devfn: i32::from(devfn),
        entry_nr,
        ..abi::MapPirq::default()
    })
}

fn unmap(pirq: i32) -> Result {
    let mut arg = abi::UnmapPirq {
        domid: DOMID_SELF,
        pirq,
        ..abi::UnmapPirq::default()
    };
    physdev(abi::PHYSDEVOP_UNMAP_PIRQ, &mut arg)
}

fn bind(pirq: i32, flags: u32) -> Result<u32> {
    let mut arg = BindPirq {
        pirq: pirq.cast_unsigned(),
        flags,
        port: 0,
    };
    event_op(EVTCHNOP_BIND_PIRQ, &mut arg).map(|_| arg.port)
}

/// The flags that `irq_status_query` answers with.
fn query(pirq: i32) -> Result<u32> {
    let mut arg = abi::IrqStatusQuery {
        irq: pirq.cast_unsigned(),
        flags: 77,
    };
    physdev(abi::PHYSDEVOP_IRQ_STATUS_QUERY, &mut arg).map(|_| arg.flags)
}

fn eoi(pirq: i32) -> Result {
    let irq = pirq.cast_unsigned();
    physdev(abi::PHYSDEVOP_EOI, &mut abi::Eoi { irq })
}

fn free_pirq(type_: i32) -> Result<u32> {
    let mut arg = abi::GetFreePirq { type_, pirq: 0 };
    physdev(abi::PHYSDEVOP_GET_FREE_PIRQ, &mut arg).map(|_| arg.pirq)
}

fn setup_gsi(gsi: i32) -> Result {
    // Level, active low, as PCI has it.
    let mut arg = abi::SetupGsi {
        gsi,
        triggering: 1,
        polarity: 1,
        ..abi::SetupGsi::default()
    };
    physdev(abi::PHYSDEVOP_SETUP_GSI, &mut arg)
}

fn device(devfn: u8) -> abi::PciDevice {
    abi::PciDevice {
        devfn,
        ..abi::PciDevice::default()
    }
}

fn lines(s: &mut Suite<'_>) {
    s.check("pirq/numbers", || {
        let gsi = good!(free_pirq(abi::MAP_PIRQ_TYPE_GSI));
        let message = good!(free_pirq(abi::MAP_PIRQ_TYPE_MSI));
        ensure!(
            (16..24).contains(&gsi) && message >= 24,
            "{gsi} for a line, {message} for a message"
        );
        // They are set aside.
        ensure!(
            free_pirq(abi::MAP_PIRQ_TYPE_GSI) != Ok(gsi)
                && free_pirq(abi::MAP_PIRQ_TYPE_MSI) != Ok(message),
            "a number was given twice"
        );
        // All other types are of messages.
        ensure!(good!(free_pirq(77)) >= 24, "a line's number");
        Ok(())
    });
    s.check("pirq/life_of_a_line", || {
        // Not mapped, not bound.
        ensure!(bind(GSI, 0).is_err(), "bound before it was mapped");
        same!(setup_gsi(GSI), Ok(0));
        same!(map_gsi(GSI, GSI), Ok(GSI));
        // Once more is no other.
        same!(map_gsi(GSI, GSI), Ok(GSI));
        let port = good!(bind(GSI, 0));
        same!(bind(GSI, 0), Err(Errno::EEXIST));
        let state = good!(status(port));
        same!((state.status, state.u[0]), (EVTCHNSTAT_PIRQ, 22));
        same!(good!(query(GSI)) & abi::XENIRQSTAT_SHARED, 0);
        same!(eoi(GSI), Ok(0));
        good!(close(port));
        // Bound again, for sharing.
        let port = good!(bind(GSI, oxen_abi::event_channel::BIND_PIRQ_WILL_SHARE));
        good!(close(port));
        same!(unmap(GSI), Ok(0));
        same!(unmap(GSI), Err(Errno::EINVAL));
        ensure!(bind(GSI, 0).is_err(), "bound after it was unmapped");
        same!(eoi(GSI), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("pirq/set_up_once", || {
        same!(setup_gsi(GSI - 1), Ok(0));
        same!(setup_gsi(GSI - 1), Err(Errno::EEXIST));
        Ok(())
    });
    s.check("pirq/unmapping_unbinds", || {
        // Another line: on Xen a domain loses the right to one that it unmaps.
        let gsi = GSI - 2;
        same!(map_gsi(gsi, gsi), Ok(gsi));
        let port = good!(bind(gsi, 0));
        same!(unmap(gsi), Ok(0));
        // The port is left, and can be closed.
        same!(good!(status(port)).status, EVTCHNSTAT_PIRQ);
        good!(close(port));
        same!(unmap(gsi), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("pirq/numbers_refused", || {
        for gsi in [-1, 24, 255, 0x7fff_ffff, i32::MIN] {
            ensure!(
                map_gsi(gsi, gsi).is_err(),
                "line {gsi}: {:?}",
                map_gsi(gsi, gsi)
            );
        }
        for pirq in [-1, i32::MIN, 0x7fff_ffff] {
            same!(unmap(pirq), Err(Errno::EINVAL));
            same!(query(pirq), Err(Errno::EINVAL));
            ensure!(bind(pirq, 0).is_err(), "PIRQ {pirq} was bound");
        }
        Ok(())
    });
}

fn messages(s: &mut Suite<'_>) {
    s.check("pirq/functions", || {
        let add = |devfn| {
            let mut arg = abi::PciDeviceAdd {
                devfn,
                ..abi::PciDeviceAdd::default()
            };
            physdev(abi::PHYSDEVOP_PCI_DEVICE_ADD, &mut arg)
        };
        let remove = |devfn| physdev(abi::PHYSDEVOP_PCI_DEVICE_REMOVE, &mut device(devfn));
        same!(add(AHCI), Ok(0));
        // Once more changes nothing.
        same!(add(AHCI), Ok(0));
        same!(remove(AHCI), Ok(0));
        same!(remove(AHCI), Err(Errno::ENODEV));
        same!(remove(NOTHING), Err(Errno::ENODEV));
        same!(add(AHCI), Ok(0));
        // The forms before 4.0.
        let mut old = abi::ManagePci {
            bus: 0,
            devfn: AHCI,
        };
        same!(physdev(abi::PHYSDEVOP_MANAGE_PCI_REMOVE, &mut old), Ok(0));
        same!(physdev(abi::PHYSDEVOP_MANAGE_PCI_ADD, &mut old), Ok(0));
        let mut extended = abi::ManagePciExt {
            devfn: AHCI,
            is_extfn: 2,
            ..abi::ManagePciExt::default()
        };
        same!(
            physdev(abi::PHYSDEVOP_MANAGE_PCI_ADD_EXT, &mut extended),
            Err(Errno::EINVAL)
        );
        Ok(())
    });
    s.check("pirq/message", || {
        let types = [
            (abi::MAP_PIRQ_TYPE_MSI, 0),
            (abi::MAP_PIRQ_TYPE_MSI_SEG, 0),
            (abi::MAP_PIRQ_TYPE_MULTI_MSI, 1),
        ];
        for (type_, entries) in types {
            let pirq = good!(map_msi(AHCI, type_, entries));
            ensure!(pirq >= 24, "PIRQ {pirq}");
            // Xen gives a function's one message away twice.
            if is_oxen()? {
                same!(map_msi(AHCI, type_, entries), Err(Errno::EEXIST));
            }
            let port = good!(bind(pirq, 0));
            same!(good!(status(port)).status, EVTCHNSTAT_PIRQ);
            same!(good!(query(pirq)) & abi::XENIRQSTAT_SHARED, 0);
            // It loses its registers, and gets them back.
            let mut function = device(AHCI);
            same!(
                physdev(abi::PHYSDEVOP_RESTORE_MSI_EXT, &mut function),
                Ok(0)
            );
            let mut old = abi::RestoreMsi {
                bus: 0,
                devfn: AHCI,
            };
            same!(physdev(abi::PHYSDEVOP_RESTORE_MSI, &mut old), Ok(0));
            good!(close(port));
            same!(unmap(pirq), Ok(0));
        }
        Ok(())
    });
    s.check("pirq/message_refused", || {
        for type_ in [abi::MAP_PIRQ_TYPE_MSI, abi::MAP_PIRQ_TYPE_MSI_SEG] {
            ensure!(
                map_msi(NOTHING, type_, 0).is_err(),
                "no function, a message"
            );
        }
        // The LPC bridge has no messages.
        ensure!(
            map_msi(31 << 3, abi::MAP_PIRQ_TYPE_MSI_SEG, 0).is_err(),
            "a message of a bridge without"
        );
        for entries in [-1, 0, 33, 1000] {
            ensure!(
                map_msi(AHCI, abi::MAP_PIRQ_TYPE_MULTI_MSI, entries).is_err(),
                "{entries} messages"
            );
        }
        let mut nothing = device(NOTHING);
        same!(
            physdev(abi::PHYSDEVOP_RESTORE_MSI_EXT, &mut nothing),
            Err(Errno::ENODEV)
        );
        Ok(())
    });
    s.check("pirq/message_table", || {
        let Some(devfn) = network_card()? else {
            skip!("no network card");
        };
        let mut function = device(devfn);
        let mut add = abi::PciDeviceAdd {
            devfn,
            ..abi::PciDeviceAdd::default()
        };
        same!(physdev(abi::PHYSDEVOP_PCI_DEVICE_ADD, &mut add), Ok(0));
        same!(physdev(abi::PHYSDEVOP_PREPARE_MSIX, &mut function), Ok(0));
        same!(physdev(abi::PHYSDEVOP_RELEASE_MSIX, &mut function), Ok(0));
        // Without a table.
        ensure!(
            physdev(abi::PHYSDEVOP_PREPARE_MSIX, &mut device(31 << 3)).is_err(),
            "a bridge without a table was prepared"
        );
        Ok(())
    });
}

/// The network card's place on bus 0, if there is one that has its memory switched on.
fn network_card() -> Outcome<Option<u8>> {
    good!(set_iopl(1));
    let read = |devfn: u8, register: u32| {
        good!(probe::outl(
            0xcf8,
            1 << 31 | u32::from(devfn) << 8 | register
        ));
        Ok::<_, super::Why>(good!(probe::inl(0xcfc)))
    };
    let mut found = None;
    for devfn in (0..=255).step_by(8) {
        if read(devfn, 8)? >> 16 == 0x0200 && read(devfn, 4)? & 2 != 0 {
            found = Some(devfn);
        }
    }
    good!(set_iopl(0));
    Ok(found)
}

fn set_iopl(iopl: u32) -> Result {
    physdev(abi::PHYSDEVOP_SET_IOPL, &mut abi::SetIopl { iopl })
}

fn others(s: &mut Suite<'_>) {
    s.check("physdev_op/io_apic", || {
        const IO_APIC: u64 = 0xfec0_0000;
        let access = |cmd, apic_physbase, reg, value| {
            let mut arg = abi::Apic {
                apic_physbase,
                reg,
                value,
            };
            physdev(cmd, &mut arg).map(|_| arg.value)
        };
        // The version, with the number of lines.
        let version = good!(access(abi::PHYSDEVOP_APIC_READ, IO_APIC, 1, 0));
        same!(version >> 16 & 0xff, 23);
        ensure!(
            access(abi::PHYSDEVOP_APIC_READ, 0x1000, 1, 0).is_err(),
            "an IO-APIC where there is none"
        );
        Ok(())
    });
    s.check("physdev_op/vector", || {
        let mut arg = abi::Irq { irq: 5, vector: 0 };
        same!(physdev(abi::PHYSDEVOP_ALLOC_IRQ_VECTOR, &mut arg), Ok(0));
        // A number that means the line when dom0 writes it to an IO-APIC.
        same!(arg.vector, 5);
        Ok(())
    });
    s.check("physdev_op/debug_port", || {
        let tell = |op, bus| {
            let mut arg = abi::DbgpOp {
                op,
                bus,
                pci: device(NOTHING),
            };
            physdev(abi::PHYSDEVOP_DBGP_OP, &mut arg)
        };
        // No console is there, so nothing is asked of the kernel, whatever it says.
        for op in [
            abi::PHYSDEVOP_DBGP_RESET_PREPARE,
            abi::PHYSDEVOP_DBGP_RESET_DONE,
            0,
            77,
        ] {
            same!(tell(op, abi::PHYSDEVOP_DBGP_BUS_PCI), Ok(0));
        }
        Ok(())
    });
}

fn refused(s: &mut Suite<'_>) {
    s.check("pirq/not_for_guests", || {
        same!(map_gsi(GSI, GSI), Err(Errno::EPERM));
        same!(
            map_msi(AHCI, abi::MAP_PIRQ_TYPE_MSI_SEG, 0),
            Err(Errno::EPERM)
        );
        same!(setup_gsi(GSI), Err(Errno::EPERM));
        ensure!(bind(GSI, 0).is_err(), "a line was bound");
        for cmd in [
            abi::PHYSDEVOP_PCI_DEVICE_ADD,
            abi::PHYSDEVOP_PCI_DEVICE_REMOVE,
            abi::PHYSDEVOP_MANAGE_PCI_ADD,
            abi::PHYSDEVOP_MANAGE_PCI_REMOVE,
            abi::PHYSDEVOP_RESTORE_MSI,
            abi::PHYSDEVOP_RESTORE_MSI_EXT,
            abi::PHYSDEVOP_PREPARE_MSIX,
            abi::PHYSDEVOP_RELEASE_MSIX,
            abi::PHYSDEVOP_PCI_MMCFG_RESERVED,
            abi::PHYSDEVOP_DBGP_OP,
            abi::PHYSDEVOP_APIC_READ,
            abi::PHYSDEVOP_APIC_WRITE,
        ] {
            let result = physdev(cmd, &mut [0u64; 8]);
            // Xen looks for the function first in one of them.
            let expected = [Err(Errno::EPERM), Err(Errno::ENODEV)];
            ensure!(expected.contains(&result), "{cmd}: {result:?}");
        }
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    if s.privileged {
        lines(s);
        messages(s);
        others(s);
    } else {
        refused(s);
    }
}
