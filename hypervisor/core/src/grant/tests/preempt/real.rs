//! The same operations on the simulated machine.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::model::{CELLS, FRAMES, GRANTER, MAPPER, MIDDLE, OWN, SLOTS};
use super::{Answer, Item, Kind, Op, Outcome, REFERENCES};
use crate::error::{HcResult, Stop};
use crate::grant::entry::Part;
use crate::grant::tests::guest::*;
use crate::grant::{hypercall, release_all};
use crate::machine::Machine;
use crate::mm::pte;
use crate::percpu::{Cx, PerCpu};
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::{CpuId, Mfn, VcpuId};

/// A batch that is under way.
#[derive(Debug)]
struct Batch {
    kind: Kind,
    items: Vec<Item>,
    done: usize,
}

pub(super) struct Real {
    pub(super) host: Host,
    other: PerCpu<Sim>,
    granter: Granter,
    middle: Granter,
    mapper: Guest,
    /// What grants lead to.
    frames: [Mfn; FRAMES],
    /// The mapper's page table, and a frame that can be none.
    table: Mfn,
    nowhere: Mfn,
    /// One for each of the mapper's vCPUs.
    batches: RefCell<[Option<Batch>; 2]>,
}

/// What can be seen of everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// References beside the owner's, and of the type.
    pub(super) held: Vec<(u64, u64)>,
    /// Marks, and whether an entry is in use: of the granter's, of the middle's.
    pub(super) marks: [Vec<(u16, bool)>; 2],
    /// How many entries are in use.
    pub(super) used: [usize; 2],
    pub(super) handles: Vec<u32>,
    /// Place, frame, writable.
    pub(super) slots: Vec<(u64, usize, bool)>,
    pub(super) cells: [[u8; CELLS]; FRAMES],
    pub(super) total: [u64; 2],
    /// The granter's version, frames of entries, and all frames that it shares.
    pub(super) table: (u32, u32, u64),
}

impl Real {
    pub(super) fn new() -> Rc<Self> {
        let host = Host::with_frames(256);
        let granter = Granter::new(&host, GRANTER, OWN);
        let mapper = host.domain(MAPPER, 2, 64);
        let middle = Granter::new(&host, MIDDLE, 0);
        middle.set_version(&host, 2).0.unwrap();
        let (table, own) = (l1(&host, &mapper), host.ram(&mapper));
        let frames = [granter.frames[0], granter.frames[1], granter.frames[2], own];
        let nowhere = host.ram(&mapper);
        assert!(host.machine().write_frame(nowhere, 0, &[0x11; 8]));
        for (number, mfn) in [1, 3, 5, 7].into_iter().zip(frames) {
            for (cell, value) in (0..CELLS).zip([0x10, 0x20, 0x30, 0x40]) {
                let bytes = [value + number; 64];
                assert!(host.machine().write_frame(mfn, cell * 64, &bytes));
            }
        }
        Rc::new(Self {
            other: host.other_cpu(),
            host,
            granter,
            middle,
            mapper,
            frames,
            table,
            nowhere,
            batches: RefCell::new([None, None]),
        })
    }

    fn cpu(&self, cpu: CpuId) -> &PerCpu<Sim> {
        if cpu == CpuId(0) {
            &self.host.cpu
        } else {
            &self.other
        }
    }

    fn call(&self, cpu: CpuId, guest: &Guest, cmd: u32, addr: u64, count: usize) -> HcResult {
        let vcpu = guest.vcpu(VcpuId(0)).unwrap();
        let cpu = self.cpu(cpu);
        *cpu.current.borrow_mut() = Arc::clone(&vcpu);
        let cx = Cx {
            hv: self.host.hv,
            cpu,
            vcpu: &vcpu,
        };
        hypercall(&cx, cmd.into(), addr, count as u64)
    }

    /// Where a CPU's guest has its arguments.
    fn area(cpu: CpuId) -> u64 {
        u64::from(cpu.0) * 0x4000
    }

    fn table_of(&self, dom: u16) -> &Granter {
        if dom == MIDDLE {
            &self.middle
        } else {
            &self.granter
        }
    }

    /// A domain does something on that CPU.
    pub(super) fn run(&self, cpu: CpuId, op: &Op) -> Outcome {
        if cpu == CpuId(0) {
            self.host.stop_after(op.stop());
        } else {
            self.other.entered();
        }
        match *op {
            Op::Grant {
                reference,
                to,
                frame,
                readonly,
            } => {
                let mfn = self.frames[frame];
                self.granter.grant(&self.host, reference, to, mfn, readonly);
                Outcome::Flag(true)
            }
            Op::GrantPart {
                reference,
                to,
                first,
                len,
            } => {
                let part = Part { first, len };
                let mfn = self.frames[0];
                self.granter
                    .grant_part(&self.host, reference, to, mfn, part);
                Outcome::Flag(true)
            }
            Op::Accept { reference } => {
                self.granter
                    .write(&self.host, reference, GTF_ACCEPT_TRANSFER, MAPPER, 5);
                Outcome::Flag(true)
            }
            Op::PassOn { reference, of } => {
                let idle =
                    self.middle.flags(&self.host, reference) & (GTF_READING | GTF_WRITING) == 0;
                if idle {
                    self.middle
                        .pass_on(&self.host, reference, MAPPER, (GRANTER, of));
                }
                Outcome::Flag(idle)
            }
            Op::End { dom, reference } => {
                let flags = self.table_of(dom).flags(&self.host, reference);
                let coming = flags & (GTF_TRANSFER_COMMITTED | GTF_TRANSFER_COMPLETED);
                let is_transfer = flags & GTF_TYPE_MASK == GTF_ACCEPT_TRANSFER;
                let idle = if is_transfer {
                    coming != GTF_TRANSFER_COMMITTED
                } else {
                    flags & (GTF_READING | GTF_WRITING) == 0
                };
                if idle {
                    self.table_of(dom).write(&self.host, reference, 0, 0, 0);
                }
                Outcome::Flag(idle)
            }
            Op::SetVersion { version } => {
                let addr = self.host.put(Self::area(cpu), &SetVersion { version });
                match self.call(cpu, &self.granter.guest, GNTTABOP_SET_VERSION, addr, 1) {
                    Ok(0) => Outcome::Flag(true),
                    Err(Stop::Errno(Errno::EBUSY)) => Outcome::Flag(false),
                    other => panic!("{other:?}"),
                }
            }
            Op::Grow { frames } => {
                let op = SetupTable {
                    dom: DOMID_SELF,
                    nr_frames: frames,
                    frame_list: crate::testing::GUEST_BASE + Self::area(cpu) + 0x800,
                    ..Default::default()
                };
                let addr = self.host.put(Self::area(cpu), &op);
                let guest = &self.granter.guest;
                assert_eq!(self.call(cpu, guest, GNTTABOP_SETUP_TABLE, addr, 1), Ok(0));
                Outcome::Status(self.host.get::<SetupTable>(addr).status)
            }
            Op::Swap(ref_a, ref_b) => {
                let op = SwapGrantRef {
                    ref_a,
                    ref_b,
                    ..Default::default()
                };
                let addr = self.host.put(Self::area(cpu), &op);
                let guest = &self.granter.guest;
                assert_eq!(
                    self.call(cpu, guest, GNTTABOP_SWAP_GRANT_REF, addr, 1),
                    Ok(0)
                );
                Outcome::Status(self.host.get::<SwapGrantRef>(addr).status)
            }
            Op::Batch {
                kind, ref items, ..
            } => self.batch(cpu, kind, items),
            Op::Die { dom, .. } => {
                let guest = if dom == MAPPER {
                    &self.mapper
                } else {
                    &self.table_of(dom).guest
                };
                guest.dying.store(true, Ordering::Release);
                Outcome::Flag(release_all(self.cpu(cpu), guest))
            }
        }
    }

    /// The number of frames that the mapper needs for what it is to do.
    pub(super) fn prepare(&self, items: &mut [Item]) -> u64 {
        let mut fresh = 0;
        for item in items {
            if let Item::Give { own, mfn, .. } = item {
                *mfn = self.table.0;
                if *own {
                    *mfn = self.host.ram(&self.mapper).0;
                    fresh += 1;
                }
            }
        }
        fresh
    }

    /// Whether a vCPU has a batch to go on with.
    pub(super) fn has_batch(&self, cpu: CpuId) -> bool {
        self.batches.borrow()[usize::from(cpu.0)].is_some()
    }

    /// Starts a batch, or goes on with the one that was stopped.
    fn batch(&self, cpu: CpuId, kind: Kind, items: &[Item]) -> Outcome {
        let old = self.batches.borrow_mut()[usize::from(cpu.0)].take();
        let fresh = old.is_none();
        let mut batch = old.unwrap_or_else(|| Batch {
            kind,
            items: items.to_vec(),
            done: 0,
        });
        let from = batch.done;
        let answers = match batch.kind {
            Kind::Map => self.go(
                cpu,
                GNTTABOP_MAP_GRANT_REF,
                fresh,
                &mut batch,
                |op| self.map_op(op),
                |op| Answer {
                    status: op.status,
                    handle: op.handle,
                    frame: self
                        .frames
                        .iter()
                        .position(|mfn| mfn.address() == op.dev_bus_addr),
                },
            ),
            Kind::Unmap => self.go(
                cpu,
                GNTTABOP_UNMAP_GRANT_REF,
                fresh,
                &mut batch,
                |op| self.unmap_op(op),
                |op| Answer::only(op.status),
            ),
            Kind::Copy => self.go(
                cpu,
                GNTTABOP_COPY,
                fresh,
                &mut batch,
                |op| self.copy_op(op),
                |op| Answer::only(op.status),
            ),
            Kind::Give => self.go(
                cpu,
                GNTTABOP_TRANSFER,
                fresh,
                &mut batch,
                |op| self.give_op(op),
                |op| Answer::only(op.status),
            ),
        };
        let items = batch.items[from..batch.done].to_vec();
        let over = batch.done == batch.items.len();
        if !over {
            self.batches.borrow_mut()[usize::from(cpu.0)] = Some(batch);
        }
        let done = items.into_iter().zip(answers).collect();
        Outcome::Batch { done, over }
    }

    fn go<T: core::marker::Copy + FromBytes + IntoBytes + Immutable + Default>(
        &self,
        cpu: CpuId,
        cmd: u32,
        fresh: bool,
        batch: &mut Batch,
        make: impl Fn(&Item) -> T,
        answer: impl Fn(&T) -> Answer,
    ) -> Vec<Answer> {
        let size = size_of::<T>() as u64;
        let base = Self::area(cpu);
        if fresh {
            for (n, item) in (0..).zip(&batch.items) {
                self.host.put(base + n * size, &make(item));
            }
        }
        let base = base + crate::testing::GUEST_BASE;
        let from = batch.done;
        let left = batch.items.len() - from;
        let outcome = self.call(cpu, &self.mapper, cmd, base + from as u64 * size, left);
        batch.done = match outcome {
            Ok(0) => batch.items.len(),
            Err(Stop::Restart([again, next, left, 0, 0, 0])) => {
                let done = usize::try_from((next - base) / size).unwrap();
                assert_eq!(again, u64::from(cmd));
                assert_eq!(
                    done as u64 + left,
                    batch.items.len() as u64,
                    "the rest of the batch"
                );
                assert!(done > from, "no progress");
                done
            }
            other => panic!("{other:?}"),
        };
        let all =
            (0..batch.items.len() as u64).map(|n| answer(&self.host.get::<T>(base + n * size)));
        let all: Vec<_> = all.collect();
        for (n, later) in all.iter().enumerate().skip(batch.done) {
            assert_eq!(
                later.status, NOT_YET,
                "operation {n} was not to be done yet"
            );
        }
        all[from..batch.done].to_vec()
    }

    fn map_op(&self, item: &Item) -> MapGrantRef {
        let Item::Map {
            reference,
            slot,
            flags,
        } = *item
        else {
            panic!("{item:?}")
        };
        MapGrantRef {
            status: NOT_YET,
            host_addr: self.address(slot),
            ..map_op(GRANTER, reference, self.table, slot, flags)
        }
    }

    /// Where a place for a mapping is. The one past the last is in no page table.
    fn address(&self, slot: u64) -> u64 {
        let inside = slot < SLOTS;
        let table = if inside { self.table } else { self.nowhere };
        table.address() + slot * 8
    }

    fn unmap_op(&self, item: &Item) -> UnmapGrantRef {
        let Item::Unmap {
            handle,
            parts,
            place: (frame, slot),
        } = *item
        else {
            panic!("{item:?}")
        };
        let host_addr = self.address(slot);
        let dev_bus_addr = self.frames[frame].address();
        UnmapGrantRef {
            host_addr: if parts & 2 != 0 { host_addr } else { 0 },
            dev_bus_addr: if parts & 1 != 0 { dev_bus_addr } else { 0 },
            handle,
            status: NOT_YET,
            ..Default::default()
        }
    }

    fn copy_op(&self, item: &Item) -> Copy {
        let Item::Copy {
            from,
            reference,
            cells,
            to,
        } = *item
        else {
            panic!("{item:?}")
        };
        let at = |cell: u16| cell * 64;
        let theirs = end(reference.into(), from, at(cells.0));
        let mine = end(self.frames[OWN].0, DOMID_SELF, at(cells.1));
        let (source, dest) = if to { (mine, theirs) } else { (theirs, mine) };
        let flags = if to {
            GNTCOPY_DEST_GREF
        } else {
            GNTCOPY_SOURCE_GREF
        };
        Copy {
            source,
            dest,
            len: 64,
            flags,
            status: NOT_YET,
            ..Default::default()
        }
    }

    fn give_op(&self, item: &Item) -> Transfer {
        let Item::Give { reference, mfn, .. } = *item else {
            panic!("{item:?}")
        };
        Transfer {
            mfn,
            domid: GRANTER,
            ref_: reference,
            status: NOT_YET,
            ..Default::default()
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let machine = self.host.machine();
        let mut handles = Vec::new();
        for handle in 0..256 {
            let mut taken = self.mapper.grants.taken();
            if let Ok(mapping) = taken.take(handle) {
                taken.fill(handle, mapping);
                handles.push(handle);
            }
        }
        let mut slots = Vec::new();
        for (slot, entry) in (0..SLOTS).zip(machine.page(self.table).unwrap()) {
            let entry = entry.load(Ordering::Acquire);
            if entry != 0 {
                let frame = self.frames.iter().position(|mfn| *mfn == pte::frame(entry));
                slots.push((slot, frame.unwrap_or(FRAMES), entry & pte::RW != 0));
            }
        }
        let cells = self.frames.map(|mfn| {
            core::array::from_fn(|cell| {
                let mut bytes = [0; 64];
                assert!(machine.read_frame(mfn, cell * 64, &mut bytes));
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
                bytes[0]
            })
        });
        let guest = &self.granter.guest;
        let version = guest.grants.version().number();
        let shared = guest.memory.special.load(Ordering::Acquire);
        Seen {
            held: self
                .frames
                .map(|mfn| counts(&self.host, mfn))
                .map(|(all, kind)| (all - 1, kind))
                .to_vec(),
            marks: [&self.granter, &self.middle].map(|table| self.marks(table)),
            used: [&self.granter, &self.middle].map(Self::used),
            handles,
            slots,
            cells,
            total: [
                guest.memory.total_frames(),
                self.mapper.memory.total_frames(),
            ],
            table: (version, guest.grants.frames(), shared),
        }
    }

    /// How many entries are in use; of a table that is gone nobody knows.
    fn used(table: &Granter) -> usize {
        let given = table.guest.grants.given();
        if given.frames() == 0 {
            0
        } else {
            given.used as usize
        }
    }

    fn marks(&self, table: &Granter) -> Vec<(u16, bool)> {
        let marks = |reference: &u32| {
            let given = table.guest.grants.given();
            let slot = given.slot(self.host.machine(), *reference);
            let marks = slot.map_or(0, |slot| slot.marks.read());
            // In version 1 these bits of other entries mean something else.
            let grants = slot.is_some_and(|slot| {
                slot.body.is_some() || slot.flags() & GTF_TYPE_MASK == GTF_PERMIT_ACCESS
            });
            let marks = if grants {
                marks & (GTF_READING | GTF_WRITING)
            } else {
                0
            };
            (marks, given.is_in_use(*reference))
        };
        REFERENCES.iter().map(marks).collect()
    }

    /// Nobody runs any more, and the mapper's page table goes.
    pub(super) fn stop(&self) {
        for cpu in [CpuId(0), CpuId(1)] {
            let cpu = self.cpu(cpu);
            *cpu.current.borrow_mut() = Arc::clone(&cpu.idle);
        }
        crate::mm::types::put_type(&self.host.cpu, self.table).unwrap();
    }

    /// Counts of what grants lead to, and what the domains still share with the hypervisor.
    pub(super) fn left(&self) -> (Vec<(u64, u64)>, [u64; 2]) {
        let frames = self.frames.map(|mfn| counts(&self.host, mfn));
        let shared =
            [&self.granter, &self.middle].map(|it| it.guest.memory.special.load(Ordering::Acquire));
        (frames.to_vec(), shared)
    }

    /// How many others than the table, this and its vCPUs refer to the granter.
    pub(super) fn referred(&self) -> usize {
        Arc::strong_count(&self.granter.guest) - 3
    }
}

/// The status of an operation whose turn has not come.
const NOT_YET: i16 = 0x7777;
