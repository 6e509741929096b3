//! CR0.TS and the CR0 and CR4 that a guest sees.

use crate::domain::Domain;
use crate::error::HcResult;
use crate::machine::Machine;
use crate::percpu::Cx;

/// CR0 as a guest finds it: PG, AM, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8005_0033;
pub(super) const CR0_TS: u64 = 1 << 3;
/// CR4 bits that are always on: PAE, MCE, OSFXSR, OSXMMEXCPT.
const CR4_FIXED: u64 = 0x660;
const CR4_TSD: u64 = 1 << 2;
const CR4_DE: u64 = 1 << 3;
const CR4_FSGSBASE: u64 = 1 << 16;
/// CR4.OSXSAVE.
pub(super) const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4 bits that are the guest's own: they are in force while it runs.
const CR4_GUEST: u64 = CR4_TSD | CR4_DE | CR4_FSGSBASE;
/// Leaf 1 ECX: XSAVE.
const HAS_XSAVE: u32 = 1 << 26;
/// Leaf 7 EBX: RDFSBASE and the like.
const HAS_FSGSBASE: u32 = 1 << 0;

/// `HYPERVISOR_fpu_taskswitch`.
#[inline(never)]
pub fn fpu_taskswitch<M: Machine>(cx: &Cx<'_, M>, set: u64) -> HcResult {
    set_ts(cx, set != 0);
    Ok(0)
}

/// Sets or clears the guest's TS.
pub(super) fn set_ts<M: Machine>(cx: &Cx<'_, M>, set: bool) {
    cx.vcpu.arch.lock().ts = set;
    cx.machine().set_ts(set);
}

/// #NM: the guest gets it with TS cleared, as the ABI has it.
pub(super) fn no_device<M: Machine>(cx: &Cx<'_, M>) {
    set_ts(cx, false);
}

/// What a guest reads from CR0.
pub(super) fn cr0<M: Machine>(cx: &Cx<'_, M>) -> u64 {
    CR0 | if cx.vcpu.arch.lock().ts { CR0_TS } else { 0 }
}

/// Writes a guest's CR0: only TS can change. Returns whether the value was one it can have.
pub(super) fn set_cr0<M: Machine>(cx: &Cx<'_, M>, value: u64) -> bool {
    if (value ^ cr0(cx)) & !CR0_TS != 0 {
        return false;
    }
    set_ts(cx, value & CR0_TS != 0);
    true
}

/// What a guest reads from CR4. OSXSAVE is on from the start where the processor has XSAVE: Linux
/// takes it for the sign that it may use XSAVE.
pub(super) fn cr4<M: Machine>(cx: &Cx<'_, M>) -> u64 {
    let [_, _, features, _] = cx.machine().cpuid(1, 0);
    let xsave = if features & HAS_XSAVE != 0 {
        CR4_OSXSAVE
    } else {
        0
    };
    CR4_FIXED | xsave | (cx.vcpu.arch.lock().cr4 & CR4_GUEST)
}

/// Writes a guest's CR4: bits that are not the guest's stay as they are.
pub(super) fn set_cr4<M: Machine>(cx: &Cx<'_, M>, value: u64) {
    let value = allowed_cr4(cx.machine(), cx.domain(), value);
    cx.vcpu.arch.lock().cr4 = value;
    cx.machine().set_guest_cr4(value);
}

/// The bits of a CR4 that a vCPU of the domain can have.
pub fn allowed_cr4<M: Machine>(machine: &M, domain: &Domain<M>, value: u64) -> u64 {
    let seven = domain.cpu_policy.read().narrow(7, 0, machine.cpuid(7, 0));
    let [_, features, ..] = seven;
    let lacking = if features & HAS_FSGSBASE == 0 {
        CR4_FSGSBASE
    } else {
        0
    };
    value & CR4_GUEST & !lacking
}
