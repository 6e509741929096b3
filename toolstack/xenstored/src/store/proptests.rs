//! The tree and its transactions against a model: a flat map from paths to values, where a transaction is a copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use xenstore::{ErrorCode, Path};

use super::{Change, Transaction, Tree};
use crate::logic::quota::Limits;
use crate::logic::who::Who;

type Model = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Change(usize, Change),
    Read(usize, Path),
    List(usize, Path),
    Begin,
    Commit(usize),
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|parts| Path::new(&format!("/{}", parts.join("/"))).unwrap())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(p, v)| Change::Write(p, Arc::from([v]))),
        1 => path().prop_map(Change::MakeDirectory),
        2 => path().prop_map(Change::Remove),
    ]
}

/// Steps name the tree they work on: 0 is the store, others are transactions (if there are that many).
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4usize, change()).prop_map(|(t, c)| Step::Change(t, c)),
        3 => (0..4usize, path()).prop_map(|(t, p)| Step::Read(t, p)),
        1 => (0..4usize, path()).prop_map(|(t, p)| Step::List(t, p)),
        1 => Just(Step::Begin),
        1 => (1..4usize).prop_map(Step::Commit),
    ]
}

fn apply(model: &mut Model, change: &Change) {
    match change {
        Change::Write(path, value) => {
            make(model, path);
            model.insert(path.to_string(), value.to_vec());
        }
        Change::MakeDirectory(path) => make(model, path),
        Change::Remove(path) => {
            let below = format!("{path}/");
            model.retain(|p, _| p != path.as_str() && !p.starts_with(&below));
        }
        Change::SetPermissions(..) => unreachable!("not in the model"),
    }
}

fn make(model: &mut Model, path: &Path) {
    let mut at = String::new();
    for name in path.components() {
        at = format!("{at}/{name}");
        model.entry(at.clone()).or_default();
    }
}

fn names(model: &Model, path: &Path) -> Option<Vec<String>> {
    model.get(path.as_str())?;
    let below = format!("{path}/");
    let child = |p: &String| {
        p.strip_prefix(&below)
            .filter(|rest| !rest.contains('/'))
            .map(str::to_owned)
    };
    Some(model.keys().filter_map(child).collect())
}

fn flat(tree: &Tree) -> Model {
    let mut model = Model::new();
    tree.root().walk(&mut |path, node| {
        if !path.is_empty() {
            model.insert(path.to_owned(), node.value.to_vec());
        }
    });
    model
}

/// A transaction and what the model knows of it.
struct Open {
    real: Transaction,
    model: Model,
    changes: Vec<Change>,
    /// What it read, as it was in the store when it began.
    reads: Vec<(Path, Option<Vec<u8>>)>,
    lists: Vec<(Path, Option<Vec<String>>)>,
    /// Whether the store has changed at all since it began.
    disturbed: bool,
}

proptest! {
    #[test]
    fn transactions_are_serializable(steps in prop::collection::vec(step(), 1..80)) {
        let who = Who::dom0();
        let (mut tree, mut model) = (Tree::new(), Model::new());
        let mut open: Vec<Open> = Vec::new();
        let mut generation = 0u64;
        for step in steps {
            generation += 1000;
            match step {
                Step::Begin if open.len() < 3 => open.push(Open {
                    real: Transaction::new(&tree),
                    model: model.clone(),
                    changes: Vec::new(),
                    reads: Vec::new(),
                    lists: Vec::new(),
                    disturbed: false,
                }),
                Step::Change(0, change) => {
                    if change.apply(&mut tree, &who, generation).is_ok() {
                        apply(&mut model, &change);
                    }
                    for other in &mut open {
                        other.disturbed = true;
                    }
                }
                Step::Change(n, change) => if let Some(t) = open.get_mut(n - 1)
                    && t.real.change(change.clone(), &who, generation).is_ok()
                {
                    apply(&mut t.model, &change);
                    t.changes.push(change);
                },
                Step::Read(n, path) => if let Some(t) = n.checked_sub(1).and_then(|n| open.get_mut(n)) {
                    t.real.see(&path);
                    let value = t.real.tree.get(&path).map(|n| n.value.to_vec());
                    prop_assert_eq!(&value, &t.model.get(path.as_str()).cloned());
                    let before = t.model.get(path.as_str()).cloned();
                    if !t.changes.iter().any(|c| path.is_within(c.path()) || c.path().is_within(&path)) {
                        t.reads.push((path, before));
                    }
                },
                Step::List(n, path) => if let Some(t) = n.checked_sub(1).and_then(|n| open.get_mut(n)) {
                    t.real.see_children(&path);
                    let listed = t.real.tree.get(&path)
                        .map(|n| n.children.keys().map(|k| k.to_string()).collect::<Vec<_>>());
                    prop_assert_eq!(&listed, &names(&t.model, &path));
                    if !t.changes.iter().any(|c| path.is_within(c.path()) || c.path().is_within(&path)) {
                        t.lists.push((path, listed));
                    }
                },
                Step::Commit(n) if n <= open.len() => {
                    let t = open.remove(n - 1);
                    let before = flat(&tree);
                    let result = t.real.commit(&mut tree, &who, || { generation += 1; generation });
                    match result {
                        Ok(_) => {
                            // All it read is still true: it might as well have run just now.
                            for (path, value) in &t.reads {
                                prop_assert_eq!(&model.get(path.as_str()).cloned(), value);
                            }
                            for (path, children) in &t.lists {
                                prop_assert_eq!(&names(&model, path), children);
                            }
                            for change in &t.changes {
                                apply(&mut model, change);
                            }
                            for other in &mut open {
                                other.disturbed |= !t.changes.is_empty();
                            }
                        }
                        Err(code) => {
                            prop_assert!(t.disturbed, "{} without anybody else", code);
                            prop_assert_eq!(flat(&tree), before);
                        }
                    }
                }
                Step::Begin | Step::Commit(_) => {}
            }
            prop_assert_eq!(flat(&tree), model.clone());
            prop_assert!(tree.counts_are_true());
        }
    }

    #[test]
    fn a_guest_never_owns_more_than_its_quota(changes in prop::collection::vec(change(), 1..60)) {
        let who = Who::guest(5, Limits { nodes: 6, ..Limits::default() });
        let mut tree = Tree::new();
        for (generation, change) in (1..).zip(changes) {
            let before = tree.owned_by(5);
            let result = change.apply(&mut tree, &who, generation);
            prop_assert!(tree.owned_by(5) <= 6);
            prop_assert!(tree.counts_are_true());
            if let Err(ErrorCode::ENOSPC) = result {
                prop_assert_eq!(tree.owned_by(5), before);
            }
        }
    }
}

#[test]
fn transactions_that_do_not_meet_both_succeed() {
    let who = Who::dom0();
    let mut tree = Tree::new();
    let at = |s: &str| Path::new(s).unwrap();
    Change::MakeDirectory(at("/backend"))
        .apply(&mut tree, &who, 1)
        .unwrap();
    let (mut one, mut two) = (Transaction::new(&tree), Transaction::new(&tree));
    one.change(Change::Write(at("/backend/1"), Arc::from(*b"1")), &who, 2)
        .unwrap();
    two.change(Change::Write(at("/backend/2"), Arc::from(*b"2")), &who, 3)
        .unwrap();
    let mut generation = 3;
    let mut next = || {
        generation += 1;
        generation
    };
    one.commit(&mut tree, &who, &mut next).unwrap();
    two.commit(&mut tree, &who, &mut next).unwrap();
    assert_eq!(tree.get(&at("/backend")).unwrap().children.len(), 2);
}
