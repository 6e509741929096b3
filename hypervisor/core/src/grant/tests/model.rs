//! Whatever granter and mapper do, counts balance.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::grant_table::*;
use oxen_abi::xen::DOMID_SELF;
use proptest::prelude::*;

use super::guest::*;
use crate::grant::release_all;
use crate::sync::atomic::Ordering;
use crate::testing::Host;
use crate::types::{Mfn, VcpuId};

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
    host.finish(|| release_all(&host.cpu, &mapper));
    // The page tables go as well; their entries hold references of their own.
    crate::mm::types::put_type(&host.cpu, table).unwrap();
    for frame in &granter.frames {
        prop_assert_eq!(counts(&host, *frame), (1, 0));
    }
    prop_assert_eq!(counts(&host, own), (1, 0));
    for reference in 0..4 {
        prop_assert!(!granter.guest.grants.given().is_in_use(reference));
    }
    host.finish(|| release_all(&host.cpu, &granter.guest));
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
