//! set_callbacks, callback_op, nmi_op.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::callback as abi;
use oxen_abi::hypercall::{
    HYPERVISOR_CALLBACK_OP, HYPERVISOR_NMI_OP, HYPERVISOR_SET_CALLBACKS, HYPERVISOR_VCPU_OP,
};
use oxen_abi::nmi::{NmiCallback, XENNMI_REGISTER_CALLBACK, XENNMI_UNREGISTER_CALLBACK};
use oxen_abi::vcpu::VCPUOP_SEND_NMI;

use super::version::UNMAPPED;
use super::{Suite, ensure, same};
use crate::sys::{hypercall, trap};

/// Registers a callback (`CALLBACKOP_register`).
pub(crate) fn register(kind: u16, flags: u16, address: u64) -> hypercall::Result {
    let mut request = abi::CallbackRegister {
        type_: kind,
        flags,
        address,
        ..abi::CallbackRegister::default()
    };
    hypercall::op(
        HYPERVISOR_CALLBACK_OP,
        abi::CALLBACKOP_REGISTER,
        &mut request,
    )
}

fn unregister(kind: u16) -> hypercall::Result {
    let mut request = abi::CallbackUnregister {
        type_: kind,
        _unused: 0,
    };
    hypercall::op(
        HYPERVISOR_CALLBACK_OP,
        abi::CALLBACKOP_UNREGISTER,
        &mut request,
    )
}

pub(super) fn run(s: &mut Suite<'_>) {
    let set = hypercall::call(
        HYPERVISOR_SET_CALLBACKS,
        [
            trap::event_callback_address(),
            trap::failsafe_callback_address(),
            trap::syscall_callback_address(),
        ],
    );
    s.check("set_callbacks/set", || {
        same!(set, Ok(0));
        Ok(())
    });
    s.check("set_callbacks/non_canonical", || {
        for bad in 0..3 {
            let mut args = [
                trap::event_callback_address(),
                trap::failsafe_callback_address(),
                trap::syscall_callback_address(),
            ];
            args[bad] = 1 << 47;
            // An error or not: the bad one is not taken, as the events further on show.
            let result = hypercall::call(HYPERVISOR_SET_CALLBACKS, args);
            ensure!(
                result == Ok(0) || result == Err(Errno::EINVAL),
                "{result:?}"
            );
        }
        Ok(())
    });
    s.check("callback_op/register", || {
        same!(
            register(abi::CALLBACKTYPE_EVENT, 0, trap::event_callback_address()),
            Ok(0)
        );
        same!(
            register(
                abi::CALLBACKTYPE_FAILSAFE,
                abi::CALLBACKF_MASK_EVENTS,
                trap::failsafe_callback_address()
            ),
            Ok(0)
        );
        let syscall = trap::syscall_callback_address();
        for kind in [
            abi::CALLBACKTYPE_SYSCALL,
            abi::CALLBACKTYPE_SYSCALL32,
            abi::CALLBACKTYPE_SYSENTER,
        ] {
            same!(register(kind, abi::CALLBACKF_MASK_EVENTS, syscall), Ok(0));
        }
        same!(
            register(abi::CALLBACKTYPE_NMI, 0, trap::nmi_callback_address()),
            Ok(0)
        );
        Ok(())
    });
    s.check("callback_op/refused", || {
        same!(
            register(abi::CALLBACKTYPE_EVENT, 0, 1 << 47),
            Err(Errno::EINVAL)
        );
        for kind in [6, 8, 0xffff] {
            same!(register(kind, 0, UNMAPPED), Err(Errno::ENOSYS));
            same!(unregister(kind), Err(Errno::ENOSYS));
        }
        for kind in [
            abi::CALLBACKTYPE_EVENT,
            abi::CALLBACKTYPE_FAILSAFE,
            abi::CALLBACKTYPE_SYSCALL,
            abi::CALLBACKTYPE_SYSENTER,
        ] {
            same!(unregister(kind), Err(Errno::EINVAL));
        }
        same!(
            hypercall::call(
                HYPERVISOR_CALLBACK_OP,
                [u64::from(abi::CALLBACKOP_REGISTER), UNMAPPED]
            ),
            Err(Errno::EFAULT)
        );
        same!(
            hypercall::call(HYPERVISOR_CALLBACK_OP, [2, 0]),
            Err(Errno::ENOSYS)
        );
        Ok(())
    });
    s.check("nmi/send_to_self", || {
        let before = trap::NMIS.load(Ordering::Relaxed);
        same!(
            hypercall::call(HYPERVISOR_VCPU_OP, [u64::from(VCPUOP_SEND_NMI), 0, 0]),
            Ok(0)
        );
        same!(trap::NMIS.load(Ordering::Relaxed), before + 1);
        same!(unregister(abi::CALLBACKTYPE_NMI), Ok(0));
        Ok(())
    });
    s.check("nmi_op/register", || {
        let mut request = NmiCallback {
            handler_address: trap::nmi_callback_address(),
            pad: 0,
        };
        let registered = hypercall::op(HYPERVISOR_NMI_OP, XENNMI_REGISTER_CALLBACK, &mut request);
        ensure!(
            registered == Ok(0) || registered == Err(Errno::EINVAL),
            "register gives {registered:?}"
        );
        same!(
            hypercall::call(
                HYPERVISOR_NMI_OP,
                [u64::from(XENNMI_UNREGISTER_CALLBACK), 0]
            ),
            Ok(0)
        );
        same!(
            hypercall::call(HYPERVISOR_NMI_OP, [2, 0]),
            Err(Errno::ENOSYS)
        );
        Ok(())
    });
}
