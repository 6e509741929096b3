//! Whatever the domains do, in both versions, counts balance.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;
use proptest::prelude::*;

use super::guest::*;
use crate::error::Stop;
use crate::grant::entry::Part;
use crate::grant::release_all;
use crate::machine::Machine;
use crate::mm::entry::{EntryPlace, Update, replace_leaf};
use crate::sync::atomic::Ordering;
use crate::testing::Host;
use crate::types::{Mfn, VcpuId};

#[derive(Clone, Copy, Debug)]
enum Op {
    Grant {
        reference: u32,
        to: u16,
        frame: usize,
        readonly: bool,
    },
    GrantPart {
        reference: u32,
        to: u16,
        first: u16,
        len: u16,
    },
    PassOn {
        reference: u32,
        of: u32,
    },
    Accept {
        reference: u32,
    },
    Give {
        reference: u32,
    },
    SetVersion {
        version: u32,
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
    Copy {
        from: u16,
        reference: u32,
        to: bool,
    },
}

/// The granting domain, the one that maps and copies, and one that passes grants on.
const GRANTER: u16 = 1;
const MAPPER: u16 = 2;
const MIDDLE: u16 = 3;
/// References that are used: two that outlive a change of version, and two that do not.
const REFERENCES: [u32; 4] = [2, 7, 8, 11];

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![
        Just(GNTMAP_HOST_MAP),
        Just(GNTMAP_HOST_MAP | GNTMAP_READONLY),
        Just(GNTMAP_DEVICE_MAP),
        Just(GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP),
    ];
    let reference = prop::sample::select(&REFERENCES[..]);
    let to = prop_oneof![3 => Just(MAPPER), 1 => Just(MIDDLE)];
    prop_oneof![
        4 => (reference.clone(), to.clone(), 0usize..3, any::<bool>())
            .prop_map(|(reference, to, frame, readonly)| Op::Grant { reference, to, frame, readonly }),
        1 => (reference.clone(), to, 0u16..200, 0u16..5000)
            .prop_map(|(reference, to, first, len)| Op::GrantPart { reference, to, first, len }),
        2 => (reference.clone(), reference.clone())
            .prop_map(|(reference, of)| Op::PassOn { reference, of }),
        1 => reference.clone().prop_map(|reference| Op::Accept { reference }),
        1 => reference.clone().prop_map(|reference| Op::Give { reference }),
        2 => (1u32..3).prop_map(|version| Op::SetVersion { version }),
        1 => reference.clone().prop_map(|reference| Op::End { reference }),
        1 => (reference.clone(), any::<u64>())
            .prop_map(|(reference, value)| Op::Scribble { reference, value }),
        8 => (reference.clone(), 0u64..4, flags)
            .prop_map(|(reference, slot, flags)| Op::Map { reference, slot, flags }),
        5 => (0usize..6).prop_map(|nth| Op::Unmap { nth }),
        1 => (0u64..4).prop_map(|slot| Op::Overwrite { slot }),
        6 => (prop_oneof![Just(GRANTER), Just(MIDDLE)], reference, any::<bool>())
            .prop_map(|(from, reference, to)| Op::Copy { from, reference, to }),
    ]
}

/// Mappings that the mapper believes it has, by order of making.
fn run(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let host = Host::with_frames(128);
    let granter = Granter::new(&host, GRANTER, 3);
    let mapper = host.domain(MAPPER, 1, 64);
    let middle = Granter::new(&host, MIDDLE, 0);
    middle.set_version(&host, 2).0.unwrap();
    let (mut version, mut given) = (1, 0);
    let (table, own) = (l1(&host, &mapper), host.ram(&mapper));
    let mut mapped: Vec<MapGrantRef> = Vec::new();
    for op in ops {
        match op {
            // A guest that keeps to the rules leaves entries in use alone.
            Op::Grant { reference, .. }
            | Op::GrantPart { reference, .. }
            | Op::Accept { reference }
            | Op::End { reference }
                if granter.flags(&host, reference) & (GTF_READING | GTF_WRITING) != 0 => {}
            Op::Grant {
                reference,
                to,
                frame,
                readonly,
            } => granter.grant(&host, reference, to, granter.frames[frame], readonly),
            Op::GrantPart {
                reference,
                to,
                first,
                len,
            } => {
                if version == 2 {
                    let part = Part { first, len };
                    granter.grant_part(&host, reference, to, granter.frames[0], part);
                }
            }
            Op::PassOn { reference, of } => {
                middle.pass_on(&host, reference, MAPPER, (GRANTER, of));
            }
            Op::Accept { reference } => {
                granter.write(&host, reference, GTF_ACCEPT_TRANSFER, MAPPER, 5);
            }
            Op::Give { reference } => {
                let (mfn, free) = (host.ram(&mapper), host.hv.heap.free_frames());
                let op = Transfer {
                    mfn: mfn.0,
                    domid: GRANTER,
                    ref_: reference,
                    ..Default::default()
                };
                if single(&host, &mapper, GNTTABOP_TRANSFER, op).status == GNTST_OKAY {
                    given += 1;
                } else {
                    prop_assert_eq!(host.hv.heap.free_frames(), free + 1);
                }
            }
            Op::SetVersion { version: wanted } => {
                let (outcome, now) = granter.set_version(&host, wanted);
                let in_use = mapped
                    .iter()
                    .any(|op| op.ref_ >= GNTTAB_NR_RESERVED_ENTRIES);
                match outcome {
                    Ok(_) => {
                        prop_assert_eq!(now, wanted);
                        prop_assert!(wanted == version || !in_use);
                    }
                    Err(Stop::Errno(Errno::EBUSY)) => prop_assert!(wanted != version),
                    Err(Stop::Errno(Errno::ERANGE)) => prop_assert_eq!((version, wanted), (2, 1)),
                    Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
                version = now;
            }
            Op::End { reference } => {
                granter.entry(&host, reference).store(0, Ordering::Release);
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
                    map_op(GRANTER, reference, table, slot, flags),
                );
                if done.status == GNTST_OKAY {
                    let mfn = Mfn::containing(done.dev_bus_addr);
                    let owner = host.machine().frame(mfn).unwrap().count().owner();
                    prop_assert_eq!(owner, granter.guest.id);
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
                    } else {
                        // An overwritten entry: the first try says so and ends the mapping.
                        let again = single(&host, &mapper, GNTTABOP_UNMAP_GRANT_REF, unmap_op(&op));
                        prop_assert!(again.status != GNTST_OKAY);
                        if again.status == GNTST_BAD_HANDLE {
                            mapped.remove(nth);
                        }
                    }
                }
            }
            Op::Overwrite { slot } => {
                let update = [table.address() + slot * 8, 0u64];
                let vcpu = mapper.vcpu(VcpuId(0)).unwrap();
                let cx = host.cx(&vcpu);
                let place = EntryPlace {
                    table: Mfn::containing(update[0]),
                    level: 1,
                    index: usize::try_from(slot).unwrap(),
                };
                replace_leaf(cx.cpu, &mapper, mapper.id, place, 0, Update::Plain).unwrap();
            }
            Op::Copy {
                from,
                reference,
                to,
            } => {
                let (theirs, mine) = (
                    end(u64::from(reference), from, 64),
                    end(own.0, DOMID_SELF, 0),
                );
                let (ends, flag) = if to {
                    ((mine, theirs), GNTCOPY_DEST_GREF)
                } else {
                    ((theirs, mine), GNTCOPY_SOURCE_GREF)
                };
                copy(&host, &mapper, ends, 64, flag);
                for reference in REFERENCES {
                    prop_assert!(!middle.guest.grants.given().is_in_use(reference));
                }
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
    host.finish(|| release_all(&host.cpu, &mapper));
    // The page tables go as well; their entries hold references of their own.
    crate::mm::types::put_type(&host.cpu, table).unwrap();
    for frame in &granter.frames {
        prop_assert_eq!(counts(&host, *frame), (1, 0));
    }
    prop_assert_eq!(counts(&host, own), (1, 0));
    for reference in REFERENCES {
        prop_assert!(!granter.guest.grants.given().is_in_use(reference));
    }
    prop_assert_eq!(granter.guest.memory.total_frames(), 3 + given);
    host.finish(|| release_all(&host.cpu, &granter.guest));
    prop_assert_eq!(granter.guest.memory.special.load(Ordering::Acquire), 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn counts_balance(ops in prop::collection::vec(op(), 0..80)) {
        run(ops)?;
    }
}
