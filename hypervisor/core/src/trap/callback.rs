//! The hypercalls by which a guest registers its handlers.

use oxen_abi::arch_x86::TrapInfo;
use oxen_abi::callback::{
    CALLBACKF_MASK_EVENTS, CALLBACKOP_REGISTER, CALLBACKOP_UNREGISTER, CALLBACKTYPE_EVENT,
    CALLBACKTYPE_FAILSAFE, CALLBACKTYPE_NMI, CALLBACKTYPE_SYSCALL, CALLBACKTYPE_SYSCALL32,
    CALLBACKTYPE_SYSENTER, CALLBACKTYPE_SYSENTER_DEPRECATED, CallbackRegister, CallbackUnregister,
};
use oxen_abi::errno::Errno;
use oxen_abi::nmi::{NmiCallback, XENNMI_REGISTER_CALLBACK, XENNMI_UNREGISTER_CALLBACK};

use super::state::{Callback, CallbackKind, Gate};
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::walk::is_canonical;
use crate::percpu::Cx;

/// `HYPERVISOR_set_trap_table`: a table that ends with an entry of address 0; a null handle forgets
/// all handlers.
#[inline(never)]
pub fn set_trap_table<M: Machine>(cx: &Cx<'_, M>, table: u64) -> HcResult {
    let table = GuestHandle::<TrapInfo>::new(table);
    if table.is_null() {
        cx.vcpu.arch.lock().traps.clear_gates();
        return Ok(0);
    }
    // One entry a vector and the end mark are enough for everyone.
    for index in 0..=256 {
        let info = table.read_at(cx.machine(), index)?;
        if info.address == 0 {
            return Ok(0);
        }
        if !is_canonical(info.address) {
            return Err(Errno::EINVAL.into());
        }
        cx.vcpu
            .arch
            .lock()
            .traps
            .set_gate(info.vector, Gate::from(info));
    }
    Err(Errno::EINVAL.into())
}

/// `HYPERVISOR_set_callbacks`.
#[inline(never)]
pub fn set_callbacks<M: Machine>(
    cx: &Cx<'_, M>,
    event: u64,
    failsafe: u64,
    syscall: u64,
) -> HcResult {
    register(cx, CallbackKind::Event, event, None)?;
    register(cx, CallbackKind::Failsafe, failsafe, None)?;
    register(cx, CallbackKind::Syscall, syscall, None)
}

/// Sets a callback's address and, where given, its mask flag.
fn register<M: Machine>(
    cx: &Cx<'_, M>,
    kind: CallbackKind,
    address: u64,
    masks: Option<bool>,
) -> HcResult {
    if !is_canonical(address) {
        return Err(Errno::EINVAL.into());
    }
    let traps = &mut cx.vcpu.arch.lock().traps;
    let masks = masks.unwrap_or(traps.callback(kind).masks);
    traps.set_callback(kind, Callback { address, masks });
    Ok(0)
}

/// `HYPERVISOR_callback_op`.
#[inline(never)]
pub fn callback_op<M: Machine>(cx: &Cx<'_, M>, command: u64, arg: u64) -> HcResult {
    if command == u64::from(CALLBACKOP_REGISTER) {
        let arg: CallbackRegister = GuestHandle::new(arg).read(cx.machine())?;
        let kind = kind_of(arg.type_)?;
        register(
            cx,
            kind,
            arg.address,
            Some(arg.flags & CALLBACKF_MASK_EVENTS != 0),
        )
    } else if command == u64::from(CALLBACKOP_UNREGISTER) {
        let arg: CallbackUnregister = GuestHandle::new(arg).read(cx.machine())?;
        match kind_of(arg.type_)? {
            CallbackKind::Nmi => register(cx, CallbackKind::Nmi, 0, Some(false)),
            // A guest cannot live without the others.
            _ => Err(Errno::EINVAL.into()),
        }
    } else {
        Err(Errno::ENOSYS.into())
    }
}

fn kind_of(kind: u16) -> Result<CallbackKind, Errno> {
    match kind {
        CALLBACKTYPE_EVENT => Ok(CallbackKind::Event),
        CALLBACKTYPE_FAILSAFE => Ok(CallbackKind::Failsafe),
        CALLBACKTYPE_SYSCALL => Ok(CallbackKind::Syscall),
        CALLBACKTYPE_SYSCALL32 => Ok(CallbackKind::Syscall32),
        CALLBACKTYPE_SYSENTER | CALLBACKTYPE_SYSENTER_DEPRECATED => Ok(CallbackKind::Sysenter),
        CALLBACKTYPE_NMI => Ok(CallbackKind::Nmi),
        _ => Err(Errno::ENOSYS),
    }
}

/// `HYPERVISOR_nmi_op`.
#[inline(never)]
pub fn nmi_op<M: Machine>(cx: &Cx<'_, M>, command: u64, arg: u64) -> HcResult {
    if command == u64::from(XENNMI_REGISTER_CALLBACK) {
        let arg: NmiCallback = GuestHandle::new(arg).read(cx.machine())?;
        register(cx, CallbackKind::Nmi, arg.handler_address, Some(false))
    } else if command == u64::from(XENNMI_UNREGISTER_CALLBACK) {
        register(cx, CallbackKind::Nmi, 0, Some(false))
    } else {
        Err(Errno::ENOSYS.into())
    }
}

/// `HYPERVISOR_stack_switch`: the stack for entries from user mode.
#[inline(never)]
pub fn stack_switch<M: Machine>(cx: &Cx<'_, M>, ss: u64, sp: u64) -> HcResult {
    let traps = &mut cx.vcpu.arch.lock().traps;
    traps.kernel_ss = u16::try_from(ss & 0xffff).unwrap_or(0) | 3;
    traps.kernel_sp = sp;
    Ok(0)
}
