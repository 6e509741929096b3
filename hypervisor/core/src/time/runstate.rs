//! Run states: how long a vCPU ran, waited for a CPU, slept, was offline (public/vcpu.h).

use oxen_abi::vcpu::{RUNSTATE_OFFLINE, RunstateInfo, XEN_RUNSTATE_UPDATE};
use oxen_abi::xen::VMASST_TYPE_RUNSTATE_UPDATE_FLAG;
use zerocopy::IntoBytes;

use crate::machine::Machine;
use crate::sync::atomic::Ordering;
use crate::vcpu::Vcpu;

/// A vCPU's run state.
#[derive(Clone, Copy, Debug)]
pub struct RunState {
    /// `RUNSTATE_*`.
    pub state: i32,
    /// System time at which it began.
    pub since: u64,
    /// Nanoseconds spent in each state before that.
    pub time: [u64; 4],
}

impl Default for RunState {
    fn default() -> Self {
        Self {
            state: RUNSTATE_OFFLINE,
            since: 0,
            time: [0; 4],
        }
    }
}

impl RunState {
    /// The times with the current state's counted up to `now`.
    pub fn times_at(&self, now: u64) -> [u64; 4] {
        let mut time = self.time;
        if let Some(current) = usize::try_from(self.state)
            .ok()
            .and_then(|n| time.get_mut(n))
        {
            *current = current.saturating_add(now.saturating_sub(self.since));
        }
        time
    }

    fn enter(&mut self, state: i32, now: u64) {
        self.time = self.times_at(now);
        self.since = now;
        self.state = state;
    }
}

/// The run state as the guest's structure has it, with the times counted up to `now`.
pub fn runstate<M: Machine>(vcpu: &Vcpu<M>, now: u64) -> RunstateInfo {
    let state = vcpu.time.runstate.lock();
    RunstateInfo {
        state: state.state,
        _pad0: [0; 4],
        state_entry_time: state.since,
        time: state.times_at(now),
    }
}

/// Enters a run state, and shows it in the area that the guest has registered; the vCPU's address
/// space is loaded on this CPU.
pub fn change_runstate<M: Machine>(machine: &M, vcpu: &Vcpu<M>, state: i32, now: u64) {
    let new = {
        let mut runstate = vcpu.time.runstate.lock();
        runstate.enter(state, now);
        *runstate
    };
    show(machine, vcpu, &new);
}

/// Copies the run state to the area that the guest has registered; the vCPU's address space is
/// loaded on this CPU. In user mode that is put off until the vCPU is in kernel mode.
pub(super) fn write_runstate_area<M: Machine>(machine: &M, vcpu: &Vcpu<M>) {
    let state = *vcpu.time.runstate.lock();
    show(machine, vcpu, &state);
}

fn show<M: Machine>(machine: &M, vcpu: &Vcpu<M>, state: &RunState) {
    let addr = vcpu.time.runstate_area.load(Ordering::Acquire);
    if addr == 0 {
        return;
    }
    if !vcpu.kernel_mode.load(Ordering::Relaxed) {
        vcpu.time.stale.store(true, Ordering::Relaxed);
        return;
    }
    let mut info = RunstateInfo {
        state: state.state,
        _pad0: [0; 4],
        state_entry_time: state.since,
        time: state.time,
    };
    let assist = vcpu.domain.vm_assist.load(Ordering::Relaxed);
    let entry_time = addr + core::mem::offset_of!(RunstateInfo, state_entry_time) as u64;
    // A guest that has unmapped its area does without.
    if assist & (1 << VMASST_TYPE_RUNSTATE_UPDATE_FLAG) == 0 {
        let _ = machine.copy_to_guest(addr, info.as_bytes());
        return;
    }
    let settled = info.state_entry_time;
    info.state_entry_time |= XEN_RUNSTATE_UPDATE;
    let _ = machine
        .copy_to_guest(entry_time, &info.state_entry_time.to_le_bytes())
        .and_then(|()| machine.copy_to_guest(addr, info.as_bytes()))
        .and_then(|()| machine.copy_to_guest(entry_time, &settled.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use oxen_abi::vcpu::{RUNSTATE_BLOCKED, RUNSTATE_RUNNABLE, RunstateInfo};

    use super::change_runstate;
    use crate::sync::atomic::Ordering;
    use crate::testing::{GUEST_BASE, Host};

    #[test]
    fn in_user_mode_the_area_waits_for_the_kernel() {
        let host = Host::new();
        let domain = host.domain(1, 1, 8);
        let vcpu = domain.vcpu(crate::VcpuId(0)).unwrap();
        let cx = host.cx(&vcpu);
        let root = host.ram(&domain);
        vcpu.arch.lock().kernel_root = Some(root);
        vcpu.time.runstate_area.store(GUEST_BASE, Ordering::Relaxed);
        let seen = || host.get::<RunstateInfo>(GUEST_BASE).state;

        change_runstate(host.machine(), &vcpu, RUNSTATE_RUNNABLE, 1);
        assert_eq!(seen(), RUNSTATE_RUNNABLE);

        vcpu.kernel_mode.store(false, Ordering::Relaxed);
        change_runstate(host.machine(), &vcpu, RUNSTATE_BLOCKED, 2);
        assert_eq!(
            seen(),
            RUNSTATE_RUNNABLE,
            "the kernel's memory is not mapped"
        );

        assert_eq!(crate::trap::enter_kernel(&cx), Ok(()));
        assert_eq!(seen(), RUNSTATE_BLOCKED);
        assert!(!vcpu.time.is_stale());
    }
}
