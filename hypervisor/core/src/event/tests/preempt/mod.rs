//! Long operations stopped after any step, and each operation overtaken at any point by one of
//! another CPU's. The outcome must be one that the model reaches when it does the two in some
//! order, a long one taken as the closing of one port after the other.

mod model;
mod real;

use alloc::collections::BTreeSet;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use oxen_abi::errno::Errno;
use proptest::prelude::*;

use crate::testing::between;
use crate::types::CpuId;
use model::{Bound, DOMAINS, Life, Model, Seen};
use real::Real;

#[derive(Clone, Debug)]
enum Op {
    Alloc(u16),
    Bind(u16, u32),
    Virq(u32),
    Ipi,
    Close(u32),
    Send(u32),
    /// The hypervisor sends a VIRQ to the domain.
    Raise(u32),
    Mask(u32),
    Unmask(u32),
    Take,
    Priority(u32, u32),
    Move(u32, u32),
    Control(u32),
    Expand,
    /// By the domain itself or by domain 0.
    Reset {
        target: u16,
        stop: Option<u64>,
    },
    Die {
        target: u16,
        stop: Option<u64>,
    },
}

impl Op {
    /// The domain whose ports a long operation closes.
    fn target(&self) -> Option<u16> {
        match self {
            Self::Reset { target, .. } | Self::Die { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// Whether it is answered with a new port.
    fn opens(&self) -> bool {
        matches!(
            self,
            Self::Alloc(_) | Self::Bind(..) | Self::Virq(_) | Self::Ipi
        )
    }

    fn stop(&self) -> Option<u64> {
        match self {
            Self::Reset { stop, .. } | Self::Die { stop, .. } => *stop,
            _ => None,
        }
    }
}

/// How an operation ended. `ERESTART`: it is to go on later.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Outcome {
    answer: Result<u32, Errno>,
    taken: BTreeSet<u32>,
}

/// An operation of a domain's.
#[derive(Clone, Debug)]
struct Act {
    dom: u16,
    op: Op,
}

/// An operation, and what happens after so many points of it.
#[derive(Clone, Debug)]
struct Step {
    act: Act,
    meanwhile: Option<(u32, Act)>,
}

fn op() -> impl Strategy<Value = Op> {
    let port = 1u32..10;
    let dom = 0..DOMAINS;
    let stop = prop::option::weighted(0.8, 0u64..6);
    prop_oneof![
        3 => (0..DOMAINS + 1).prop_map(Op::Alloc),
        6 => (0..DOMAINS + 1, port.clone()).prop_map(|(dom, port)| Op::Bind(dom, port)),
        1 => (0u32..4).prop_map(Op::Virq),
        1 => Just(Op::Ipi),
        3 => port.clone().prop_map(Op::Close),
        6 => port.clone().prop_map(Op::Send),
        2 => (0u32..4).prop_map(Op::Raise),
        2 => port.clone().prop_map(Op::Mask),
        6 => port.clone().prop_map(Op::Unmask),
        3 => Just(Op::Take),
        1 => (port.clone(), 0u32..16).prop_map(|(port, priority)| Op::Priority(port, priority)),
        1 => (port, 0u32..2).prop_map(|(port, vcpu)| Op::Move(port, vcpu)),
        2 => Just(Op::Control(0)),
        2 => Just(Op::Control(1)),
        6 => Just(Op::Expand),
        3 => (dom.clone(), stop.clone()).prop_map(|(target, stop)| Op::Reset { target, stop }),
        1 => (dom, stop).prop_map(|(target, stop)| Op::Die { target, stop }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    (0..DOMAINS, op()).prop_map(|(dom, op)| Act { dom, op })
}

fn step() -> impl Strategy<Value = Step> {
    // Most operations have few points; giving a page of words has one for each.
    let points = prop_oneof![9 => 0u32..8, 1 => 0u32..1100];
    let meanwhile = prop::option::of((points, act()));
    (act(), meanwhile).prop_map(|(act, meanwhile)| Step { act, meanwhile })
}

/// What a guest that keeps to the rules can ask for, and what it makes sense to ask.
fn allowed(model: &Model, act: &Act) -> bool {
    let dom = &model.0[usize::from(act.dom)];
    if let Op::Die { target, .. } = act.op {
        return target != 0 && act.dom == 0;
    }
    let has_control = |vcpu: u32| !dom.is_fifo() || dom.controls.contains(&vcpu);
    dom.life == Life::Alive
        && match act.op {
            Op::Alloc(_) | Op::Ipi | Op::Bind(..) => dom.ports.len() < 12,
            // It unmasks and moves no port where nobody could be told.
            Op::Unmask(port) => dom.ports.get(&port).is_none_or(|it| has_control(it.vcpu)),
            Op::Move(_, vcpu) => has_control(vcpu),
            Op::Control(vcpu) => vcpu == 0 || dom.is_fifo(),
            Op::Expand => !dom.words,
            Op::Reset { target, .. } => {
                let life = model.0[usize::from(target)].life;
                (act.dom == target || act.dom == 0) && life == Life::Alive
            }
            _ => true,
        }
}

/// Whether both can be under way at once: no vCPU of a domain that is taken apart runs, and a
/// guest gives its page of words once.
fn together(one: &Act, other: &Act) -> bool {
    let apart = |one: &Act, other: &Act| match one.op {
        Op::Die { target, .. } => {
            other.dom == target || matches!(other.op, Op::Reset { target: it, .. } if it == target)
        }
        _ => false,
    };
    let twice = one.dom == other.dom && matches!((&one.op, &other.op), (Op::Expand, Op::Expand));
    !twice && !apart(one, other) && !apart(other, one)
}

/// A piece of an order in which things can have happened.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// An operation that is not long.
    Whole(&'a Act, &'a Outcome),
    /// So many closings of a long one.
    Close(&'a Act, usize),
    /// Its end.
    End(&'a Act, &'a Outcome),
}

/// Plays pieces in their order; the model afterwards if that is what is seen.
fn play(before: &Model, pieces: &[Piece<'_>], now: &[Seen]) -> Option<Model> {
    let mut model = before.clone();
    for (at, piece) in pieces.iter().enumerate() {
        match *piece {
            Piece::Whole(act, outcome) => {
                if !model.accept(act.dom, &act.op, outcome) {
                    return None;
                }
            }
            Piece::Close(act, count) => {
                let id = act.op.target()?;
                if matches!(act.op, Op::Die { .. }) && model.dom(id).life == Life::Alive {
                    model.dom(id).life = Life::Dying;
                }
                let there = &now[usize::from(id)].ports;
                // A port that is there now may be another one with the same number.
                let anew = |port: u32| {
                    pieces.iter().skip(at).any(|piece| {
                        matches!(piece, Piece::Whole(act, outcome)
                            if act.dom == id && act.op.opens() && outcome.answer == Ok(port))
                    })
                };
                let ports = model.dom(id).ports.keys().copied();
                let gone = ports.filter(|port| !there.contains_key(port) || anew(*port));
                let gone = gone.take(count);
                for port in gone.collect::<Vec<_>>() {
                    model.close(id, port);
                }
            }
            Piece::End(act, outcome) => {
                if !model.accept_end(&act.op, outcome) {
                    return None;
                }
            }
        }
    }
    let same = model.0.iter().map(model::Dom::seen).eq(now.iter().cloned());
    same.then_some(model)
}

type Done<'a> = (&'a Act, &'a Outcome);

/// An operation from its start to its end.
fn whole<'a>((act, outcome): Done<'a>) -> Vec<Piece<'a>> {
    match act.op.target() {
        None => vec![Piece::Whole(act, outcome)],
        Some(_) => vec![Piece::Close(act, usize::MAX), Piece::End(act, outcome)],
    }
}

/// All orders in which an operation, and one in the middle of it, can take effect.
fn orders<'a>(one: Done<'a>, other: Option<Done<'a>>) -> Vec<Vec<Piece<'a>>> {
    const MOST: usize = 12;
    let Some(other) = other else {
        return vec![whole(one)];
    };
    let mut orders = vec![
        [whole(one), whole(other)].concat(),
        [whole(other), whole(one)].concat(),
    ];
    if one.0.op.target().is_some() {
        let same = one.0.op.target() == other.0.op.target();
        for (first, second) in (0..=MOST).flat_map(|first| (0..=MOST).map(move |n| (first, n))) {
            let mut order = vec![Piece::Close(one.0, first)];
            match whole(other).as_slice() {
                [_, end] if same => order.extend([Piece::Close(other.0, second), *end]),
                _ if second != 0 => continue,
                other => order.extend_from_slice(other),
            }
            order.extend(whole(one));
            orders.push(order);
        }
    }
    orders
}

/// What the model can be after a step that led to what is seen now. There are several of them as long as two orders
/// differ in what is not seen: a port's pending bit while a domain has FIFO channels but no words for them.
fn explain(before: &[Model], one: Done<'_>, other: Option<Done<'_>>, now: &[Seen]) -> Vec<Model> {
    let mut all: Vec<Model> = Vec::new();
    for model in before {
        for after in explanations(model, one, other, now) {
            if !all.contains(&after) {
                all.push(after);
            }
        }
    }
    all
}

/// The same from one of them.
fn explanations(
    before: &Model,
    one: Done<'_>,
    other: Option<Done<'_>>,
    now: &[Seen],
) -> Vec<Model> {
    let orders = orders(one, other);
    let found: Vec<_> = orders
        .iter()
        .filter_map(|order| play(before, order, now))
        .collect();
    if !found.is_empty() {
        return found;
    }
    // What is sent while the channel is being closed may arrive or not.
    let overtaken = || {
        let (Op::Send(port), dom) = (&one.0.op, one.0.dom) else {
            return None;
        };
        let bound = before.bound(dom, *port);
        let after = play(before, &whole(other?), now)?;
        let closed =
            matches!(bound, Some(Bound::Connected(..))) && after.bound(dom, *port) != bound;
        (one.1.answer == Ok(0) && closed).then_some(after)
    };
    overtaken().into_iter().collect()
}

fn dying(model: &Model) -> Vec<bool> {
    model.0.iter().map(|dom| dom.life != Life::Alive).collect()
}

fn run_step(real: &Rc<Real>, models: &mut Vec<Model>, step: Step) -> Result<(), TestCaseError> {
    let Step { act, meanwhile } = step;
    // They differ in nothing that this asks for.
    let model = &models[0];
    if !allowed(model, &act) {
        return Ok(());
    }
    // What the guest does alone, in its own memory, is done in one go.
    let alone = matches!(act.op, Op::Mask(_) | Op::Take);
    let meanwhile = meanwhile.filter(|_| !alone);
    let meanwhile = meanwhile.filter(|(_, other)| allowed(model, other) && together(&act, other));
    let run = || real.run(CpuId(0), act.dom, &act.op);
    let (outcome, other) = match meanwhile {
        None => (run(), None),
        Some((points, other)) => {
            let noted = Rc::new(RefCell::new(None));
            let other_act = {
                let (real, noted, other) = (Rc::clone(real), Rc::clone(&noted), other.clone());
                move || {
                    let outcome = real.run(CpuId(1), other.dom, &other.op);
                    noted.replace(Some(outcome));
                }
            };
            let (outcome, _) = between(points, other_act, run);
            (outcome, noted.take().map(|outcome| (other, outcome)))
        }
    };
    let mut deaths = dying(model);
    for act in [Some(&act), other.as_ref().map(|(act, _)| act)] {
        if let Some(Op::Die { target, .. }) = act.map(|act| &act.op) {
            deaths[usize::from(*target)] = true;
        }
    }
    let now = real.seen(&deaths);
    let done = other.as_ref().map(|(act, outcome)| (act, outcome));
    let after = explain(models, (&act, &outcome), done, &now);
    prop_assert!(
        !after.is_empty(),
        "{act:?} -> {outcome:?}, meanwhile {other:?}: cannot lead from {models:#?} to {now:#?}"
    );
    *models = after;
    Ok(())
}

/// All die, with stops: nothing refers to them, and their frames are their own.
fn end(real: &Rc<Real>, models: &mut Vec<Model>) -> Result<(), TestCaseError> {
    real.stop();
    // Domain 0 last; that it dies too is the test's doing.
    for target in [1, 2, 0] {
        let mut rounds = 0;
        while models[0].dom(target).life != Life::Dead {
            let stop = Some(0);
            let op = Op::Die { target, stop };
            let act = Act { dom: 0, op };
            let meanwhile = None;
            prop_assert!(rounds < 50, "it does not end");
            rounds += 1;
            let outcome = real.run(CpuId(0), 0, &act.op);
            let mut deaths = dying(&models[0]);
            deaths[usize::from(target)] = true;
            let now = real.seen(&deaths);
            let after = explain(models, (&act, &outcome), meanwhile, &now);
            prop_assert!(!after.is_empty(), "{outcome:?}: {models:#?} to {now:#?}");
            *models = after;
        }
    }
    real.stop();
    for dom in 0..DOMAINS {
        prop_assert_eq!(real.referred(dom), 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn ports_stopped_and_overtaken(steps in prop::collection::vec(step(), 0..80)) {
        let real = Real::new();
        let mut models = vec![Model::new()];
        for step in steps {
            run_step(&real, &mut models, step)?;
        }
        end(&real, &mut models)?;
    }
}
