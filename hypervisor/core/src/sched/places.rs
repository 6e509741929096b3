//! Places for all vCPUs of the host in every CPU's queues, made when the vCPUs are.
//!
//! A vCPU may wait on any CPU, and so may its timers; to queue it there must not need memory that may not be there.

use oxen_abi::errno::Errno;

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::Mutex;

/// Timers that a vCPU can have armed at once: single-shot, periodic, the limit of a poll.
const TIMERS: usize = 3;
/// Timers that a domain has beside: its watchdogs.
const WATCHDOGS: usize = 2;

/// For how many there are places.
#[derive(Debug, Default)]
pub struct Places(Mutex<Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    domains: usize,
    vcpus: usize,
}

/// Makes places for a domain's `vcpus` vCPUs. `ENOMEM`.
pub(crate) fn make<M: Machine>(hv: &Hypervisor<M>, vcpus: usize) -> Result<(), Errno> {
    let mut count = hv.places.0.lock();
    let more = Count {
        domains: count.domains + 1,
        vcpus: count.vcpus + vcpus,
    };
    for cpu in hv.machine.cpus().iter() {
        let shared = hv.cpu(cpu);
        shared.run_queue.make_room(more.vcpus)?;
        let timers = more.vcpus * TIMERS + more.domains * WATCHDOGS;
        shared.timers.make_room(timers)?;
    }
    *count = more;
    Ok(())
}

/// A domain's `vcpus` vCPUs are no more.
pub(crate) fn give_back<M: Machine>(hv: &Hypervisor<M>, vcpus: usize) {
    let mut count = hv.places.0.lock();
    count.domains = count.domains.saturating_sub(1);
    count.vcpus = count.vcpus.saturating_sub(vcpus);
}
