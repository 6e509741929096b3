//! `SCHEDOP_watchdog`: a domain has two timers that shut it down unless it sets them again.

use oxen_abi::errno::Errno;
use oxen_abi::sched::Watchdog;

use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::time::{Dog, Kind, arm, cancel};
use crate::types::VcpuId;

const NS_PER_SEC: u64 = 1_000_000_000;

/// With id 0 starts a free watchdog and returns its id (1 or 2; `ENOSPC` without one); with an id
/// in use sets it again, or stops it where the timeout (seconds) is 0.
pub(super) fn watchdog<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<Watchdog>) -> HcResult {
    let request = arg.read(cx.machine())?;
    let carrier = cx.domain().vcpu(VcpuId(0)).ok_or(Errno::EINVAL)?;
    let armed = |dog| carrier.time.is_armed(Kind::Watchdog(dog));
    let dog = match request.id {
        0 if request.timeout == 0 => return Err(Errno::EINVAL.into()),
        0 => [Dog::First, Dog::Second]
            .into_iter()
            .find(|dog| !armed(*dog))
            .ok_or(Errno::ENOSPC)?,
        1 if armed(Dog::First) => Dog::First,
        2 if armed(Dog::Second) => Dog::Second,
        _ => return Err(Errno::EINVAL.into()),
    };
    if request.timeout == 0 {
        cancel(cx.hv, &carrier, Kind::Watchdog(dog));
        return Ok(0);
    }
    let deadline = cx.machine().now() + u64::from(request.timeout) * NS_PER_SEC;
    arm(cx.cpu, &carrier, Kind::Watchdog(dog), deadline);
    Ok(match (request.id, dog) {
        (0, Dog::First) => 1,
        (0, Dog::Second) => 2,
        _ => 0,
    })
}
