//! Giving a domain a PIRQ for a line, and taking it back.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::irq::line::{Line, Source};
use crate::irq::msi::{Message, Msi, Table};
use crate::irq::pci::{Function, update_tables, with_device};
use crate::irq::pirq::Kind;
use crate::irq::with_gsi;
use crate::machine::Machine;
use crate::types::CpuId;

/// Maps a GSI; the PIRQ is `wanted`, or by default the GSI's number. Mapping it again the same
/// way is no error. Returns the PIRQ.
pub(super) fn map_gsi<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain<M>,
    gsi: u32,
    wanted: Option<u32>,
) -> Result<u32, Errno> {
    // GSI 0 is no interrupt to PV guests: Linux takes 0 for none.
    if gsi == 0 || gsi >= hv.machine.gsi_count() {
        return Err(Errno::EINVAL);
    }
    if !domain.permissions.lock().irqs.contains(u64::from(gsi)) {
        return Err(Errno::EPERM);
    }
    let line = with_gsi(hv, gsi, |gsi| Arc::clone(&gsi.line)).ok_or(Errno::EINVAL)?;
    let mut pirqs = domain.irqs.lock();
    if let Some(pirq) = pirqs.of_gsi(gsi) {
        return Ok(pirq);
    }
    let limit = domain.irqs.limit(hv, domain);
    let pirq = match wanted {
        Some(pirq) => pirq,
        None if !pirqs.is_taken(gsi) => gsi,
        None => pirqs.free_gsi_number(&hv.machine).ok_or(Errno::ENOSPC)?,
    };
    pirqs.insert(pirq, limit, Kind::Gsi(gsi), line)?;
    Ok(pirq)
}

/// Which message to map.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// The MSI.
    Msi,
    /// An entry of the MSI-X table.
    MsiX(u16),
}

/// Maps a message of a function; the PIRQ is `wanted` or any free one. It stays masked until the
/// PIRQ is bound. `EEXIST` if it is mapped already. Returns the PIRQ.
pub(super) fn map_message<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain<M>,
    function: Function,
    which: Which,
    wanted: Option<u32>,
    cpu: CpuId,
) -> Result<u32, Errno> {
    let mut pirqs = domain.irqs.lock();
    let limit = domain.irqs.limit(hv, domain);
    let pirq = match wanted {
        Some(pirq) => pirq,
        None => pirqs
            .free_message_number(&hv.machine, limit)
            .ok_or(Errno::ENOSPC)?,
    };
    pirqs.check(pirq, limit)?;
    let line = match which {
        Which::Msi => start_msi(hv, function, cpu)?,
        Which::MsiX(entry) => start_msix(hv, function, entry, cpu)?,
    };
    let inserted = pirqs.insert(pirq, limit, Kind::Message(function), Arc::clone(&line));
    if inserted.is_err() {
        end_message(hv, function, &line);
    }
    inserted.map(|()| pirq)
}

fn start_msi<M: Machine>(
    hv: &Hypervisor<M>,
    function: Function,
    cpu: CpuId,
) -> Result<Arc<Line<M>>, Errno> {
    with_device(hv, function, |device| {
        if device.msi.is_some() {
            return Err(Errno::EEXIST);
        }
        if !device.lines.is_empty() {
            return Err(Errno::EBUSY);
        }
        let msi = Msi::find(&hv.machine, function)?;
        device.lines.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        msi.disable(&hv.machine);
        let line = Arc::new(Line::new(Source::Message(Message::Msi(msi))));
        line.prepare(hv, cpu)?;
        device.msi = Some(msi);
        device.lines.push((0, Arc::clone(&line)));
        Ok(line)
    })
}

fn start_msix<M: Machine>(
    hv: &Hypervisor<M>,
    function: Function,
    entry: u16,
    cpu: CpuId,
) -> Result<Arc<Line<M>>, Errno> {
    let line = with_device(hv, function, |device| {
        if device.msi.is_some() {
            return Err(Errno::EBUSY);
        }
        if device.lines.iter().any(|(mapped, _)| *mapped == entry) {
            return Err(Errno::EEXIST);
        }
        let table = match device.msix {
            Some(table) => table,
            None => Table::find(&hv.machine, function)?,
        };
        let message = table.message(entry)?;
        device.lines.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let line = Arc::new(Line::new(Source::Message(message)));
        line.prepare(hv, cpu)?;
        device.msix = Some(table);
        device.lines.push((entry, Arc::clone(&line)));
        Ok(line)
    })?;
    update_tables(hv);
    Ok(line)
}

/// Takes a PIRQ back, unbinding it first. `EINVAL` if there is none.
pub(super) fn unmap<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain<M>,
    pirq: u32,
) -> Result<(), Errno> {
    let entry = domain.irqs.lock().remove(pirq).ok_or(Errno::EINVAL)?;
    let Some((kind, line)) = entry else {
        return Ok(());
    };
    line.unbind(hv, domain, pirq);
    if let Kind::Message(function) = kind {
        end_message(hv, function, &line);
    }
    Ok(())
}

/// Ends a message's line and forgets it at its function.
fn end_message<M: Machine>(hv: &Hypervisor<M>, function: Function, line: &Arc<Line<M>>) {
    line.end(hv);
    if let Some(device) = hv.irqs.devices.lock().get_mut(&function) {
        device.lines.retain(|(_, other)| !Arc::ptr_eq(other, line));
        if device.lines.is_empty() {
            if let Some(msi) = device.msi.take() {
                msi.disable(&hv.machine);
            }
            if !device.prepared {
                device.msix = None;
            }
        }
    }
    update_tables(hv);
}
