//! A granting domain, and the operations of a mapping one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::grant::hypercall;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::get_page;
use crate::mm::types::get_type;
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::{Mfn, VcpuId};

pub(super) type Guest = Arc<Domain<Sim>>;

pub(super) fn batch<T: IntoBytes + FromBytes + Immutable + core::marker::Copy, const N: usize>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    ops: [T; N],
) -> [T; N] {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, ops.as_slice());
    assert_eq!(
        hypercall(&host.cx(&vcpu), u64::from(cmd), addr, N as u64),
        Ok(0)
    );
    core::array::from_fn(|n| host.get(addr + (n * size_of::<T>()) as u64))
}

pub(super) fn single<T: IntoBytes + FromBytes + Immutable + core::marker::Copy>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    op: T,
) -> T {
    let [op] = batch(host, guest, cmd, [op]);
    op
}

/// A granting domain with a table of one frame.
pub(super) struct Granter {
    pub(super) guest: Guest,
    pub(super) table: Mfn,
    pub(super) frames: Vec<Mfn>,
}

impl Granter {
    pub(super) fn new(host: &Host, id: u16, frames: usize) -> Self {
        let guest = host.domain(id, 1, 64);
        let op = SetupTable {
            dom: DOMID_SELF,
            nr_frames: 1,
            frame_list: 0x1_1000,
            ..Default::default()
        };
        assert_eq!(
            single(host, &guest, GNTTABOP_SETUP_TABLE, op).status,
            GNTST_OKAY
        );
        let table = Mfn(host.get::<u64>(0x1_1000));
        let frames = (0..frames).map(|_| host.ram(&guest)).collect();
        Self {
            guest,
            table,
            frames,
        }
    }

    pub(super) fn entry<'a>(
        &self,
        host: &'a Host,
        reference: u32,
    ) -> &'a crate::sync::atomic::AtomicU64 {
        &host.machine().page(self.table).unwrap()[reference as usize]
    }

    pub(super) fn grant(&self, host: &Host, reference: u32, to: u16, mfn: Mfn, readonly: bool) {
        let flags = GTF_PERMIT_ACCESS | if readonly { GTF_READONLY } else { 0 };
        let word = u64::from(flags) | u64::from(to) << 16 | mfn.0 << 32;
        self.entry(host, reference).store(word, Ordering::Release);
    }

    pub(super) fn flags(&self, host: &Host, reference: u32) -> u16 {
        (self.entry(host, reference).load(Ordering::Acquire) & 0xffff) as u16
    }
}

/// An L1 table of a domain's that is not part of any tree: entries go by machine address.
pub(super) fn l1(host: &Host, guest: &Guest) -> Mfn {
    let table = host.ram(guest);
    assert!(get_page(host.machine(), table, guest.id));
    get_type(&host.cpu, guest, table, PageType::L1).unwrap();
    table
}

pub(super) fn map_op(dom: u16, reference: u32, table: Mfn, slot: u64, flags: u32) -> MapGrantRef {
    MapGrantRef {
        host_addr: table.address() + slot * 8,
        flags: flags | GNTMAP_CONTAINS_PTE,
        ref_: reference,
        dom,
        ..Default::default()
    }
}

pub(super) fn unmap_op(op: &MapGrantRef) -> UnmapGrantRef {
    let device = op.flags & GNTMAP_DEVICE_MAP != 0;
    UnmapGrantRef {
        host_addr: if op.flags & GNTMAP_HOST_MAP != 0 {
            op.host_addr
        } else {
            0
        },
        dev_bus_addr: if device { op.dev_bus_addr } else { 0 },
        handle: op.handle,
        ..Default::default()
    }
}

pub(super) fn counts(host: &Host, mfn: Mfn) -> (u64, u64) {
    let frame = host.machine().frame(mfn).unwrap();
    (frame.count().count(), frame.types().count())
}
