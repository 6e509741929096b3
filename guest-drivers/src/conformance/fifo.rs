//! Event channels, FIFO ABI.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;

use super::events::{alloc_unbound, bind_interdomain, bind_ipi, close, let_in, op, send, unmask};
use super::mappings::NO_FRAME;
use super::{Outcome, Suite, ensure, good, same, some};
use crate::event::{self, Fifo, fifo};
use crate::pagetable;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, shared};

fn init_control(mfn: u64, offset: u32, vcpu: u32) -> hypercall::Result<u8> {
    let mut arg = abi::InitControl {
        control_gfn: mfn,
        offset,
        vcpu,
        ..abi::InitControl::default()
    };
    op(abi::EVTCHNOP_INIT_CONTROL, &mut arg).map(|_| arg.link_bits)
}

fn expand_array(mfn: u64) -> hypercall::Result {
    op(
        abi::EVTCHNOP_EXPAND_ARRAY,
        &mut abi::ExpandArray { array_gfn: mfn },
    )
}

fn set_priority(port: u32, priority: u32) -> hypercall::Result {
    op(
        abi::EVTCHNOP_SET_PRIORITY,
        &mut abi::SetPriority { port, priority },
    )
}

/// A page of event words, all masked.
fn array_page() -> Frame {
    let page = Frame::new();
    page.fill(0x4000_0000_4000_0000);
    page
}

/// Binds an inter-processor event and unmasks it.
fn ready_port() -> Outcome<u32> {
    let port = good!(bind_ipi(0));
    ensure!(
        !fifo::unmask(some!(Fifo::word(port))),
        "a new port is pending"
    );
    Ok(port)
}

fn switch(s: &mut Suite<'_>) -> bool {
    s.check("fifo/before_init", || {
        ensure!(
            expand_array(array_page().mfn()).is_err(),
            "an array without control"
        );
        Ok(())
    });
    s.check("fifo/init_refused", || {
        let page = Frame::new();
        same!(init_control(page.mfn(), 4, 0), Err(Errno::EINVAL));
        same!(init_control(page.mfn(), 4096 - 64, 0), Err(Errno::EINVAL));
        same!(
            init_control(page.mfn(), u32::MAX - 7, 0),
            Err(Errno::EINVAL)
        );
        same!(init_control(page.mfn(), 0, 0x7fff), Err(Errno::ENOENT));
        ensure!(init_control(NO_FRAME, 0, 0).is_err(), "control in no frame");
        good!(pagetable::make_read_only(page));
        Ok(())
    });
    let control = Frame::new();
    let array = array_page();
    // A port from before the switch stays bound and works afterwards.
    let early = bind_ipi(0);
    let inited = init_control(control.mfn(), 0, 0);
    let expanded = expand_array(array.mfn());
    let ready = inited.is_ok() && expanded.is_ok();
    if ready {
        Fifo::set_control(0, Some(control));
        Fifo::set_array(0, Some(array));
    }
    s.check("fifo/switch", || {
        same!(inited, Ok(17));
        same!(expanded, Ok(0));
        let early = good!(early);
        let _ = fifo::unmask(some!(Fifo::word(early)));
        good!(unmask(early));
        let_in();
        let before = event::count(early);
        good!(send(early));
        let_in();
        same!(event::count(early), before + 1);
        good!(close(early));
        Ok(())
    });
    ready
}

fn delivery(s: &mut Suite<'_>) {
    s.check("fifo/send", || {
        let port = ready_port()?;
        let before = event::count(port);
        for round in 1..=10 {
            good!(send(port));
            let_in();
            same!(event::count(port), before + round);
        }
        good!(close(port));
        Ok(())
    });
    s.check("fifo/once_linked_once_delivered", || {
        let port = ready_port()?;
        let before = event::count(port);
        good!(send(port));
        good!(send(port));
        let_in();
        same!(event::count(port), before + 1);
        good!(close(port));
        Ok(())
    });
    s.check("fifo/order_in_a_queue", || {
        let ports = [ready_port()?, ready_port()?, ready_port()?];
        for port in [ports[1], ports[2], ports[0]] {
            good!(send(port));
        }
        let_in();
        ensure!(
            event::last(ports[1]) < event::last(ports[2])
                && event::last(ports[2]) < event::last(ports[0]),
            "not in the order of sending"
        );
        for port in ports {
            good!(close(port));
        }
        Ok(())
    });
    s.check("fifo/priorities", || {
        let (low, high) = (ready_port()?, ready_port()?);
        same!(set_priority(low, 15), Ok(0));
        same!(set_priority(high, 0), Ok(0));
        good!(send(low));
        good!(send(high));
        let_in();
        ensure!(
            event::last(high) < event::last(low),
            "the low priority came first"
        );
        same!(set_priority(low, 16), Err(Errno::EINVAL));
        same!(set_priority(u32::MAX, 0), Err(Errno::EINVAL));
        good!(close(low));
        good!(close(high));
        Ok(())
    });
    s.check("fifo/masked", || {
        let port = ready_port()?;
        let before = event::count(port);
        fifo::mask(some!(Fifo::word(port)));
        good!(send(port));
        let_in();
        same!(event::count(port), before);
        ensure!(fifo::is_pending(some!(Fifo::word(port))), "not pending");
        ensure!(
            fifo::unmask(some!(Fifo::word(port))),
            "not pending when unmasked"
        );
        good!(unmask(port));
        let_in();
        same!(event::count(port), before + 1);
        good!(close(port));
        Ok(())
    });
    s.check("fifo/interdomain", || {
        let a = good!(alloc_unbound(DOMID_SELF));
        let b = good!(bind_interdomain(DOMID_SELF, a));
        for port in [a, b] {
            let _ = fifo::unmask(some!(Fifo::word(port)));
            good!(unmask(port));
        }
        let_in();
        let before = event::count(b);
        good!(send(a));
        let_in();
        same!(event::count(b), before + 1);
        good!(close(a));
        good!(close(b));
        Ok(())
    });
}

fn growth(s: &mut Suite<'_>) {
    s.check("fifo/expand_refused", || {
        ensure!(expand_array(NO_FRAME).is_err(), "an array in no frame");
        Ok(())
    });
    s.check("fifo/second_page", || {
        let page = array_page();
        same!(expand_array(page.mfn()), Ok(0));
        Fifo::set_array(1, Some(page));
        let mut ports = [0u32; 1100];
        for port in &mut ports {
            *port = good!(bind_ipi(0));
        }
        let highest = some!(ports.iter().copied().max());
        ensure!(highest >= 1024, "highest port {highest}");
        let _ = fifo::unmask(some!(Fifo::word(highest)));
        let before = event::count(highest);
        good!(send(highest));
        let_in();
        same!(event::count(highest), before + 1);
        for port in ports {
            good!(close(port));
        }
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    if !switch(s) {
        return;
    }
    delivery(s);
    growth(s);
    // The last one, for it may leave queues that do not work.
    s.check("fifo/guest_corrupts_words", || {
        // A link to itself, a bad port, flags that do not fit: the hypervisor must survive it.
        let (a, b) = (ready_port()?, ready_port()?);
        let word = some!(Fifo::word(a));
        good!(send(a));
        word.fetch_or(0x1_ffff, Ordering::SeqCst);
        good!(send(b));
        good!(send(a));
        word.store(0xffff_ffff, Ordering::SeqCst);
        good!(send(a));
        good!(send(b));
        word.store(0, Ordering::SeqCst);
        let_in();
        good!(close(a));
        good!(close(b));
        Ok(())
    });
    let reset = op(abi::EVTCHNOP_RESET, &mut abi::Reset { dom: DOMID_SELF });
    if reset.is_ok() {
        Fifo::set_control(0, None);
        Fifo::set_array(0, None);
        Fifo::set_array(1, None);
        if let Some(info) = shared::info() {
            for (pending, mask) in info.pending.iter().zip(&info.mask) {
                pending.store(0, Ordering::SeqCst);
                mask.store(0, Ordering::SeqCst);
            }
        }
    }
    s.check("fifo/reset", || {
        same!(reset, Ok(0));
        same!(
            op(abi::EVTCHNOP_RESET, &mut abi::Reset { dom: 0x1234 }),
            Err(Errno::ESRCH)
        );
        // Back to 2 levels.
        let port = good!(bind_ipi(0));
        let before = event::count(port);
        good!(send(port));
        let_in();
        same!(event::count(port), before + 1);
        good!(close(port));
        Ok(())
    });
}
