//! Grants against a simple model: whatever happens, counts balance.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;
use proptest::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::error::Stop;
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::types::get_type;
use crate::mm::{get_page, pte};
use crate::percpu::Pending;
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::{Mfn, VcpuId};

type Guest = Arc<Domain<Sim>>;

fn batch<T: IntoBytes + FromBytes + Immutable + core::marker::Copy, const N: usize>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    ops: [T; N],
) -> [T; N] {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, ops.as_slice());
    assert_eq!(
        super::hypercall(&host.cx(&vcpu), u64::from(cmd), addr, N as u64),
        Ok(0)
    );
    core::array::from_fn(|n| host.get(addr + (n * size_of::<T>()) as u64))
}

fn single<T: IntoBytes + FromBytes + Immutable + core::marker::Copy>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    op: T,
) -> T {
    let [op] = batch(host, guest, cmd, [op]);
    op
}

/// A granting domain with a table of one frame.
struct Granter {
    guest: Guest,
    table: Mfn,
    frames: Vec<Mfn>,
}

impl Granter {
    fn new(host: &Host, id: u16, frames: usize) -> Self {
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

    fn entry<'a>(&self, host: &'a Host, reference: u32) -> &'a crate::sync::atomic::AtomicU64 {
        &host.machine().page(self.table).unwrap()[reference as usize]
    }

    fn grant(&self, host: &Host, reference: u32, to: u16, mfn: Mfn, readonly: bool) {
        let flags = GTF_PERMIT_ACCESS | if readonly { GTF_READONLY } else { 0 };
        let word = u64::from(flags) | u64::from(to) << 16 | mfn.0 << 32;
        self.entry(host, reference).store(word, Ordering::Release);
    }

    fn flags(&self, host: &Host, reference: u32) -> u16 {
        (self.entry(host, reference).load(Ordering::Acquire) & 0xffff) as u16
    }
}

/// An L1 table of a domain's that is not part of any tree: entries go by machine address.
fn l1(host: &Host, guest: &Guest) -> Mfn {
    let table = host.ram(guest);
    assert!(get_page(host.machine(), table, guest.id));
    get_type(&host.cpu, guest, table, PageType::L1).unwrap();
    table
}

fn map_op(dom: u16, reference: u32, table: Mfn, slot: u64, flags: u32) -> MapGrantRef {
    MapGrantRef {
        host_addr: table.address() + slot * 8,
        flags: flags | GNTMAP_CONTAINS_PTE,
        ref_: reference,
        dom,
        ..Default::default()
    }
}

fn unmap_op(op: &MapGrantRef) -> UnmapGrantRef {
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

fn counts(host: &Host, mfn: Mfn) -> (u64, u64) {
    let frame = host.machine().frame(mfn).unwrap();
    (frame.count().count(), frame.types().count())
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Grant {
        reference: u32,
        frame: usize,
        readonly: bool,
    },
    End {
        reference: u32,
    },
    Scribble {
        reference: u32,
        value: u64,
    },
    Map {
        reference: u32,
        slot: u64,
        flags: u32,
    },
    Unmap {
        nth: usize,
    },
    Overwrite {
        slot: u64,
    },
    CopyTo {
        reference: u32,
    },
    CopyFrom {
        reference: u32,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![
        Just(GNTMAP_HOST_MAP),
        Just(GNTMAP_HOST_MAP | GNTMAP_READONLY),
        Just(GNTMAP_DEVICE_MAP),
        Just(GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP),
    ];
    let reference = 0u32..4;
    prop_oneof![
        4 => (reference.clone(), 0usize..3, any::<bool>())
            .prop_map(|(reference, frame, readonly)| Op::Grant { reference, frame, readonly }),
        1 => reference.clone().prop_map(|reference| Op::End { reference }),
        1 => (reference.clone(), any::<u64>())
            .prop_map(|(reference, value)| Op::Scribble { reference, value }),
        8 => (reference.clone(), 0u64..4, flags)
            .prop_map(|(reference, slot, flags)| Op::Map { reference, slot, flags }),
        5 => (0usize..6).prop_map(|nth| Op::Unmap { nth }),
        1 => (0u64..4).prop_map(|slot| Op::Overwrite { slot }),
        2 => reference.clone().prop_map(|reference| Op::CopyTo { reference }),
        2 => reference.prop_map(|reference| Op::CopyFrom { reference }),
    ]
}

/// Mappings that the mapper believes it has, by order of making.
fn run(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, 1, 3);
    let mapper = host.domain(2, 1, 64);
    let (table, own) = (l1(&host, &mapper), host.ram(&mapper));
    let mut mapped: Vec<MapGrantRef> = Vec::new();
    for op in ops {
        match op {
            Op::Grant {
                reference,
                frame,
                readonly,
            } => {
                // A guest that keeps to the rules leaves entries in use alone.
                if granter.flags(&host, reference) & (GTF_READING | GTF_WRITING) == 0 {
                    granter.grant(&host, reference, 2, granter.frames[frame], readonly);
                }
            }
            Op::End { reference } => {
                if granter.flags(&host, reference) & (GTF_READING | GTF_WRITING) == 0 {
                    granter.entry(&host, reference).store(0, Ordering::Release);
                }
            }
            Op::Scribble { reference, value } => {
                granter
                    .entry(&host, reference)
                    .store(value, Ordering::Release);
            }
            Op::Map {
                reference,
                slot,
                flags,
            } => {
                let done = single(
                    &host,
                    &mapper,
                    GNTTABOP_MAP_GRANT_REF,
                    map_op(1, reference, table, slot, flags),
                );
                if done.status == GNTST_OKAY {
                    let mfn = Mfn::containing(done.dev_bus_addr);
                    prop_assert!(granter.frames.contains(&mfn) || mfn == granter.table);
                    prop_assert!(!mapped.iter().any(|other| other.handle == done.handle));
                    mapped.push(done);
                }
            }
            Op::Unmap { nth } => {
                if nth < mapped.len() {
                    let op = mapped[nth];
                    let done = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&op));
                    if done.status == GNTST_OKAY {
                        mapped.remove(nth);
                        let again = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&op));
                        prop_assert_eq!(again.status, GNTST_BAD_HANDLE);
                    }
                }
            }
            Op::Overwrite { slot } => {
                let update = [table.address() + slot * 8, 0u64];
                let vcpu = mapper.vcpu(VcpuId(0)).unwrap();
                let cx = host.cx(&vcpu);
                crate::mm::entry::replace_entry(
                    cx.cpu,
                    &mapper,
                    mapper.id,
                    Mfn::containing(update[0]),
                    1,
                    usize::try_from(slot).unwrap(),
                    0,
                    crate::mm::entry::Update::Plain,
                )
                .unwrap();
            }
            Op::CopyTo { reference } | Op::CopyFrom { reference } => {
                let granted = CopyPtr {
                    u: u64::from(reference),
                    domid: 1,
                    ..Default::default()
                };
                let mine = CopyPtr {
                    u: own.0,
                    domid: DOMID_SELF,
                    ..Default::default()
                };
                let to = matches!(op, Op::CopyTo { .. });
                let op = Copy {
                    source: if to { mine } else { granted },
                    dest: if to { granted } else { mine },
                    len: 64,
                    flags: if to {
                        GNTCOPY_DEST_GREF
                    } else {
                        GNTCOPY_SOURCE_GREF
                    },
                    ..Default::default()
                };
                single(&host, &mapper, GNTTABOP_COPY, op);
            }
        }
        // While a mapping of it exists, a frame is held, whatever became of the entry.
        let mut holds: BTreeMap<Mfn, u64> = BTreeMap::new();
        for op in &mapped {
            *holds.entry(Mfn::containing(op.dev_bus_addr)).or_default() += 1;
        }
        for frame in &granter.frames {
            prop_assert!(counts(&host, *frame).0 > holds.get(frame).copied().unwrap_or(0));
        }
    }
    *host.cpu.current.borrow_mut() = Arc::clone(&host.cpu.idle);
    prop_assert!(super::release_all(&host.cpu, &mapper));
    // The page tables go as well; their entries hold references of their own.
    crate::mm::types::put_type(&host.cpu, table).unwrap();
    for frame in &granter.frames {
        prop_assert_eq!(counts(&host, *frame), (1, 0));
    }
    prop_assert_eq!(counts(&host, own), (1, 0));
    for reference in 0..4 {
        prop_assert!(!granter.guest.grants.given().is_in_use(reference));
    }
    prop_assert!(super::release_all(&host.cpu, &granter.guest));
    prop_assert_eq!(granter.guest.memory.special.load(Ordering::Acquire), 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn counts_balance(ops in prop::collection::vec(op(), 0..60)) {
        run(ops)?;
    }
}

#[test]
fn a_mapping_is_an_entry_of_the_right_kind() {
    let host = Host::new();
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
    let host = Host::new();
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
        (map_op(1, 1, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, 2, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, 0, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, 512, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, u32::MAX, table, 0, host_map), GNTST_BAD_GNTREF),
        (map_op(1, 3, table, 0, host_map), GNTST_BAD_PAGE),
        (map_op(1, 4, table, 0, host_map), GNTST_BAD_PAGE),
        (map_op(1, 5, table, 0, host_map), GNTST_GENERAL_ERROR),
        (map_op(1, 1, own, 0, host_map | GNTMAP_READONLY), GNTST_OKAY),
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
    let host = Host::new();
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
    let plain = crate::mm::entry::Update::Plain;
    crate::mm::entry::replace_entry(&host.cpu, &mapper, mapper.id, table, 1, 0, 0, plain).unwrap();
    assert_eq!(
        counts(&host, granter.frames[0]),
        (2, 1),
        "the handle still holds it"
    );
    let gone = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&done));
    assert_eq!(gone.status, GNTST_GENERAL_ERROR);
    assert_eq!(granter.flags(&host, 7) & GTF_WRITING, GTF_WRITING);
    assert!(super::release_all(&host.cpu, &mapper));
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
    assert_eq!(counts(&host, granter.frames[0]), (1, 0));
}

#[test]
fn the_owner_may_die_first() {
    let host = Host::new();
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
    assert!(super::release_all(&host.cpu, &granter.guest));
    host.hv.domains.remove(granter.guest.id);
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
    let host = Host::new();
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
    let host = Host::new();
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
        GNTST_BAD_GNTREF
    );
    assert_eq!(
        copy(granted(8, 0), mine(0), 5, GNTCOPY_SOURCE_GREF),
        GNTST_OKAY
    );
    assert_eq!(
        copy(granted(9, 0), mine(0), 5, GNTCOPY_SOURCE_GREF),
        GNTST_BAD_GNTREF
    );
    assert_eq!(copy(granted(7, 0), mine(0), 5, 0), GNTST_PERMISSION_DENIED);
    assert_eq!(counts(&host, own), (1, 0));
    assert_eq!(granter.flags(&host, 7), GTF_PERMIT_ACCESS);
}

#[test]
fn batches_stop_and_go_on() {
    let host = Host::new();
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
fn the_table_and_its_version() {
    let host = Host::new();
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

    let vcpu = dom0.vcpu(VcpuId(0)).unwrap();
    let call = |cmd: u32, addr, count| super::hypercall(&host.cx(&vcpu), cmd.into(), addr, count);
    let version = |version| {
        call(
            GNTTABOP_SET_VERSION,
            host.put(0, &SetVersion { version }),
            1,
        )
    };
    assert_eq!(version(1), Ok(0));
    assert_eq!(version(2), Err(Stop::Errno(Errno::ENOSYS)));
    assert_eq!(version(3), Err(Stop::Errno(Errno::EINVAL)));
    let asked = single(
        &host,
        &dom0,
        GNTTABOP_GET_VERSION,
        GetVersion {
            dom: 1,
            ..Default::default()
        },
    );
    assert_eq!(asked.version, 1);
    let addr = host.put(
        0,
        &GetVersion {
            dom: 5,
            ..Default::default()
        },
    );
    assert_eq!(
        call(GNTTABOP_GET_VERSION, addr, 1),
        Err(Stop::Errno(Errno::ESRCH))
    );
    assert_eq!(
        call(GNTTABOP_GET_VERSION, addr, 2),
        Err(Stop::Errno(Errno::EINVAL))
    );
    assert_eq!(
        call(GNTTABOP_TRANSFER, addr, 1),
        Err(Stop::Errno(Errno::ENOSYS))
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
