//! Sleep states and what dom0 knows of processors' power states.

use oxen_abi::Errno;
use oxen_abi::platform::*;

use super::super::{Answer, Outcome, Union, take};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// The bit of a PM1 control register that makes the machine sleep (ACPI, SLP_EN).
const SLEEP_ENABLE: u16 = 1 << 13;
/// Revision of `_PDC` buffers (ACPI).
const PDC_REVISION: u32 = 1;

/// `enter_acpi_sleep`: switches the machine off (S5). dom0 has interpreted the AML and gives the
/// values for the PM1 control registers, which both or neither must start to sleep.
pub(super) fn sleep<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let EnterAcpiSleep {
        val_a,
        val_b,
        sleep_state,
        flags,
    } = take(u);
    if flags & !XENPF_ACPI_SLEEP_EXTENDED != 0 {
        return Err(Errno::EINVAL.into());
    }
    match sleep_state {
        5 => {}
        1..=4 => return Err(Errno::EOPNOTSUPP.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    if flags & XENPF_ACPI_SLEEP_EXTENDED != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if (val_a ^ val_b) & SLEEP_ENABLE != 0 || val_a & SLEEP_ENABLE == 0 {
        return Err(Errno::EINVAL.into());
    }
    crate::log_always!(cx.hv, "Domain 0 switches the machine off (ACPI S5)");
    cx.machine().acpi_sleep(val_a, val_b);
    cx.machine().power_off()
}

/// `set_processor_pminfo`: idle and frequency states are not driven by the hypervisor; the
/// capabilities that dom0 tells the firmware of (`_PDC`) are left as dom0 has them.
pub(super) fn processor<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let request: SetProcessorPminfo = take(u);
    if request.type_ != XEN_PM_PDC {
        return Err(Errno::ENOSYS.into());
    }
    let [handle, ..] = request.u;
    let handle = GuestHandle::<u32>::new(handle);
    let revision = handle.read_at(cx.machine(), 0)?;
    let count = handle.read_at(cx.machine(), 1)?;
    let capabilities = handle.read_at(cx.machine(), 2)?;
    if revision != PDC_REVISION || count == 0 {
        return Err(Errno::EINVAL.into());
    }
    handle.write_at(cx.machine(), 2, &capabilities)?;
    Ok(Answer::Done)
}
