//! Interrupts from the simulated machine to a guest's events.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as events;
use oxen_abi::physdev::*;
use oxen_abi::xen::DOMID_SELF;
use proptest::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::irq::pci::{Function, config_write};
use crate::irq::{device_interrupt, is_read_only_mmio, physdev_op, release_all};
use crate::machine::{IoSize, Machine};
use crate::sync::atomic::Ordering;
use crate::testing::{Host, MMIO, Sim};
use crate::types::{CpuId, Mfn, VcpuId};

type Guest = Arc<Domain<Sim>>;

fn raw<T: IntoBytes + Immutable>(host: &Host, guest: &Guest, cmd: u32, op: T) -> HcResult {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, &op);
    physdev_op(&host.cx(&vcpu), u64::from(cmd), addr)
}

fn call<T: IntoBytes + FromBytes + Immutable>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    op: T,
) -> Result<T, Errno> {
    match raw(host, guest, cmd, op) {
        Ok(0) => Ok(host.get(crate::testing::GUEST_BASE)),
        Err(Stop::Errno(errno)) => Err(errno),
        other => panic!("{other:?}"),
    }
}

fn map_gsi(host: &Host, guest: &Guest, gsi: i32, pirq: i32) -> Result<i32, Errno> {
    let op = MapPirq {
        domid: DOMID_SELF,
        type_: MAP_PIRQ_TYPE_GSI,
        index: gsi,
        pirq,
        ..Default::default()
    };
    call(host, guest, PHYSDEVOP_MAP_PIRQ, op).map(|op| op.pirq)
}

fn bind(host: &Host, guest: &Guest, pirq: i32, flags: u32) -> Result<u32, Errno> {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let pirq = u32::try_from(pirq).unwrap();
    let addr = host.put(
        0,
        &events::BindPirq {
            pirq,
            flags,
            port: 0,
        },
    );
    match crate::event::hypercall(&host.cx(&vcpu), events::EVTCHNOP_BIND_PIRQ.into(), addr) {
        Ok(0) => Ok(host.get::<events::BindPirq>(addr).port),
        Err(Stop::Errno(errno)) => Err(errno),
        other => panic!("{other:?}"),
    }
}

fn close(host: &Host, guest: &Guest, port: u32) {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, &events::Close { port });
    let cmd = u64::from(events::EVTCHNOP_CLOSE);
    assert_eq!(crate::event::hypercall(&host.cx(&vcpu), cmd, addr), Ok(0));
}

/// The ports that are pending, which are taken.
fn take(host: &Host, guest: &Guest) -> Vec<u32> {
    let page = host
        .machine()
        .page(*guest.memory.shared_info.get().unwrap())
        .unwrap();
    let word = page[256].swap(0, Ordering::AcqRel);
    (0..64).filter(|bit| word & (1 << bit) != 0).collect()
}

fn dom0(host: &Host) -> Guest {
    let dom0 = host.domain(0, 2, 64);
    dom0.permissions.lock().irqs.insert(0, 23);
    dom0
}

fn eoi(host: &Host, guest: &Guest, irq: i32) -> Result<(), Errno> {
    let irq = u32::try_from(irq).unwrap();
    call(host, guest, PHYSDEVOP_EOI, Eoi { irq }).map(|_| ())
}

#[test]
fn a_level_interrupt_stays_masked_until_eoi() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    let setup = SetupGsi {
        gsi: 16,
        triggering: 1,
        polarity: 1,
        ..Default::default()
    };
    assert!(call(&host, &dom0, PHYSDEVOP_SETUP_GSI, setup).is_ok());
    assert_eq!(
        call(&host, &dom0, PHYSDEVOP_SETUP_GSI, setup).map(|_| ()),
        Err(Errno::EEXIST)
    );
    let pirq = map_gsi(&host, &dom0, 16, 16).unwrap();
    assert_eq!(pirq, 16);
    let port = bind(&host, &dom0, pirq, 0).unwrap();
    assert_eq!(bind(&host, &dom0, pirq, 0), Err(Errno::EEXIST));
    let route = || host.machine().routes.lock()[&16];
    assert!(route().mode.level && route().mode.active_low && !route().masked);

    device_interrupt(&host.cpu, route().vector);
    assert!(route().masked);
    assert_eq!(take(&host, &dom0), [port]);
    assert_eq!(host.machine().eois.load(Ordering::Acquire), 1);
    assert_eq!(eoi(&host, &dom0, 17), Err(Errno::EINVAL));
    assert!(route().masked);
    assert_eq!(eoi(&host, &dom0, pirq), Ok(()));
    assert!(!route().masked);
    // An EOI too many changes nothing.
    assert_eq!(eoi(&host, &dom0, pirq), Ok(()));

    close(&host, &dom0, port);
    assert!(route().masked);
    assert_eq!(host.machine().vectors_in_use(), 0);
    device_interrupt(&host.cpu, route().vector);
    assert!(take(&host, &dom0).is_empty());
    assert_eq!(
        host.machine().eois.load(Ordering::Acquire),
        2,
        "a late one is acknowledged"
    );
}

#[test]
fn an_edge_interrupt_is_never_masked_and_follows_its_vcpu() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    let pirq = map_gsi(&host, &dom0, 1, 1).unwrap();
    let port = bind(&host, &dom0, pirq, 0).unwrap();
    let route = || host.machine().routes.lock()[&1];
    assert!(!route().mode.level);
    let first = route();
    for _ in 0..3 {
        device_interrupt(&host.cpu, first.vector);
        assert!(!route().masked);
        assert_eq!(take(&host, &dom0), [port]);
    }
    dom0.vcpu(VcpuId(1)).unwrap().sched.set_cpu(CpuId(1));
    let vcpu = dom0.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, &events::BindVcpu { port, vcpu: 1 });
    let cmd = u64::from(events::EVTCHNOP_BIND_VCPU);
    assert_eq!(crate::event::hypercall(&host.cx(&vcpu), cmd, addr), Ok(0));
    assert_eq!(route().cpu, CpuId(1));
    device_interrupt(&host.cpu, first.vector);
    assert_eq!(take(&host, &dom0), [port], "one that was on its way");
    assert_eq!(host.machine().vectors_in_use(), 2);
    close(&host, &dom0, port);
    assert_eq!(host.machine().vectors_in_use(), 0);
}

#[test]
fn wrong_requests_get_an_errno() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    let guest = host.domain(1, 1, 64);
    assert_eq!(map_gsi(&host, &dom0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(map_gsi(&host, &dom0, 24, 24), Err(Errno::EINVAL));
    assert_eq!(map_gsi(&host, &dom0, -1, 24), Err(Errno::EINVAL));
    assert_eq!(map_gsi(&host, &dom0, 5, 1 << 20), Err(Errno::EINVAL));
    assert_eq!(map_gsi(&host, &guest, 5, 5), Err(Errno::EPERM));
    assert_eq!(map_gsi(&host, &dom0, 5, -1), Ok(5));
    assert_eq!(map_gsi(&host, &dom0, 5, -1), Ok(5), "again is no error");
    assert_eq!(map_gsi(&host, &dom0, 6, 5), Err(Errno::EEXIST));
    assert_eq!(bind(&host, &dom0, 7, 0), Err(Errno::EPERM));
    assert_eq!(bind(&host, &dom0, i32::MAX, 0), Err(Errno::EINVAL));
    assert_eq!(dom0.events.in_use(), 0);
    // The hypervisor's own serial line.
    map_gsi(&host, &dom0, 4, 4).unwrap();
    assert_eq!(bind(&host, &dom0, 4, 0), Err(Errno::EBUSY));
    assert_eq!(dom0.events.in_use(), 0);
    assert_eq!(host.machine().vectors_in_use(), 0);
    let setup = |gsi, triggering| {
        let op = SetupGsi {
            gsi,
            triggering,
            ..Default::default()
        };
        call(&host, &dom0, PHYSDEVOP_SETUP_GSI, op).map(|_| ())
    };
    assert_eq!(setup(24, 0), Err(Errno::EINVAL));
    assert_eq!(setup(-1, 0), Err(Errno::EINVAL));
    assert_eq!(setup(9, 2), Err(Errno::EINVAL));
    for cmd in [
        PHYSDEVOP_SETUP_GSI,
        PHYSDEVOP_PCI_DEVICE_ADD,
        PHYSDEVOP_PREPARE_MSIX,
        PHYSDEVOP_RESTORE_MSI_EXT,
        PHYSDEVOP_DBGP_OP,
        PHYSDEVOP_APIC_READ,
        PHYSDEVOP_ALLOC_IRQ_VECTOR,
    ] {
        assert_eq!(
            raw(&host, &guest, cmd, [0u64; 4]),
            Err(Stop::Errno(Errno::EPERM)),
            "{cmd}"
        );
    }
    assert_eq!(raw(&host, &dom0, 99, 0u64), Err(Stop::Errno(Errno::ENOSYS)));
    let unmap = |pirq| {
        let op = UnmapPirq {
            domid: DOMID_SELF,
            pirq,
            ..Default::default()
        };
        call(&host, &dom0, PHYSDEVOP_UNMAP_PIRQ, op).map(|_| ())
    };
    assert_eq!(unmap(-1), Err(Errno::EINVAL));
    assert_eq!(unmap(5), Ok(()));
    assert_eq!(unmap(5), Err(Errno::EINVAL));
}

#[test]
fn the_eoi_map_says_which_need_one() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    let status = |irq| {
        call(
            &host,
            &dom0,
            PHYSDEVOP_IRQ_STATUS_QUERY,
            IrqStatusQuery { irq, flags: 9 },
        )
        .map(|op| op.flags)
    };
    assert_eq!(status(16), Ok(XENIRQSTAT_NEEDS_EOI));
    assert_eq!(status(1 << 16), Err(Errno::EINVAL));
    let level = map_gsi(&host, &dom0, 16, 16).unwrap();
    bind(&host, &dom0, level, 0).unwrap();
    let frame = host.ram(&dom0);
    let gmfn = |gmfn| {
        call(
            &host,
            &dom0,
            PHYSDEVOP_PIRQ_EOI_GMFN_V2,
            PirqEoiGmfn { gmfn },
        )
        .map(|_| ())
    };
    assert_eq!(gmfn(u64::MAX), Err(Errno::EINVAL));
    assert_eq!(gmfn(frame.0), Ok(()));
    assert_eq!(gmfn(frame.0), Err(Errno::EBUSY));
    assert_eq!(status(16), Ok(0));
    let word = || host.machine().page(frame).unwrap()[0].load(Ordering::Acquire);
    assert_eq!(word(), 1 << 16);
    let edge = map_gsi(&host, &dom0, 1, 1).unwrap();
    bind(&host, &dom0, edge, 0).unwrap();
    let other = map_gsi(&host, &dom0, 17, 17).unwrap();
    let port = bind(&host, &dom0, other, 0).unwrap();
    assert_eq!(word(), 1 << 16 | 1 << 17);
    close(&host, &dom0, port);
    assert_eq!(word(), 1 << 16);
    host.finish(|| release_all(&host.cpu, &dom0));
    assert_eq!(host.machine().frame(frame).unwrap().types().count(), 0);
    assert_eq!(host.machine().vectors_in_use(), 0);
    // Ports of PIRQs that are gone can still be closed.
    host.finish(|| crate::event::close_all(&host.cpu, &dom0));
}

#[test]
fn a_shared_line_waits_for_all_of_its_guests() {
    let host = Host::with_frames(128);
    let (dom0, guest) = (dom0(&host), host.domain(1, 1, 64));
    guest.permissions.lock().irqs.insert(18, 18);
    let share = events::BIND_PIRQ_WILL_SHARE;
    for domain in [&dom0, &guest] {
        map_gsi(&host, domain, 18, 18).unwrap();
    }
    let one = bind(&host, &dom0, 18, share).unwrap();
    assert_eq!(bind(&host, &guest, 18, 0), Err(Errno::EBUSY));
    let two = bind(&host, &guest, 18, share).unwrap();
    let route = || host.machine().routes.lock()[&18];
    device_interrupt(&host.cpu, route().vector);
    assert_eq!(
        (take(&host, &dom0), take(&host, &guest)),
        (alloc::vec![one], alloc::vec![two])
    );
    eoi(&host, &dom0, 18).unwrap();
    assert!(route().masked);
    // One that dies without EOI does not hold the others up.
    host.finish(|| release_all(&host.cpu, &guest));
    assert!(!route().masked);
}

/// A function with an MSI capability at 0x50 and an MSI-X one at 0x70 whose table is in BAR 0.
fn add_function(host: &Host, devfn: u8) -> Function {
    let mut config = alloc::vec![0u8; 4096];
    config[0..4].copy_from_slice(&[0x86, 0x80, 0xd3, 0x10]);
    config[4] = 2;
    config[6] = 0x10;
    config[0x10..0x14].copy_from_slice(&(u32::try_from(MMIO).unwrap() | 0x2000).to_le_bytes());
    config[0x34] = 0x50;
    config[0x50..0x54].copy_from_slice(&[0x05, 0x70, 0x80, 0x01]);
    config[0x70..0x74].copy_from_slice(&[0x11, 0, 4, 0]);
    config[0x74..0x78].copy_from_slice(&0x100u32.to_le_bytes());
    host.machine().pci.lock().insert((0, 0, devfn), config);
    Function {
        segment: 0,
        bus: 0,
        devfn,
    }
}

fn map_message(host: &Host, guest: &Guest, devfn: i32, entry: Option<i32>) -> Result<i32, Errno> {
    let op = MapPirq {
        domid: DOMID_SELF,
        type_: MAP_PIRQ_TYPE_MSI_SEG,
        index: -1,
        pirq: -1,
        bus: 0,
        devfn,
        entry_nr: entry.unwrap_or(0),
        table_base: if entry.is_some() { MMIO + 0x2000 } else { 0 },
        ..Default::default()
    };
    call(host, guest, PHYSDEVOP_MAP_PIRQ, op).map(|op| op.pirq)
}

#[test]
fn msi_is_the_hypervisors_to_program() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    let function = add_function(&host, 8);
    let read = |offset, size| host.machine().pci_read(0, 0, 8, offset, size);
    assert_eq!(map_message(&host, &dom0, 16, None), Err(Errno::ENODEV));
    let pirq = map_message(&host, &dom0, 8, None).unwrap();
    assert_eq!(map_message(&host, &dom0, 8, None), Err(Errno::EEXIST));
    assert_eq!(map_message(&host, &dom0, 8, Some(0)), Err(Errno::EBUSY));
    assert_eq!(read(0x54, IoSize::Dword), 0xfee0_0000);
    let vector = u8::try_from(read(0x5c, IoSize::Word)).unwrap();
    assert_eq!(read(0x60, IoSize::Dword), 1, "masked until bound");
    let port = bind(&host, &dom0, pirq, 0).unwrap();
    assert_eq!(read(0x60, IoSize::Dword), 0);

    // dom0 may enable it, and nothing else.
    config_write(host.hv, function, 0x52, IoSize::Word, 0xffff);
    assert_eq!(read(0x52, IoSize::Word), 0x0181);
    config_write(host.hv, function, 0x50, IoSize::Dword, 0);
    assert_eq!(read(0x50, IoSize::Dword), 0x0180_7005 & !0xffff);
    config_write(host.hv, function, 0x54, IoSize::Dword, 0xdead_beef);
    config_write(host.hv, function, 0x5c, IoSize::Byte, 0xff);
    config_write(host.hv, function, 0x60, IoSize::Dword, 1);
    assert_eq!(read(0x54, IoSize::Dword), 0xfee0_0000);
    assert_eq!(read(0x5c, IoSize::Word), u32::from(vector));
    assert_eq!(read(0x60, IoSize::Dword), 0);
    config_write(host.hv, function, 0x40, IoSize::Dword, 0x1234_5678);
    assert_eq!(read(0x40, IoSize::Dword), 0x1234_5678);

    device_interrupt(&host.cpu, vector);
    device_interrupt(&host.cpu, vector);
    assert_eq!(take(&host, &dom0), [port]);
    host.machine().pci_write(0, 0, 8, 0x54, IoSize::Dword, 0);
    let device = PciDevice {
        seg: 0,
        bus: 0,
        devfn: 8,
    };
    assert!(call(&host, &dom0, PHYSDEVOP_RESTORE_MSI_EXT, device).is_ok());
    assert_eq!(read(0x54, IoSize::Dword), 0xfee0_0000);
    let removed = call(&host, &dom0, PHYSDEVOP_PCI_DEVICE_REMOVE, device).map(|_| ());
    assert_eq!(removed, Err(Errno::EBUSY));

    close(&host, &dom0, port);
    assert_eq!(read(0x60, IoSize::Dword), 1);
    let op = UnmapPirq {
        domid: DOMID_SELF,
        pirq,
        ..Default::default()
    };
    call(&host, &dom0, PHYSDEVOP_UNMAP_PIRQ, op).unwrap();
    assert_eq!(read(0x52, IoSize::Word) & 1, 0);
    assert_eq!(host.machine().vectors_in_use(), 0);
    config_write(host.hv, function, 0x54, IoSize::Dword, 7);
    assert_eq!(read(0x54, IoSize::Dword), 7, "it is dom0's again");
}

#[test]
fn msix_tables_are_read_only_while_in_use() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    add_function(&host, 8);
    let table = Mfn((MMIO + 0x2000) >> 12);
    assert!(!is_read_only_mmio(host.hv, table));
    assert_eq!(map_message(&host, &dom0, 8, Some(5)), Err(Errno::EINVAL));
    assert_eq!(map_message(&host, &dom0, 8, Some(-1)), Err(Errno::EINVAL));
    let pirqs: Vec<_> = (0..5)
        .map(|entry| map_message(&host, &dom0, 8, Some(entry)).unwrap())
        .collect();
    assert_eq!(map_message(&host, &dom0, 8, Some(2)), Err(Errno::EEXIST));
    assert!(is_read_only_mmio(host.hv, table));
    let entry = |n: u64, word: u64| {
        host.machine()
            .mmio_read32(MMIO + 0x2100 + 16 * n + 4 * word)
    };
    assert_eq!(entry(3, 0), Some(0xfee0_0000));
    assert_eq!(entry(3, 3), Some(1));
    let port = bind(&host, &dom0, pirqs[3], 0).unwrap();
    assert_eq!(entry(3, 3), Some(0));
    let vector = u8::try_from(entry(3, 2).unwrap()).unwrap();
    device_interrupt(&host.cpu, vector);
    assert_eq!(take(&host, &dom0), [port]);
    let device = PciDevice {
        seg: 0,
        bus: 0,
        devfn: 8,
    };
    let prepared = call(&host, &dom0, PHYSDEVOP_PREPARE_MSIX, device).map(|_| ());
    assert_eq!(prepared, Err(Errno::EBUSY));
    host.finish(|| release_all(&host.cpu, &dom0));
    assert_eq!(entry(3, 3), Some(1));
    assert!(!is_read_only_mmio(host.hv, table));
    assert_eq!(host.machine().vectors_in_use(), 0);
    call(&host, &dom0, PHYSDEVOP_PREPARE_MSIX, device).unwrap();
    assert!(is_read_only_mmio(host.hv, table));
    call(&host, &dom0, PHYSDEVOP_RELEASE_MSIX, device).unwrap();
    assert!(!is_read_only_mmio(host.hv, table));
}

#[test]
fn vectors_running_out_is_an_error_and_no_more() {
    let host = Host::with_frames(128);
    let dom0 = dom0(&host);
    add_function(&host, 8);
    // The simulated machine has eight on a CPU.
    let bound = (5..23).filter(|gsi| {
        map_gsi(&host, &dom0, *gsi, *gsi).is_ok() && bind(&host, &dom0, *gsi, 0).is_ok()
    });
    assert_eq!(bound.count(), 8);
    assert_eq!(map_message(&host, &dom0, 8, None), Err(Errno::ENOSPC));
    assert_eq!(dom0.events.in_use(), 8);
    host.finish(|| release_all(&host.cpu, &dom0));
    assert_eq!(host.machine().vectors_in_use(), 0);
    assert!(map_message(&host, &dom0, 8, None).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Configuration space is the device's word: nothing in it may lead astray.
    #[test]
    fn any_configuration_space_is_survived(
        bytes in prop::collection::vec(any::<u8>(), 256),
        entry in prop::option::of(-1i32..40),
    ) {
        let host = Host::with_frames(128);
        let dom0 = dom0(&host);
        let mut config = bytes;
        config[6] |= 0x10;
        config.resize(4096, 0xa5);
        host.machine().pci.lock().insert((0, 0, 8), config);
        if let Ok(pirq) = map_message(&host, &dom0, 8, entry) {
            prop_assert!(bind(&host, &dom0, pirq, 0).is_ok());
        }
        config_write(host.hv, Function { segment: 0, bus: 0, devfn: 8 }, 0x54, IoSize::Dword, 0);
        host.finish(|| release_all(&host.cpu, &dom0));
        prop_assert_eq!(host.machine().vectors_in_use(), 0);
    }

    /// Requests in any order leave nothing behind.
    #[test]
    fn requests_balance(ops in prop::collection::vec((0u8..6, 1i32..24, 0usize..2), 0..60)) {
        let host = Host::with_frames(128);
        let guests = [dom0(&host), host.domain(1, 1, 64)];
        guests[1].permissions.lock().irqs.insert(0, 23);
        for (op, pirq, who) in ops {
            let guest = &guests[who];
            match op {
                0 => {
                    let _ = map_gsi(&host, guest, pirq, pirq);
                }
                1 => {
                    let _ = bind(&host, guest, pirq, events::BIND_PIRQ_WILL_SHARE);
                }
                2 => {
                    let _ = eoi(&host, guest, pirq);
                }
                3 => {
                    let op = UnmapPirq { domid: DOMID_SELF, pirq, ..Default::default() };
                    let _ = call(&host, guest, PHYSDEVOP_UNMAP_PIRQ, op);
                }
                4 => device_interrupt(&host.cpu, 0x40 + (pirq & 7) as u8),
                _ => {
                    let _ = map_gsi(&host, guest, pirq, -1);
                }
            }
        }
        for guest in &guests {
            host.finish(|| release_all(&host.cpu, guest));
            host.finish(|| crate::event::close_all(&host.cpu, guest));
        }
        prop_assert_eq!(host.machine().vectors_in_use(), 0);
        prop_assert!(host.machine().routes.lock().values().all(|route| route.masked));
    }
}
