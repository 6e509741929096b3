//! vm_assist and physdev_op at their edges.

use oxen_abi::Errno;
use oxen_abi::event_channel::{BindPirq, EVTCHNOP_BIND_PIRQ};
use oxen_abi::hypercall::{HYPERVISOR_PHYSDEV_OP, HYPERVISOR_VM_ASSIST};
use oxen_abi::physdev as abi;
use oxen_abi::xen::{
    DOMID_SELF, VMASST_CMD_DISABLE, VMASST_CMD_ENABLE, VMASST_TYPE_4GB_SEGMENTS,
    VMASST_TYPE_M2P_STRICT, VMASST_TYPE_RUNSTATE_UPDATE_FLAG, VMASST_TYPE_WRITABLE_PAGETABLES,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::version::UNMAPPED;
use super::{Suite, ensure, same, skip};
use crate::sys::frame::Frame;
use crate::sys::hypercall;

fn physdev<T: IntoBytes + FromBytes + Immutable>(cmd: u32, arg: &mut T) -> hypercall::Result {
    hypercall::op(HYPERVISOR_PHYSDEV_OP, cmd, arg)
}

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    let assist = |cmd: u32, kind: u32| {
        hypercall::call(HYPERVISOR_VM_ASSIST, [u64::from(cmd), u64::from(kind)])
    };
    s.check("vm_assist/known_types", || {
        for kind in [
            VMASST_TYPE_4GB_SEGMENTS,
            VMASST_TYPE_WRITABLE_PAGETABLES,
            VMASST_TYPE_RUNSTATE_UPDATE_FLAG,
            VMASST_TYPE_M2P_STRICT,
        ] {
            ensure!(
                assist(VMASST_CMD_ENABLE, kind) == Ok(0)
                    && assist(VMASST_CMD_DISABLE, kind) == Ok(0),
                "type {kind}: {:?}",
                assist(VMASST_CMD_ENABLE, kind)
            );
        }
        Ok(())
    });
    s.check("vm_assist/unknown", || {
        for kind in [6, 31, 33, 63, 64, 1000, u32::MAX] {
            same!(assist(VMASST_CMD_ENABLE, kind), Err(Errno::EINVAL));
        }
        same!(assist(2, 0), Err(Errno::ENOSYS));
        Ok(())
    });
    s.check("physdev_op/iobitmap", || {
        let page = Frame::new();
        let mut arg = abi::SetIobitmap {
            bitmap: page.address(),
            nr_ports: 65_537,
            ..abi::SetIobitmap::default()
        };
        same!(
            physdev(abi::PHYSDEVOP_SET_IOBITMAP, &mut arg),
            Err(Errno::EINVAL)
        );
        arg.nr_ports = 1024;
        same!(physdev(abi::PHYSDEVOP_SET_IOBITMAP, &mut arg), Ok(0));
        arg.nr_ports = 0;
        same!(physdev(abi::PHYSDEVOP_SET_IOBITMAP, &mut arg), Ok(0));
        Ok(())
    });
    s.check("physdev_op/bad_interrupts", || {
        for irq in [100_000, u32::MAX] {
            same!(
                physdev(
                    abi::PHYSDEVOP_IRQ_STATUS_QUERY,
                    &mut abi::IrqStatusQuery { irq, flags: 0 }
                ),
                Err(Errno::EINVAL)
            );
            same!(
                physdev(abi::PHYSDEVOP_EOI, &mut abi::Eoi { irq }),
                Err(Errno::EINVAL)
            );
        }
        Ok(())
    });
    s.check("physdev_op/map_pirq_refused", || {
        let mut arg = abi::MapPirq {
            domid: 0x1234,
            type_: abi::MAP_PIRQ_TYPE_GSI,
            index: 9,
            pirq: -1,
            ..abi::MapPirq::default()
        };
        same!(
            physdev(abi::PHYSDEVOP_MAP_PIRQ, &mut arg),
            Err(Errno::ESRCH)
        );
        arg.domid = DOMID_SELF;
        arg.index = 0x7fff_ffff;
        ensure!(
            physdev(abi::PHYSDEVOP_MAP_PIRQ, &mut arg).is_err(),
            "a GSI that is not there"
        );
        arg.type_ = 77;
        ensure!(
            physdev(abi::PHYSDEVOP_MAP_PIRQ, &mut arg).is_err(),
            "an unknown type"
        );
        Ok(())
    });
    s.check("physdev_op/the_consoles_own_interrupt", || {
        if !privileged {
            skip!("dom0 only");
        }
        // ISA IRQ 4, of the serial line on which the hypervisor's console is.
        let mut arg = abi::MapPirq {
            domid: DOMID_SELF,
            type_: abi::MAP_PIRQ_TYPE_GSI,
            index: 4,
            pirq: 4,
            ..abi::MapPirq::default()
        };
        same!(physdev(abi::PHYSDEVOP_MAP_PIRQ, &mut arg), Ok(0));
        let mut bind = BindPirq {
            pirq: 4,
            ..BindPirq::default()
        };
        same!(
            super::events::op(EVTCHNOP_BIND_PIRQ, &mut bind),
            Err(Errno::EBUSY)
        );
        let mut arg = abi::UnmapPirq {
            domid: DOMID_SELF,
            pirq: 4,
            ..abi::UnmapPirq::default()
        };
        same!(physdev(abi::PHYSDEVOP_UNMAP_PIRQ, &mut arg), Ok(0));
        Ok(())
    });
    s.check("physdev_op/gsi", || {
        let mut arg = abi::SetupGsi {
            gsi: 0x7fff_ffff,
            ..abi::SetupGsi::default()
        };
        let result = physdev(abi::PHYSDEVOP_SETUP_GSI, &mut arg);
        ensure!(
            result == Err(Errno::EINVAL) || !privileged && result == Err(Errno::EPERM),
            "{result:?}"
        );
        Ok(())
    });
    s.check("physdev_op/eoi_page", || {
        let page = Frame::new();
        let mut arg = abi::PirqEoiGmfn { gmfn: page.mfn() };
        same!(physdev(abi::PHYSDEVOP_PIRQ_EOI_GMFN_V2, &mut arg), Ok(0));
        same!(
            physdev(abi::PHYSDEVOP_PIRQ_EOI_GMFN_V2, &mut arg),
            Err(Errno::EBUSY)
        );
        Ok(())
    });
    s.check("physdev_op/unknown_and_bad_pointer", || {
        for cmd in [32, 100, u32::MAX] {
            same!(physdev(cmd, &mut 0u64), Err(Errno::ENOSYS));
        }
        for cmd in [
            abi::PHYSDEVOP_EOI,
            abi::PHYSDEVOP_SET_IOPL,
            abi::PHYSDEVOP_MAP_PIRQ,
        ] {
            same!(
                hypercall::call(HYPERVISOR_PHYSDEV_OP, [u64::from(cmd), UNMAPPED]),
                Err(Errno::EFAULT)
            );
        }
        Ok(())
    });
}
