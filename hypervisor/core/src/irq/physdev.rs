//! `HYPERVISOR_physdev_op`: what dom0's kernel tells of devices and asks for interrupts.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::physdev as abi;
use zerocopy::{FromBytes, IntoBytes};

use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::irq::map::{Which, map_gsi, map_message, unmap};
use crate::irq::msi::Table;
use crate::irq::pci::{self, Function, update_tables, with_device};
use crate::irq::{pirq, with_gsi};
use crate::machine::{GsiMode, Machine};
use crate::mm::MmError;
use crate::mm::growth::with_room;
use crate::percpu::Cx;
use crate::types::DomId;

/// `HYPERVISOR_physdev_op(cmd, arg)`.
#[inline(never)]
pub fn physdev_op<M: Machine>(cx: &Cx<'_, M>, cmd: u64, arg: u64) -> HcResult {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the ABI's command is an int"
    )]
    match cmd as u32 {
        abi::PHYSDEVOP_EOI => {
            let op: abi::Eoi = read(cx, arg)?;
            pirq::eoi(cx, op.irq)?;
        }
        // From a time when masking was the hypervisor's.
        abi::PHYSDEVOP_IRQ_UNMASK_NOTIFY => {}
        abi::PHYSDEVOP_PIRQ_EOI_GMFN_V1 => return eoi_map(cx, cmd, arg, true),
        abi::PHYSDEVOP_PIRQ_EOI_GMFN_V2 => return eoi_map(cx, cmd, arg, false),
        abi::PHYSDEVOP_IRQ_STATUS_QUERY => {
            let mut op: abi::IrqStatusQuery = read(cx, arg)?;
            let (needs_eoi, shared) = pirq::status(cx, op.irq)?;
            op.flags = if needs_eoi {
                abi::XENIRQSTAT_NEEDS_EOI
            } else {
                0
            };
            op.flags |= if shared { abi::XENIRQSTAT_SHARED } else { 0 };
            GuestHandle::new(arg).write(cx.machine(), &op)?;
        }
        abi::PHYSDEVOP_SET_IOPL => {
            let op: abi::SetIopl = read(cx, arg)?;
            let iopl = u8::try_from(op.iopl).ok().filter(|iopl| *iopl <= 3);
            cx.vcpu.arch.lock().iopl = iopl.ok_or(Errno::EINVAL)?;
        }
        abi::PHYSDEVOP_SET_IOBITMAP => {
            let op: abi::SetIobitmap = read(cx, arg)?;
            if op.nr_ports > 0x1_0000 {
                return Err(Errno::EINVAL.into());
            }
            cx.vcpu.arch.lock().io_bitmap = (op.bitmap, op.nr_ports);
        }
        abi::PHYSDEVOP_MAP_PIRQ => {
            let mut op: abi::MapPirq = read(cx, arg)?;
            with_room(cx.cpu, || map_pirq(cx, &mut op))?;
            GuestHandle::new(arg).write(cx.machine(), &op)?;
        }
        abi::PHYSDEVOP_UNMAP_PIRQ => {
            let op: abi::UnmapPirq = read(cx, arg)?;
            let domain = target(cx, op.domid)?;
            unmap(
                cx.hv,
                &domain,
                u32::try_from(op.pirq).map_err(|_| Errno::EINVAL)?,
            )?;
        }
        abi::PHYSDEVOP_GET_FREE_PIRQ => {
            let mut op: abi::GetFreePirq = read(cx, arg)?;
            op.pirq = with_room(cx.cpu, || free_pirq(cx, op.type_))?;
            GuestHandle::new(arg).write(cx.machine(), &op)?;
        }
        abi::PHYSDEVOP_ALLOC_IRQ_VECTOR => {
            privileged(cx)?;
            let mut op: abi::Irq = read(cx, arg)?;
            // Vectors are the hypervisor's own affair; the guest gets a number it can use as one.
            op.vector = op.irq;
            GuestHandle::new(arg).write(cx.machine(), &op)?;
        }
        _ => return with_room(cx.cpu, || of_host(cx, cmd, arg)),
    }
    Ok(0)
}

/// `HYPERVISOR_physdev_op_compat(op)`, the form before 3.2: the command (32 bits), and the
/// arguments eight bytes further on. It knows the commands up to `PHYSDEVOP_alloc_irq_vector`.
#[inline(never)]
pub fn compat_physdev_op<M: Machine>(cx: &Cx<'_, M>, op: u64) -> HcResult {
    let cmd: u32 = read(cx, op)?;
    if !(abi::PHYSDEVOP_IRQ_STATUS_QUERY..=abi::PHYSDEVOP_ALLOC_IRQ_VECTOR).contains(&cmd) {
        return Err(Errno::ENOSYS.into());
    }
    let arguments = GuestHandle::<u64>::new(op).at(1)?;
    physdev_op(cx, u64::from(cmd), arguments.addr())
}

/// Operations about the host's devices, for the control domain only.
fn of_host<M: Machine>(cx: &Cx<'_, M>, cmd: u64, arg: u64) -> HcResult {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the ABI's command is an int"
    )]
    let cmd = cmd as u32;
    match cmd {
        abi::PHYSDEVOP_APIC_READ | abi::PHYSDEVOP_APIC_WRITE => {
            privileged(cx)?;
            io_apic(cx, cmd, arg)?;
        }
        abi::PHYSDEVOP_SETUP_GSI => {
            privileged(cx)?;
            setup_gsi(cx, &read(cx, arg)?)?;
        }
        abi::PHYSDEVOP_MANAGE_PCI_ADD => {
            privileged(cx)?;
            let op: abi::ManagePci = read(cx, arg)?;
            pci::add(
                cx.hv,
                Function {
                    segment: 0,
                    bus: op.bus,
                    devfn: op.devfn,
                },
            );
        }
        abi::PHYSDEVOP_MANAGE_PCI_ADD_EXT => {
            privileged(cx)?;
            let op: abi::ManagePciExt = read(cx, arg)?;
            if op.is_extfn > 1 || op.is_virtfn > 1 {
                return Err(Errno::EINVAL.into());
            }
            pci::add(
                cx.hv,
                Function {
                    segment: 0,
                    bus: op.bus,
                    devfn: op.devfn,
                },
            );
        }
        abi::PHYSDEVOP_MANAGE_PCI_REMOVE => {
            privileged(cx)?;
            let op: abi::ManagePci = read(cx, arg)?;
            pci::remove(
                cx.hv,
                Function {
                    segment: 0,
                    bus: op.bus,
                    devfn: op.devfn,
                },
            )?;
        }
        abi::PHYSDEVOP_PCI_DEVICE_ADD => {
            privileged(cx)?;
            let op: abi::PciDeviceAdd = read(cx, arg)?;
            pci::add(
                cx.hv,
                Function {
                    segment: op.seg,
                    bus: op.bus,
                    devfn: op.devfn,
                },
            );
        }
        abi::PHYSDEVOP_PCI_DEVICE_REMOVE => {
            privileged(cx)?;
            pci::remove(cx.hv, function(&read(cx, arg)?))?;
        }
        abi::PHYSDEVOP_RESTORE_MSI => {
            privileged(cx)?;
            let op: abi::RestoreMsi = read(cx, arg)?;
            restore(
                cx,
                Function {
                    segment: 0,
                    bus: op.bus,
                    devfn: op.devfn,
                },
            )?;
        }
        abi::PHYSDEVOP_RESTORE_MSI_EXT => {
            privileged(cx)?;
            restore(cx, function(&read(cx, arg)?))?;
        }
        abi::PHYSDEVOP_PREPARE_MSIX => {
            privileged(cx)?;
            prepare_msix(cx, function(&read(cx, arg)?), true)?;
        }
        abi::PHYSDEVOP_RELEASE_MSIX => {
            privileged(cx)?;
            prepare_msix(cx, function(&read(cx, arg)?), false)?;
        }
        abi::PHYSDEVOP_PCI_MMCFG_RESERVED => {
            privileged(cx)?;
            let op: abi::PciMmcfgReserved = read(cx, arg)?;
            // The hypervisor uses the range on the firmware's word already.
            if op.flags & !abi::XEN_PCI_MMCFG_RESERVED != 0 || op.start_bus > op.end_bus {
                return Err(Errno::EINVAL.into());
            }
        }
        abi::PHYSDEVOP_DBGP_OP => {
            privileged(cx)?;
            // No console of the hypervisor's is on a debug port, so any reset may go ahead.
            read::<M, abi::DbgpOp>(cx, arg)?;
        }
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}

fn read<M: Machine, T: FromBytes + IntoBytes>(cx: &Cx<'_, M>, arg: u64) -> Result<T, Errno> {
    GuestHandle::new(arg).read(cx.machine())
}

fn privileged<M: Machine>(cx: &Cx<'_, M>) -> Result<(), Errno> {
    if cx.domain().privileged {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn function(device: &abi::PciDevice) -> Function {
    Function {
        segment: device.seg,
        bus: device.bus,
        devfn: device.devfn,
    }
}

/// The caller's domain, or with privilege another.
fn target<M: Machine>(cx: &Cx<'_, M>, id: u16) -> Result<Arc<Domain<M>>, Errno> {
    let domain = cx.hv.domain(DomId(id), cx.vcpu).ok_or(Errno::ESRCH)?;
    if !Arc::ptr_eq(&domain, cx.domain()) {
        privileged(cx)?;
    }
    Ok(domain)
}

fn eoi_map<M: Machine>(cx: &Cx<'_, M>, cmd: u64, arg: u64, unmask: bool) -> HcResult {
    let op: abi::PirqEoiGmfn = read(cx, arg)?;
    match pirq::set_eoi_map(cx, op.gmfn, unmask) {
        Ok(()) => Ok(0),
        Err(MmError::Errno(errno)) => Err(errno.into()),
        Err(MmError::Restart) => Err(Stop::Restart([cmd, arg, 0, 0, 0, 0])),
    }
}

fn map_pirq<M: Machine>(cx: &Cx<'_, M>, op: &mut abi::MapPirq) -> Result<(), Errno> {
    let domain = target(cx, op.domid)?;
    let wanted = u32::try_from(op.pirq).ok();
    let pirq = match op.type_ {
        abi::MAP_PIRQ_TYPE_GSI => {
            let gsi = u32::try_from(op.index).map_err(|_| Errno::EINVAL)?;
            map_gsi(cx.hv, &domain, gsi, wanted)?
        }
        abi::MAP_PIRQ_TYPE_MSI | abi::MAP_PIRQ_TYPE_MSI_SEG | abi::MAP_PIRQ_TYPE_MULTI_MSI => {
            privileged(cx)?;
            let which = which_message(op)?;
            map_message(
                cx.hv,
                &domain,
                message_function(op)?,
                which,
                wanted,
                cx.cpu.id,
            )?
        }
        _ => return Err(Errno::EINVAL),
    };
    op.pirq = i32::try_from(pirq).map_err(|_| Errno::EINVAL)?;
    Ok(())
}

/// Several messages of one MSI need vectors in a row, which only interrupt remapping gives.
fn which_message(op: &mut abi::MapPirq) -> Result<Which, Errno> {
    if op.type_ == abi::MAP_PIRQ_TYPE_MULTI_MSI {
        return match op.entry_nr {
            1 => Ok(Which::Msi),
            2..=32 => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::EDOM),
        };
    }
    if op.table_base == 0 {
        return Ok(Which::Msi);
    }
    u16::try_from(op.entry_nr)
        .map(Which::MsiX)
        .map_err(|_| Errno::EINVAL)
}

/// The function that a message belongs to; all types but the oldest have the segment in the bus
/// number's upper half.
fn message_function(op: &abi::MapPirq) -> Result<Function, Errno> {
    let bus = u32::try_from(op.bus).map_err(|_| Errno::EINVAL)?;
    let segment = if op.type_ == abi::MAP_PIRQ_TYPE_MSI {
        0
    } else {
        bus >> 16
    };
    Ok(Function {
        segment: u16::try_from(segment).map_err(|_| Errno::EINVAL)?,
        bus: u8::try_from(bus & 0xffff).map_err(|_| Errno::EINVAL)?,
        devfn: u8::try_from(op.devfn).map_err(|_| Errno::EINVAL)?,
    })
}

fn free_pirq<M: Machine>(cx: &Cx<'_, M>, kind: i32) -> Result<u32, Errno> {
    let domain = cx.domain();
    let limit = domain.irqs.limit(cx.hv, domain);
    let mut pirqs = domain.irqs.lock();
    let free = match kind {
        abi::MAP_PIRQ_TYPE_GSI => pirqs.free_gsi_number(cx.machine()),
        // All other types are of messages, as on Xen.
        _ => pirqs.free_message_number(cx.machine(), limit),
    };
    let pirq = free.ok_or(Errno::ENOSPC)?;
    pirqs.reserve(pirq);
    Ok(pirq)
}

/// dom0 has read in ACPI's tables how a GSI is wired. It counts once: `EEXIST` afterwards, and
/// for a GSI in use.
fn setup_gsi<M: Machine>(cx: &Cx<'_, M>, op: &abi::SetupGsi) -> Result<(), Errno> {
    let gsi = u32::try_from(op.gsi).map_err(|_| Errno::EINVAL)?;
    if op.triggering > 1 || op.polarity > 1 {
        return Err(Errno::EINVAL);
    }
    with_gsi(cx.hv, gsi, |gsi| {
        if gsi.set_up || gsi.line.is_bound() {
            return Err(Errno::EEXIST);
        }
        gsi.set_up = true;
        gsi.mode = GsiMode {
            level: op.triggering == 1,
            active_low: op.polarity == 1,
        };
        Ok(())
    })
    .unwrap_or(Err(Errno::EINVAL))
}

/// dom0's view of an IO-APIC: it may read the registers. Writes change nothing, for the
/// hypervisor programs the redirection entries itself.
fn io_apic<M: Machine>(cx: &Cx<'_, M>, cmd: u32, arg: u64) -> Result<(), Errno> {
    let mut op: abi::Apic = read(cx, arg)?;
    let register = u8::try_from(op.reg).map_err(|_| Errno::EINVAL)?;
    let value = cx
        .machine()
        .ioapic_read(op.apic_physbase, register)
        .ok_or(Errno::EINVAL)?;
    if cmd == abi::PHYSDEVOP_APIC_READ {
        op.value = value;
        GuestHandle::new(arg).write(cx.machine(), &op)?;
    }
    Ok(())
}

/// A function lost its configuration (it was reset or slept): its messages are written again.
fn restore<M: Machine>(cx: &Cx<'_, M>, function: Function) -> Result<(), Errno> {
    with_device(cx.hv, function, |device| {
        device
            .lines
            .iter()
            .for_each(|(_, line)| line.restore(cx.machine()));
        Ok(())
    })
}

/// Before a function is given to a guest: its MSI-X table is made read-only beforehand; and the
/// way back. `EBUSY` while entries of it are mapped.
fn prepare_msix<M: Machine>(
    cx: &Cx<'_, M>,
    function: Function,
    prepare: bool,
) -> Result<(), Errno> {
    with_device(cx.hv, function, |device| {
        let table = Table::find(cx.machine(), function)?;
        if !device.lines.is_empty() {
            return Err(Errno::EBUSY);
        }
        device.prepared = prepare;
        device.msix = prepare.then_some(table);
        Ok(())
    })?;
    update_tables(cx.hv);
    Ok(())
}
