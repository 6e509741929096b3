//! Sleep states and what dom0 knows of processors' power states.

use oxen_abi::Errno;
use oxen_abi::platform::*;
use zerocopy::{FromBytes, IntoBytes};

use super::super::{Answer, Outcome, Union, take};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// The bit of a PM1 control register that makes the machine sleep (ACPI, SLP_EN).
const SLEEP_ENABLE: u16 = 1 << 13;
/// Revision of `_PDC` buffers (ACPI).
const PDC_REVISION: u32 = 1;
/// Of one processor and kind.
const MOST_STATES: u32 = 256;

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

/// `set_processor_pminfo`: the capabilities that dom0 tells the firmware of (`_PDC`) are left as
/// dom0 has them; idle and frequency states are taken and not used. `EINVAL` for a processor that
/// there is not or a list without an end, `ENOSYS` for throttling states, as on Xen.
pub(super) fn processor<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let request: SetProcessorPminfo = take(u);
    match request.type_ {
        XEN_PM_CX => {
            check_processor(cx, request.id)?;
            let power: ProcessorPower = part(&request.u)?;
            let states = GuestHandle::<ProcessorCx>::new(power.states);
            check_states(cx, states, power.count)
        }
        XEN_PM_PX => {
            check_processor(cx, request.id)?;
            let performance: ProcessorPerformance = part(&request.u)?;
            if performance.flags & XEN_PX_PSS == 0 {
                return Ok(Answer::Done);
            }
            let states = GuestHandle::<ProcessorPx>::new(performance.states);
            check_states(cx, states, performance.state_count)
        }
        XEN_PM_TX => Err(Errno::ENOSYS.into()),
        XEN_PM_PDC => capabilities(cx, &request),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The kind of request that the type says.
fn part<T: FromBytes>(union: &[u64; 13]) -> Result<T, Errno> {
    T::read_from_prefix(union.as_bytes())
        .map(|(part, _)| part)
        .map_err(|_| Errno::EINVAL)
}

/// There must be a CPU with this ACPI id.
fn check_processor<M: Machine>(cx: &Cx<'_, M>, acpi_id: u32) -> Result<(), Errno> {
    let cpus = cx.machine().cpus();
    let there = cpus
        .iter()
        .any(|cpu| cx.machine().cpu_ids(cpu).1 == acpi_id);
    if there { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The list must be there.
fn check_states<M: Machine, T: FromBytes + IntoBytes>(
    cx: &Cx<'_, M>,
    states: GuestHandle<T>,
    count: u32,
) -> Outcome {
    if count > MOST_STATES {
        return Err(Errno::EINVAL.into());
    }
    for index in 0..u64::from(count) {
        states.read_at(cx.machine(), index)?;
    }
    Ok(Answer::Done)
}

fn capabilities<M: Machine>(cx: &Cx<'_, M>, request: &SetProcessorPminfo) -> Outcome {
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
