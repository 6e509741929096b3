//! Batches stopped after any operation and gone on with later, and each operation overtaken at any
//! point by another CPU: by the granting guest that ends grants, changes version or dies, by the
//! mapping one's other vCPU. The outcome must be one that the model reaches when it does the
//! stages of one and the whole of the other in some order.

mod model;
mod real;

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use oxen_abi::grant_table::*;
use proptest::prelude::*;

use crate::testing::between;
use crate::types::CpuId;
use model::{Entry, FRAMES, GRANTER, MAPPER, MIDDLE, Model, SLOTS};
use real::{Real, Seen};

/// References that are used: two that outlive a change of version, two that do not, and one that
/// a table of version 2 has only once it has grown.
const REFERENCES: [u32; 5] = [2, 7, 8, 11, 300];

/// What batches are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Map,
    Unmap,
    Copy,
    Give,
}

/// One operation of a batch.
#[derive(Clone, Copy, Debug)]
enum Item {
    Map {
        reference: u32,
        slot: u64,
        flags: u32,
    },
    /// Parts: 1 the device's, 2 the processor's; where they are.
    Unmap {
        handle: u32,
        parts: u8,
        place: (usize, u64),
    },
    /// Their cell and one's own; `to`: to theirs.
    Copy {
        from: u16,
        reference: u32,
        cells: (u16, u16),
        to: bool,
    },
    /// `own`: a frame that can be given; else a page table.
    Give { reference: u32, own: bool, mfn: u64 },
}

/// What an operation of a batch was answered.
#[derive(Clone, Copy, Debug)]
struct Answer {
    status: i16,
    handle: u32,
    frame: Option<usize>,
}

impl Answer {
    const fn only(status: i16) -> Self {
        Self {
            status,
            handle: 0,
            frame: None,
        }
    }
}

#[derive(Clone, Debug)]
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
    End {
        dom: u16,
        reference: u32,
    },
    SetVersion {
        version: u32,
    },
    Grow {
        frames: u32,
    },
    Swap(u32, u32),
    /// Unmaps name a handle by its place among those there are until it is known.
    Batch {
        kind: Kind,
        items: Vec<Item>,
        stop: Option<u64>,
    },
    Die {
        dom: u16,
        stop: Option<u64>,
    },
}

impl Op {
    fn stop(&self) -> Option<u64> {
        match self {
            Self::Batch { stop, .. } | Self::Die { stop, .. } => *stop,
            _ => None,
        }
    }

    /// The domain that does it, or that is taken apart.
    fn dom(&self) -> u16 {
        match self {
            Self::Batch { .. } => MAPPER,
            Self::PassOn { .. } => MIDDLE,
            Self::Die { dom, .. } | Self::End { dom, .. } => *dom,
            _ => GRANTER,
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug)]
enum Outcome {
    Flag(bool),
    Status(i16),
    Batch {
        done: Vec<(Item, Answer)>,
        over: bool,
    },
}

#[derive(Clone, Debug)]
struct Step {
    op: Op,
    /// What happens after so many points of it.
    meanwhile: Option<(u32, Op)>,
}

fn reference() -> impl Strategy<Value = u32> + Clone {
    prop::sample::select(&REFERENCES[..])
}

fn items() -> impl Strategy<Value = (Kind, Vec<Item>)> {
    let flags = prop_oneof![
        Just(GNTMAP_HOST_MAP),
        Just(GNTMAP_HOST_MAP | GNTMAP_READONLY),
        Just(GNTMAP_DEVICE_MAP),
        Just(GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP),
    ];
    let map = (reference(), 0..=SLOTS, flags).prop_map(|(reference, slot, flags)| Item::Map {
        reference,
        slot,
        flags,
    });
    let parts = prop_oneof![4 => Just(3u8), 1 => Just(1), 1 => Just(2)];
    let unmap = (0u32..8, parts).prop_map(|(handle, parts)| {
        let place = (0, 0);
        Item::Unmap {
            handle,
            parts,
            place,
        }
    });
    let from = prop_oneof![Just(GRANTER), Just(MIDDLE)];
    let copy = (from, reference(), (0..4u16, 0..4u16), any::<bool>()).prop_map(
        |(from, reference, cells, to)| Item::Copy {
            from,
            reference,
            cells,
            to,
        },
    );
    let give = (reference(), prop::bool::weighted(0.8)).prop_map(|(reference, own)| {
        let mfn = 0;
        Item::Give {
            reference,
            own,
            mfn,
        }
    });
    let list = 1..7usize;
    prop_oneof![
        4 => prop::collection::vec(map, list.clone()).prop_map(|items| (Kind::Map, items)),
        3 => prop::collection::vec(unmap, list.clone()).prop_map(|items| (Kind::Unmap, items)),
        3 => prop::collection::vec(copy, list.clone()).prop_map(|items| (Kind::Copy, items)),
        1 => prop::collection::vec(give, 1..4usize).prop_map(|items| (Kind::Give, items)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let to = prop_oneof![3 => Just(MAPPER), 2 => Just(MIDDLE)];
    let stop = prop::option::weighted(0.6, 0u64..5);
    let dom = prop_oneof![Just(GRANTER), Just(MAPPER), Just(MIDDLE)];
    let ended = prop_oneof![3 => Just(GRANTER), 1 => Just(MIDDLE)];
    let cell = || prop::sample::select(vec![0u16, 64, 128]);
    prop_oneof![
        10 => (reference(), to.clone(), 0..FRAMES, prop::bool::weighted(0.3))
            .prop_map(|(reference, to, frame, readonly)| Op::Grant { reference, to, frame, readonly }),
        2 => (reference(), to, cell(), cell())
            .prop_map(|(reference, to, first, len)| Op::GrantPart { reference, to, first, len }),
        3 => (reference(), reference()).prop_map(|(reference, of)| Op::PassOn { reference, of }),
        2 => reference().prop_map(|reference| Op::Accept { reference }),
        4 => (ended, reference()).prop_map(|(dom, reference)| Op::End { dom, reference }),
        2 => (1u32..3).prop_map(|version| Op::SetVersion { version }),
        1 => (1u32..3).prop_map(|frames| Op::Grow { frames }),
        1 => (reference(), reference()).prop_map(|(a, b)| Op::Swap(a, b)),
        20 => (items(), stop.clone())
            .prop_map(|((kind, items), stop)| Op::Batch { kind, items, stop }),
        1 => (dom, stop).prop_map(|(dom, stop)| Op::Die { dom, stop }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let meanwhile = prop::option::of((0u32..40, op()));
    (op(), meanwhile).prop_map(|(op, meanwhile)| Step { op, meanwhile })
}

/// What guests that keep to the rules do: they write entries that are free, and have none for
/// frames to come when they move entries about.
fn allowed(model: &Model, op: &Op) -> bool {
    let free = |reference: u32| {
        let table = &model.granter;
        table.has(reference) && table.entry(reference) == Entry::Free
    };
    let waits = |reference: &u32| {
        matches!(
            model.granter.entry(*reference),
            Entry::Accept | Entry::Committed | Entry::Completed
        )
    };
    let lives = match op.dom() {
        GRANTER => model.granter.alive,
        MAPPER => model.mapper_lives,
        _ => model.middle.alive,
    };
    match *op {
        Op::Die { .. } => true,
        _ if !lives => false,
        Op::Grant { reference, .. } | Op::Accept { reference } => free(reference),
        Op::GrantPart { reference, .. } => free(reference) && model.granter.version == 2,
        Op::PassOn { reference, .. } => model.middle.has(reference),
        Op::End {
            dom: GRANTER,
            reference,
        } => model.granter.has(reference),
        Op::End { reference, .. } => model.middle.has(reference),
        Op::SetVersion { .. } => !REFERENCES.iter().any(waits),
        Op::Swap(a, b) => !waits(&a) && !waits(&b),
        _ => true,
    }
}

/// Whether both can be under way at once: no vCPU of a domain that is taken apart runs. A guest
/// does not write entries while it changes what they are.
fn together(one: &Op, other: &Op) -> bool {
    let apart = |op: &Op| matches!(op, Op::Die { .. });
    let whole = |op: &Op| matches!(op, Op::SetVersion { .. } | Op::Grow { .. } | Op::Swap(..));
    let same = one.dom() == other.dom();
    !(same && (apart(one) || apart(other) || whole(one) || whole(other)))
}

/// A piece of an order in which things can have happened.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// An operation in one go.
    Whole(&'a Op, &'a Outcome),
    /// A stage of one of a batch: whose batch, which operation, which stage.
    Stage(u8, usize, u8, &'a Item, &'a Answer),
    /// The dying mapper loses a mapping.
    Drop(u32),
    /// The dying granter's table loses its second frame, if it has one.
    Shrink,
}

fn play(before: &Model, pieces: &[Piece<'_>], now: &Seen) -> Option<Model> {
    let mut model = before.clone();
    for piece in pieces {
        let possible = match *piece {
            Piece::Whole(op, outcome) => accept(&mut model, op, outcome),
            Piece::Stage(whose, number, stage, item, answer) => {
                model.step((whose, number), stage, item, answer)
            }
            Piece::Drop(handle) => {
                model.drop_mapping(handle);
                true
            }
            Piece::Shrink => {
                model.granter.frames = model.granter.frames.min(1);
                true
            }
        };
        if !possible {
            return None;
        }
    }
    (seen(&model) == *now).then_some(model)
}

/// Does an operation that has no stages. Whether its outcome is one that it can have.
fn accept(model: &mut Model, op: &Op, outcome: &Outcome) -> bool {
    let flag = match outcome {
        Outcome::Flag(flag) => *flag,
        Outcome::Status(status) => *status == GNTST_OKAY,
        Outcome::Batch { over, .. } => *over,
    };
    match *op {
        Op::Grant {
            reference,
            to,
            frame,
            readonly,
        } => {
            let part = None;
            model.write(
                GRANTER,
                reference,
                Entry::Access {
                    to,
                    frame,
                    readonly,
                    part,
                },
            );
            flag
        }
        Op::GrantPart {
            reference,
            to,
            first,
            len,
        } => {
            let part = Some((first, len));
            let (frame, readonly) = (0, false);
            model.write(
                GRANTER,
                reference,
                Entry::Access {
                    to,
                    frame,
                    readonly,
                    part,
                },
            );
            flag
        }
        Op::Accept { reference } => {
            model.write(GRANTER, reference, Entry::Accept);
            flag
        }
        Op::PassOn { reference, of } => {
            let idle = model.end(MIDDLE, reference);
            if idle {
                model.write(MIDDLE, reference, Entry::Onward(of));
            }
            flag == idle
        }
        Op::End { dom, reference } => flag == model.end(dom, reference),
        Op::SetVersion { version } => flag == model.set_version(version),
        Op::Grow { frames } => {
            model.granter.frames = model.granter.frames.max(frames);
            flag
        }
        Op::Swap(a, b) => {
            let expected = model.swap((a, b));
            matches!(outcome, Outcome::Status(status) if *status == expected)
        }
        Op::Die { dom, .. } => {
            if dom == MAPPER {
                model.mapper_lives = false;
            }
            !flag || model.die(dom)
        }
        Op::Batch { .. } => false,
    }
}

/// What the model says is to be seen.
fn seen(model: &Model) -> Seen {
    let tables = [&model.granter, &model.middle];
    let (version, frames) = (model.granter.version, model.granter.frames);
    // The shared page, entries, and status words in version 2.
    let status = u64::from(version == 2 && model.granter.alive);
    Seen {
        held: (0..FRAMES).map(|frame| model.held(frame)).collect(),
        marks: tables.map(|table| REFERENCES.iter().map(|it| table.marks(*it)).collect()),
        used: tables.map(|table| table.used()),
        handles: model.mappings.keys().copied().collect(),
        slots: model
            .slots
            .iter()
            .map(|(slot, it)| (*slot, it.0, it.1))
            .collect(),
        cells: model.cells,
        total: model.total,
        table: (version, frames, 1 + u64::from(frames) + status),
    }
}

type Done<'a> = (&'a Op, &'a Outcome);

/// The stages of an operation, in their order.
fn pieces<'a>(whose: u8, before: &Model, (op, outcome): Done<'a>, now: &Seen) -> Vec<Piece<'a>> {
    match (op, outcome) {
        (Op::Batch { .. }, Outcome::Batch { done, .. }) => {
            let stages = |number: usize, stages: core::ops::RangeInclusive<u8>| {
                let (item, answer) = &done[number];
                stages.map(move |stage| Piece::Stage(whose, number, stage, item, answer))
            };
            // Unmapped frames are let go of together, when the batch stops.
            let late = matches!(done.first(), Some((Item::Unmap { .. }, _)));
            let first = if late { 1..=2 } else { 1..=3 };
            let all = 0..done.len();
            let mut list: Vec<_> = all
                .clone()
                .flat_map(|it| stages(it, first.clone()))
                .collect();
            if late {
                list.extend(all.flat_map(|it| stages(it, 3..=3)));
            }
            list
        }
        (Op::Die { dom: MAPPER, .. }, _) => {
            let handles = before.mappings.keys().copied();
            let gone = handles.filter(|handle| !now.handles.contains(handle));
            let end = Piece::Whole(op, outcome);
            gone.map(Piece::Drop).chain([end]).collect()
        }
        (Op::Die { dom: GRANTER, .. }, _) => vec![Piece::Shrink, Piece::Whole(op, outcome)],
        _ => vec![Piece::Whole(op, outcome)],
    }
}

/// What the model is after a step that led to what is seen now.
fn explain(before: &Model, one: Done<'_>, other: Option<Done<'_>>, now: &Seen) -> Option<Model> {
    let stages = pieces(0, before, one, now);
    let other = other.map(|other| pieces(1, before, other, now));
    let other = other.unwrap_or_default();
    (0..=stages.len()).find_map(|at| {
        let (first, rest) = stages.split_at(at);
        play(before, &[first, &other, rest].concat(), now)
    })
}

/// Fills in what is only known now: handles and frames.
fn prepare(real: &Real, model: &mut Model, cpu: CpuId, op: &mut Op) {
    let Op::Batch { items, .. } = op else { return };
    if real.has_batch(cpu) {
        return;
    }
    for item in items.iter_mut() {
        if let Item::Unmap {
            handle,
            parts,
            place,
        } = item
        {
            match model.mappings.iter().nth(*handle as usize) {
                Some((known, mapping)) => (*handle, *place) = (*known, mapping.place()),
                None => (*handle, *parts) = (99, 0),
            }
        }
    }
    model.total[1] += real.prepare(items);
}

fn run_step(real: &Rc<Real>, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    let Step { mut op, meanwhile } = step;
    if !allowed(model, &op) {
        return Ok(());
    }
    prepare(real, model, CpuId(0), &mut op);
    // What a guest does alone, in its own memory, is done in one go.
    let calls = matches!(
        op,
        Op::Batch { .. } | Op::Die { .. } | Op::SetVersion { .. } | Op::Grow { .. } | Op::Swap(..)
    );
    let meanwhile = meanwhile.filter(|_| calls);
    let meanwhile = meanwhile.filter(|(_, other)| allowed(model, other) && together(&op, other));
    let run = || real.run(CpuId(0), &op);
    let (outcome, other) = match meanwhile {
        None => (run(), None),
        Some((points, mut other)) => {
            prepare(real, model, CpuId(1), &mut other);
            let noted = Rc::new(RefCell::new(None));
            let act = {
                let (real, noted, other) = (Rc::clone(real), Rc::clone(&noted), other.clone());
                move || {
                    let outcome = real.run(CpuId(1), &other);
                    noted.replace(Some(outcome));
                }
            };
            let (outcome, _) = between(points, act, run);
            (outcome, noted.take().map(|outcome| (other, outcome)))
        }
    };
    let now = real.seen();
    let done = other.as_ref().map(|(op, outcome)| (op, outcome));
    match explain(model, (&op, &outcome), done, &now) {
        Some(after) => *model = after,
        None => prop_assert!(
            false,
            "{op:?} -> {outcome:?}, meanwhile {other:?}: cannot lead from {model:#?} to {now:#?}"
        ),
    }
    Ok(())
}

/// All die, with stops: nothing is mapped, marked or counted any more.
fn end(real: &Rc<Real>, model: &mut Model) -> Result<(), TestCaseError> {
    for dom in [MAPPER, GRANTER, MIDDLE] {
        let mut rounds = 0;
        loop {
            let stop = Some(0);
            let op = Op::Die { dom, stop };
            let outcome = real.run(CpuId(0), &op);
            let now = real.seen();
            let after = explain(model, (&op, &outcome), None, &now);
            prop_assert!(after.is_some(), "{outcome:?}: {model:#?} to {now:#?}");
            *model = after.unwrap();
            if matches!(outcome, Outcome::Flag(true)) {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 200, "it does not end");
        }
    }
    real.stop();
    let (frames, shared) = real.left();
    prop_assert_eq!(frames, vec![(1, 0); FRAMES]);
    prop_assert_eq!(shared, [1, 1], "the shared pages");
    prop_assert_eq!(real.referred(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn batches_stopped_and_overtaken(steps in prop::collection::vec(step(), 0..60)) {
        let real = Real::new();
        let frames = real.seen();
        let mut model = Model::new(frames.total[1], frames.cells);
        for step in steps {
            run_step(&real, &mut model, step)?;
        }
        end(&real, &mut model)?;
    }
}
