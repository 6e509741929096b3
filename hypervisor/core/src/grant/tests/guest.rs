//! A granting domain, and the operations of a mapping one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::error::HcResult;
use crate::grant::entry::{Part, Slot};
use crate::grant::hypercall;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::get_page;
use crate::mm::types::get_type;
use crate::sync::atomic::{AtomicU64, Ordering};
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
        let frames = (0..frames).map(|_| host.ram(&guest)).collect();
        Self { guest, frames }
    }

    /// The words of an entry.
    pub(super) fn slot(&self, host: &Host, reference: u32) -> Slot {
        let table = self.guest.grants.given();
        table.slot(host.machine(), reference).unwrap()
    }

    /// The first word of an entry.
    pub(super) fn entry(&self, host: &Host, reference: u32) -> &'static AtomicU64 {
        self.slot(host, reference).head
    }

    /// Writes an entry as a guest does: what flags and grantee speak of first.
    pub(super) fn write(&self, host: &Host, reference: u32, flags: u16, to: u16, body: u64) {
        let slot = self.slot(host, reference);
        let head = u64::from(flags) | u64::from(to) << 16;
        match slot.body {
            None => slot.head.store(head | body << 32, Ordering::Release),
            Some(second) => {
                second.store(body, Ordering::Release);
                slot.head.store(head, Ordering::Release);
            }
        }
    }

    pub(super) fn grant(&self, host: &Host, reference: u32, to: u16, mfn: Mfn, readonly: bool) {
        let flags = GTF_PERMIT_ACCESS | if readonly { GTF_READONLY } else { 0 };
        self.write(host, reference, flags, to, mfn.0);
    }

    /// Version 2: grants some bytes of a frame.
    pub(super) fn grant_part(&self, host: &Host, reference: u32, to: u16, mfn: Mfn, part: Part) {
        let slot = self.slot(host, reference);
        let head = u64::from(GTF_PERMIT_ACCESS | GTF_SUB_PAGE) | u64::from(to) << 16;
        let bounds = u64::from(part.first) << 32 | u64::from(part.len) << 48;
        slot.body.unwrap().store(mfn.0, Ordering::Release);
        slot.head.store(head | bounds, Ordering::Release);
    }

    /// Version 2: passes a grant of `from`'s on.
    pub(super) fn pass_on(&self, host: &Host, reference: u32, to: u16, from: (u16, u32)) {
        let slot = self.slot(host, reference);
        let head = u64::from(GTF_TRANSITIVE) | u64::from(to) << 16 | u64::from(from.0) << 32;
        slot.body.unwrap().store(from.1.into(), Ordering::Release);
        slot.head.store(head, Ordering::Release);
    }

    /// Flags and marks of an entry.
    pub(super) fn flags(&self, host: &Host, reference: u32) -> u16 {
        let slot = self.slot(host, reference);
        slot.flags() | slot.marks.read()
    }

    /// `GNTTABOP_set_version`; returns the result and the version that it tells.
    pub(super) fn set_version(&self, host: &Host, version: u32) -> (HcResult, u32) {
        set_version(host, &self.guest, version)
    }
}

pub(super) fn set_version(host: &Host, guest: &Guest, version: u32) -> (HcResult, u32) {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, &SetVersion { version });
    let result = hypercall(&host.cx(&vcpu), GNTTABOP_SET_VERSION.into(), addr, 1);
    (result, host.get::<SetVersion>(addr).version)
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

/// One end of a copy: a frame of the caller's, or a reference of another domain's.
pub(super) fn end(u: u64, domid: u16, offset: u16) -> CopyPtr {
    CopyPtr {
        u,
        domid,
        offset,
        ..Default::default()
    }
}

/// Copies; returns the status.
pub(super) fn copy(
    host: &Host,
    guest: &Guest,
    (source, dest): (CopyPtr, CopyPtr),
    len: u16,
    flags: u16,
) -> i16 {
    let op = Copy {
        source,
        dest,
        len,
        flags,
        ..Default::default()
    };
    single(host, guest, GNTTABOP_COPY, op).status
}

pub(super) fn counts(host: &Host, mfn: Mfn) -> (u64, u64) {
    let frame = host.machine().frame(mfn).unwrap();
    (frame.count().count(), frame.types().count().into())
}
