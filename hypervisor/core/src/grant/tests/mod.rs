//! Grants on the simulated machine.

mod guest;
mod model;
mod preempt;
mod transfer;
mod version;

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;

use crate::error::Stop;
use crate::machine::Machine;
use crate::mm::entry::{EntryPlace, Update, replace_leaf};
use crate::mm::frame::PageType;
use crate::mm::types::get_type;
use crate::mm::{get_page, pte};
use crate::percpu::Pending;
use crate::sync::atomic::Ordering;
use crate::testing::Host;
use crate::types::{Mfn, VcpuId};

use guest::*;

#[test]
fn a_mapping_is_an_entry_of_the_right_kind() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 1);
    let mapper = host.domain(2, 1, 64);
    let table = l1(&host, &mapper);
    let frame = granter.frames[0];
    granter.grant(&host, 7, 2, frame, false);
    let avail = 0x3 << 16;
    let flags = GNTMAP_HOST_MAP | GNTMAP_APPLICATION_MAP | avail;
    let done = single(
        &host,
        &mapper,
        GNTTABOP_MAP_GRANT_REF,
        map_op(1, 7, table, 3, flags),
    );
    assert_eq!(
        (done.status, done.dev_bus_addr),
        (GNTST_OKAY, frame.address())
    );
    let entry = host.machine().page(table).unwrap()[3].load(Ordering::Acquire);
    assert_eq!(pte::frame(entry), frame);
    let expected = pte::PRESENT | pte::RW | pte::USER | pte::NX | 0x600;
    assert_eq!(entry & !(pte::ADDR | pte::ACCESSED | pte::DIRTY), expected);
    assert_eq!(
        granter.flags(&host, 7),
        GTF_PERMIT_ACCESS | GTF_READING | GTF_WRITING
    );
    assert_eq!(
        counts(&host, frame),
        (3, 2),
        "the mapping's and the entry's"
    );

    // A second, read-only one; then the writable one goes.
    let flags = GNTMAP_HOST_MAP | GNTMAP_READONLY;
    let read = single(
        &host,
        &mapper,
        GNTTABOP_MAP_GRANT_REF,
        map_op(1, 7, table, 4, flags),
    );
    assert_eq!(read.status, GNTST_OKAY);
    let flushes = host.machine().flushes.load(Ordering::Acquire);
    mapper.mark_dirty(crate::types::CpuId(0));
    let gone = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&done));
    assert_eq!(gone.status, GNTST_OKAY);
    assert!(host.machine().flushes.load(Ordering::Acquire) > flushes);
    assert_eq!(
        host.machine().page(table).unwrap()[3].load(Ordering::Acquire),
        0
    );
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS | GTF_READING);
    single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&read));
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
    assert_eq!(counts(&host, frame), (1, 0));
}

#[test]
fn wrong_requests_get_their_status() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 2);
    let mapper = host.domain(2, 1, 64);
    let (table, own) = (l1(&host, &mapper), host.ram(&mapper));
    granter.grant(&host, 1, 2, granter.frames[0], true);
    granter.grant(&host, 2, 3, granter.frames[0], false);
    granter.grant(&host, 3, 2, own, false);
    granter.grant(&host, 4, 2, Mfn(0xffff_ffff), false);
    // A frame that is a page table can't be mapped writable.
    let tables = l1(&host, &granter.guest);
    granter.grant(&host, 5, 2, tables, false);
    let status = |op: MapGrantRef| single(&host, &mapper, GNTTABOP_MAP_GRANT_REF, op).status;
    let host_map = GNTMAP_HOST_MAP;
    for (op, expected) in [
        (map_op(1, 1, table, 0, 0), GNTST_BAD_GNTREF),
        (map_op(9, 1, table, 0, host_map), GNTST_BAD_DOMAIN),
        (map_op(DOMID_SELF, 1, table, 0, host_map), GNTST_BAD_DOMAIN),
        (map_op(1, 1, table, 0, host_map), GNTST_GENERAL_ERROR),
        (map_op(1, 2, table, 0, host_map), GNTST_GENERAL_ERROR),
        (map_op(1, 0, table, 0, host_map), GNTST_GENERAL_ERROR),
        (map_op(1, 512, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, u32::MAX, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, 3, table, 0, host_map), GNTST_BAD_PAGE),
        (map_op(1, 4, table, 0, host_map), GNTST_BAD_PAGE),
        (map_op(1, 5, table, 0, host_map), GNTST_GENERAL_ERROR),
        // Empty memory could be a page table, but is none.
        (
            map_op(1, 1, own, 0, host_map | GNTMAP_READONLY),
            GNTST_GENERAL_ERROR,
        ),
        (
            map_op(1, 1, granter.frames[1], 0, host_map | GNTMAP_READONLY),
            GNTST_GENERAL_ERROR,
        ),
        (
            map_op(1, 1, Mfn(u64::MAX >> 13), 0, host_map | GNTMAP_READONLY),
            GNTST_GENERAL_ERROR,
        ),
    ] {
        assert_eq!(status(op), expected, "{op:?}");
    }
    let mut odd = map_op(1, 1, table, 0, host_map | GNTMAP_READONLY);
    odd.host_addr += 4;
    assert_eq!(status(odd), GNTST_GENERAL_ERROR);
    let mut by_address = map_op(1, 1, table, 0, host_map | GNTMAP_READONLY);
    by_address.flags &= !GNTMAP_CONTAINS_PTE;
    assert_eq!(status(by_address), GNTST_GENERAL_ERROR, "no address space");
    let nothing = UnmapGrantRef {
        handle: 77,
        ..Default::default()
    };
    assert_eq!(
        single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, nothing).status,
        GNTST_BAD_HANDLE
    );
    let nothing = UnmapGrantRef {
        handle: u32::MAX,
        ..Default::default()
    };
    assert_eq!(
        single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, nothing).status,
        GNTST_BAD_HANDLE
    );
}

#[test]
fn an_entry_overwritten_by_the_guest_is_a_failure_and_no_more() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 1);
    let mapper = host.domain(2, 1, 64);
    let table = l1(&host, &mapper);
    granter.grant(&host, 7, 2, granter.frames[0], false);
    let done = single(
        &host,
        &mapper,
        GNTTABOP_MAP_GRANT_REF,
        map_op(1, 7, table, 0, GNTMAP_HOST_MAP),
    );
    let place = EntryPlace {
        table,
        level: 1,
        index: 0,
    };
    replace_leaf(&host.cpu, &mapper, mapper.id, place, 0, Update::Plain).unwrap();
    assert_eq!(
        counts(&host, granter.frames[0]),
        (2, 1),
        "the handle still holds it"
    );
    let gone = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&done));
    assert_eq!(gone.status, GNTST_GENERAL_ERROR);
    // There is nothing left to hold the frame for.
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
    host.finish(|| super::release_all(&host.cpu, &mapper));
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
    assert_eq!(counts(&host, granter.frames[0]), (1, 0));
}

#[test]
fn the_owner_may_die_first() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 1);
    let mapper = host.domain(2, 1, 64);
    let table = l1(&host, &mapper);
    granter.grant(&host, 7, 2, granter.frames[0], false);
    let done = single(
        &host,
        &mapper,
        GNTTABOP_MAP_GRANT_REF,
        map_op(1, 7, table, 0, GNTMAP_HOST_MAP),
    );
    host.finish(|| super::release_all(&host.cpu, &granter.guest));
    host.hv.domains.remove(&granter.guest);
    assert_eq!(counts(&host, granter.frames[0]).0, 3);
    let gone = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&done));
    assert_eq!(gone.status, GNTST_OKAY);
    assert_eq!(counts(&host, granter.frames[0]), (1, 0));
}

/// A tree of page tables that maps `first` and `second` at 2 MiB and the page after it.
fn address_space(host: &Host, guest: &Guest, pages: [Mfn; 2]) {
    let tables: [Mfn; 4] = core::array::from_fn(|_| host.ram(guest));
    let bits = pte::PRESENT | pte::RW | pte::USER;
    let set = |table: Mfn, index: usize, to: Mfn| {
        host.machine().page(table).unwrap()[index].store(pte::make(to, bits), Ordering::Release);
    };
    set(tables[0], 0, tables[1]);
    set(tables[1], 0, tables[2]);
    set(tables[2], 1, tables[3]);
    set(tables[3], 0, pages[0]);
    set(tables[3], 1, pages[1]);
    assert!(get_page(host.machine(), tables[0], guest.id));
    get_type(&host.cpu, guest, tables[0], PageType::L4).unwrap();
    guest.vcpu(VcpuId(0)).unwrap().arch.lock().kernel_root = Some(tables[0]);
}

#[test]
fn mapping_by_address_and_replacing() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 1);
    let mapper = host.domain(2, 1, 64);
    let pages = [host.ram(&mapper), host.ram(&mapper)];
    address_space(&host, &mapper, pages);
    granter.grant(&host, 7, 2, granter.frames[0], false);
    let op = MapGrantRef {
        host_addr: 0x20_0000,
        flags: GNTMAP_HOST_MAP,
        ref_: 7,
        dom: 1,
        ..Default::default()
    };
    let done = single(&host, &mapper, GNTTABOP_MAP_GRANT_REF, op);
    assert_eq!(done.status, GNTST_OKAY);
    assert_eq!(counts(&host, pages[0]), (1, 0), "its mapping was replaced");
    let replace = |new_addr| UnmapAndReplace {
        host_addr: 0x20_0000,
        new_addr,
        handle: done.handle,
        ..Default::default()
    };
    let status =
        |op: UnmapAndReplace| single(&host, &mapper, GNTTABOP_UNMAP_AND_REPLACE, op).status;
    assert_eq!(status(replace(0x40_0000)), GNTST_GENERAL_ERROR);
    assert_eq!(status(replace(0x20_1000)), GNTST_OKAY);
    assert_eq!(counts(&host, granter.frames[0]), (1, 0));
    assert_eq!(counts(&host, pages[1]), (2, 1), "it moved");
    let vcpu = mapper.vcpu(VcpuId(0)).unwrap();
    let root = vcpu.arch.lock().kernel_root.unwrap();
    let at = |addr| crate::mm::walk::translate(host.machine(), root, addr);
    assert_eq!(
        at(0x20_0000).map(|(entry, _)| pte::frame(entry)),
        Some(pages[1])
    );
    assert_eq!(at(0x20_1000), None);
}

#[test]
fn copies_stay_within_their_pages() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 2);
    let other = host.domain(2, 1, 64);
    let own = host.ram(&other);
    granter.grant(&host, 7, 2, granter.frames[0], false);
    granter.grant(&host, 8, 2, granter.frames[1], true);
    host.machine().write_frame(own, 100, b"hello");
    let mine = |offset| CopyPtr {
        u: own.0,
        domid: DOMID_SELF,
        offset,
        ..Default::default()
    };
    let granted = |reference, offset| CopyPtr {
        u: reference,
        domid: 1,
        offset,
        ..Default::default()
    };
    let copy = |source, dest, len, flags| {
        let op = Copy {
            source,
            dest,
            len,
            flags,
            ..Default::default()
        };
        single(&host, &other, GNTTABOP_COPY, op).status
    };
    assert_eq!(
        copy(mine(100), granted(7, 4091), 5, GNTCOPY_DEST_GREF),
        GNTST_OKAY
    );
    let mut bytes = [0; 5];
    host.machine()
        .read_frame(granter.frames[0], 4091, &mut bytes);
    assert_eq!(&bytes, b"hello");
    assert_eq!(
        copy(mine(0), granted(7, 0), 4096, GNTCOPY_DEST_GREF),
        GNTST_OKAY
    );
    assert_eq!(
        copy(mine(0), granted(7, 1), 4096, GNTCOPY_DEST_GREF),
        GNTST_BAD_COPY_ARG
    );
    assert_eq!(
        copy(mine(4092), granted(7, 0), 5, GNTCOPY_DEST_GREF),
        GNTST_BAD_COPY_ARG
    );
    assert_eq!(
        copy(mine(u16::MAX), granted(7, 0), u16::MAX, 1 << 1),
        GNTST_BAD_COPY_ARG
    );
    assert_eq!(
        copy(mine(0), granted(8, 0), 5, GNTCOPY_DEST_GREF),
        GNTST_GENERAL_ERROR
    );
    assert_eq!(
        copy(granted(8, 0), mine(0), 5, GNTCOPY_SOURCE_GREF),
        GNTST_OKAY
    );
    assert_eq!(
        copy(granted(9, 0), mine(0), 5, GNTCOPY_SOURCE_GREF),
        GNTST_GENERAL_ERROR
    );
    assert_eq!(copy(granted(7, 0), mine(0), 5, 0), GNTST_PERMISSION_DENIED);
    assert_eq!(counts(&host, own), (1, 0));
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
}

#[test]
fn batches_stop_and_go_on() {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 1);
    let mapper = host.domain(2, 1, 64);
    let table = l1(&host, &mapper);
    granter.grant(&host, 7, 2, granter.frames[0], false);
    let ops: [_; 3] = core::array::from_fn(|n| map_op(1, 7, table, n as u64, GNTMAP_HOST_MAP));
    let addr = host.put(0, ops.as_slice());
    let vcpu = mapper.vcpu(VcpuId(0)).unwrap();
    host.cpu
        .shared()
        .pending
        .store(Pending::TIMER.bits(), Ordering::Release);
    let cmd = u64::from(GNTTABOP_MAP_GRANT_REF);
    let Err(Stop::Restart([0, at, 2, ..])) = super::hypercall(&host.cx(&vcpu), cmd, addr, 3) else {
        panic!("not stopped after the first");
    };
    assert_eq!(at, addr + 32);
    host.cpu.shared().pending.store(0, Ordering::Release);
    assert_eq!(super::hypercall(&host.cx(&vcpu), cmd, at, 2), Ok(0));
    assert_eq!(counts(&host, granter.frames[0]), (7, 6));
    // A large batch of unmaps, in pieces.
    let unmaps: Vec<_> = (0..3)
        .map(|n| unmap_op(&host.get::<MapGrantRef>(addr + n * 32)))
        .chain((0..80).map(|_| UnmapGrantRef {
            handle: 99,
            ..Default::default()
        }))
        .collect();
    let addr = host.put(0, unmaps.as_slice());
    let cmd = u64::from(GNTTABOP_UNMAP_GRANT_REF);
    assert_eq!(super::hypercall(&host.cx(&vcpu), cmd, addr, 83), Ok(0));
    assert_eq!(counts(&host, granter.frames[0]), (1, 0));
    let bad = super::hypercall(&host.cx(&vcpu), cmd, 0x10, 1);
    assert_eq!(bad, Err(Stop::Errno(Errno::EFAULT)));
    let bad = super::hypercall(&host.cx(&vcpu), cmd, u64::MAX - 4, 0x7fff_ffff);
    assert_eq!(bad, Err(Stop::Errno(Errno::EFAULT)));
    let bad = super::hypercall(&host.cx(&vcpu), cmd, addr, 0x8000_0000);
    assert_eq!(bad, Err(Stop::Errno(Errno::EINVAL)));
}

#[test]
fn the_table() {
    let host = Host::with_frames(128);
    let dom0 = host.domain(0, 1, 64);
    let granter = Granter::new(&host, 1, 0);
    let size = |caller: &Guest, dom| {
        single(
            &host,
            caller,
            GNTTABOP_QUERY_SIZE,
            QuerySize {
                dom,
                ..Default::default()
            },
        )
    };
    let mine = size(&granter.guest, DOMID_SELF);
    assert_eq!(
        (mine.status, mine.nr_frames, mine.max_nr_frames),
        (GNTST_OKAY, 1, 64)
    );
    assert_eq!(size(&granter.guest, 0).status, GNTST_PERMISSION_DENIED);
    assert_eq!(size(&dom0, 1).status, GNTST_OKAY);
    assert_eq!(size(&dom0, 5).status, GNTST_BAD_DOMAIN);

    let setup = |frames, frame_list| {
        let op = SetupTable {
            dom: 1,
            nr_frames: frames,
            frame_list,
            ..Default::default()
        };
        single(&host, &dom0, GNTTABOP_SETUP_TABLE, op).status
    };
    assert_eq!(setup(65, 0x1_1000), GNTST_GENERAL_ERROR);
    assert_eq!(setup(2, 0x10), GNTST_BAD_VIRT_ADDR);
    assert_eq!(setup(3, 0x1_1000), GNTST_OKAY);
    assert_eq!(size(&dom0, 1).nr_frames, 3);
    let third = granter
        .guest
        .grants
        .frame_or_grow(&host.cpu, &granter.guest, 2)
        .unwrap();
    assert_eq!(host.get::<u64>(0x1_1010), third.0);
    assert_eq!(
        granter
            .guest
            .grants
            .frame_or_grow(&host.cpu, &granter.guest, 64),
        None
    );

    granter.grant(&host, 1, 2, Mfn(5), false);
    granter.grant(&host, 2, 3, Mfn(6), true);
    let one = granter.entry(&host, 1).load(Ordering::Acquire);
    let swap = |ref_a, ref_b| {
        let op = SwapGrantRef {
            ref_a,
            ref_b,
            ..Default::default()
        };
        single(&host, &granter.guest, GNTTABOP_SWAP_GRANT_REF, op).status
    };
    assert_eq!(swap(1, 2), GNTST_OKAY);
    assert_eq!(granter.entry(&host, 2).load(Ordering::Acquire), one);
    assert_eq!(swap(1, 512 * 3), GNTST_BAD_GNTREF);
}
