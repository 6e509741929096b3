//! The guest's side: its hypercalls, and how it takes events in either ABI.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;

use crate::domain::Domain;
use crate::error::Stop;
use crate::event;
use crate::machine::Machine;
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::{Mfn, VcpuId};

pub(super) type Guest = Arc<Domain<Sim>>;

/// A hypercall by vCPU 0 of a domain; the arguments as they come back.
pub(super) fn call<T: Copy + zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    args: T,
) -> Result<T, Errno> {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, &args);
    match event::hypercall(&host.cx(&vcpu), u64::from(cmd), addr) {
        Ok(0) => Ok(host.get(addr)),
        Err(Stop::Errno(errno)) => Err(errno),
        other => panic!("{other:?}"),
    }
}

pub(super) fn alloc(host: &Host, guest: &Guest, remote: u16) -> Result<u32, Errno> {
    let args = abi::AllocUnbound {
        dom: DOMID_SELF,
        remote_dom: remote,
        port: 0,
    };
    call(host, guest, abi::EVTCHNOP_ALLOC_UNBOUND, args).map(|args| args.port)
}

pub(super) fn bind(
    host: &Host,
    guest: &Guest,
    remote_dom: u16,
    remote_port: u32,
) -> Result<u32, Errno> {
    let args = abi::BindInterdomain {
        remote_dom,
        remote_port,
        ..Default::default()
    };
    call(host, guest, abi::EVTCHNOP_BIND_INTERDOMAIN, args).map(|args| args.local_port)
}

pub(super) fn bind_virq(host: &Host, guest: &Guest, virq: u32, vcpu: u32) -> Result<u32, Errno> {
    let args = abi::BindVirq {
        virq,
        vcpu,
        port: 0,
    };
    call(host, guest, abi::EVTCHNOP_BIND_VIRQ, args).map(|args| args.port)
}

pub(super) fn bind_ipi(host: &Host, guest: &Guest, vcpu: u32) -> Result<u32, Errno> {
    call(
        host,
        guest,
        abi::EVTCHNOP_BIND_IPI,
        abi::BindIpi { vcpu, port: 0 },
    )
    .map(|args| args.port)
}

pub(super) fn close(host: &Host, guest: &Guest, port: u32) -> Result<(), Errno> {
    call(host, guest, abi::EVTCHNOP_CLOSE, abi::Close { port }).map(|_| ())
}

pub(super) fn send(host: &Host, guest: &Guest, port: u32) -> Result<(), Errno> {
    call(host, guest, abi::EVTCHNOP_SEND, abi::Send { port }).map(|_| ())
}

pub(super) fn unmask(host: &Host, guest: &Guest, port: u32) -> Result<(), Errno> {
    call(host, guest, abi::EVTCHNOP_UNMASK, abi::Unmask { port }).map(|_| ())
}

pub(super) fn status(host: &Host, guest: &Guest, port: u32) -> Result<abi::Status, Errno> {
    let args = abi::Status {
        dom: DOMID_SELF,
        port,
        ..Default::default()
    };
    call(host, guest, abi::EVTCHNOP_STATUS, args)
}

/// The guest's side of whichever ABI it uses.
pub(super) enum Side {
    TwoLevel,
    Fifo { words: Mfn, control: Mfn },
}

pub(super) const PENDING: u32 = 1 << 31;
pub(super) const MASKED: u32 = 1 << 30;
pub(super) const LINKED: u32 = 1 << 29;
pub(super) const LINK: u32 = (1 << 17) - 1;

/// Sets FIFO up with one page of words, all masked as Linux does, and vCPU 0's control block.
pub(super) fn go_fifo(host: &Host, guest: &Guest) -> Side {
    let (words, control) = (host.ram(guest), host.ram(guest));
    for word in host.machine().page32(words).unwrap() {
        word.store(MASKED, Ordering::Release);
    }
    let args = abi::InitControl {
        control_gfn: control.0,
        ..Default::default()
    };
    let args = call(host, guest, abi::EVTCHNOP_INIT_CONTROL, args).unwrap();
    assert_eq!(args.link_bits, 17);
    let args = abi::ExpandArray { array_gfn: words.0 };
    call(host, guest, abi::EVTCHNOP_EXPAND_ARRAY, args).unwrap();
    Side::Fifo { words, control }
}

impl Side {
    /// Takes all events that the guest would see now.
    pub(super) fn take(&self, host: &Host, guest: &Guest) -> Vec<u32> {
        let vcpu = guest.vcpu(VcpuId(0)).unwrap();
        let info = event::info(host.machine(), &vcpu).unwrap();
        info.words()[0].fetch_and(!0xff, Ordering::AcqRel);
        match self {
            Self::TwoLevel => {
                let page = host
                    .machine()
                    .page(*guest.memory.shared_info.get().unwrap())
                    .unwrap();
                let mut selector = info.words()[1].swap(0, Ordering::AcqRel);
                let mut taken = Vec::new();
                while selector != 0 {
                    let index = selector.trailing_zeros() as usize;
                    selector &= selector - 1;
                    let mask = page[320 + index].load(Ordering::Acquire);
                    let found = page[256 + index].fetch_and(mask, Ordering::AcqRel) & !mask;
                    taken.extend(
                        (0..64)
                            .filter(|bit| found & (1 << bit) != 0)
                            .map(|bit| u32::try_from(index).unwrap() * 64 + bit),
                    );
                }
                taken
            }
            Self::Fifo { words, control } => {
                let words = host.machine().page32(*words).unwrap();
                let control = host.machine().page32(*control).unwrap();
                let mut ready = control[0].swap(0, Ordering::AcqRel);
                let mut taken = Vec::new();
                while ready != 0 {
                    let priority = ready.trailing_zeros() as usize;
                    ready &= ready - 1;
                    let mut port = control[2 + priority].load(Ordering::Acquire);
                    while port != 0 {
                        let word = &words[port as usize];
                        let before = word.fetch_and(!(LINKED | LINK), Ordering::AcqRel);
                        if before & PENDING != 0 && before & MASKED == 0 {
                            word.fetch_and(!PENDING, Ordering::AcqRel);
                            taken.push(port);
                        }
                        port = before & LINK;
                    }
                }
                taken
            }
        }
    }

    pub(super) fn mask(&self, host: &Host, guest: &Guest, port: u32) {
        match self {
            Self::TwoLevel => {
                let page = host
                    .machine()
                    .page(*guest.memory.shared_info.get().unwrap())
                    .unwrap();
                page[320 + port as usize / 64].fetch_or(1 << (port % 64), Ordering::AcqRel);
            }
            Self::Fifo { words, .. } => {
                let words = host.machine().page32(*words).unwrap();
                words[port as usize].fetch_or(MASKED, Ordering::AcqRel);
            }
        }
    }
}

pub(super) fn woken(host: &Host, guest: &Guest, vcpu: u16) -> bool {
    event::has_pending(host.machine(), &guest.vcpu(VcpuId(vcpu)).unwrap())
}

pub(super) fn host() -> Host {
    Host::with_frames(256)
}
