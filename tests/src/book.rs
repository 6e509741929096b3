//! The book's chapter on the ABI names checks and modules; they must be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::list::{BOOT_RUNS, GUEST_RUNS, SESSIONS};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All `name/name` strings of the test guest's sources: its checks, and little else.
fn guest_checks() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root().join("guest-drivers/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(path).unwrap();
                names.extend(
                    text.split('"')
                        .filter(|part| part.contains('/'))
                        .map(str::to_owned),
                );
            }
        }
    }
    names
}

/// Names of boots, sessions, and the checks in these.
fn other_checks() -> BTreeSet<&'static str> {
    let sessions = SESSIONS.iter().map(|session| session.name);
    let within = SESSIONS
        .iter()
        .flat_map(|session| session.checks.iter().map(|check| check.name));
    let boots = BOOT_RUNS.iter().map(|run| run.name);
    let guests = GUEST_RUNS.iter().map(|run| run.name);
    sessions.chain(within).chain(boots).chain(guests).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The rows of tables with three columns: what, where, shown by.
fn rows(text: &str) -> impl Iterator<Item = [&str; 3]> {
    text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let [what, place, shown, ""] = cells[..] else {
            return None;
        };
        (place != "done in" && !place.starts_with("--")).then_some([what, place, shown])
    })
}

fn is_module(name: &str) -> bool {
    let core = root().join("hypervisor/core/src");
    let base = if name.starts_with("hypervisor/") {
        root()
    } else {
        core
    };
    base.join(name).is_dir() || base.join(format!("{name}.rs")).is_file()
}

#[test]
fn the_chapter_on_the_abi_names_what_there_is() {
    let text = fs::read_to_string(root().join("docs/src/abi.md")).unwrap();
    let (guest, others) = (guest_checks(), other_checks());
    let mut wrong = Vec::new();
    let mut count = 0;
    for [what, place, shown] in rows(&text) {
        count += 1;
        for module in quoted(place).filter(|name| !is_module(name)) {
            wrong.push(format!("{what}: no module {module}"));
        }
        for name in quoted(shown).filter(|name| !name.contains("::")) {
            if !guest.contains(name) && !others.contains(name) {
                wrong.push(format!("{what}: no check {name}"));
            }
        }
        if quoted(shown).next().is_none() && !shown.contains("session") {
            wrong.push(format!("{what}: no check"));
        }
    }
    assert!(count > 60, "{count} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
