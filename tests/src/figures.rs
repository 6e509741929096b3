//! What the bench guest measures: `BENCH name ticks` lines, and `BENCH end` behind the last.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::console::{Console, Lines};
use crate::qemu::Machine;
use crate::session::with_log;

/// Longest wait for the next figure.
const PATIENCE: Duration = Duration::from_secs(300);

/// A figure of one hypervisor: a dotted name, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// `hypercall.empty` and the like.
    pub name: String,
    /// In the unit that the name stands for.
    pub value: f64,
}

/// Boots `machine`, whose dom0 is the test guest in its bench mode, and takes its figures.
pub fn take(machine: &Machine, log: &Path) -> Result<Vec<Figure>> {
    finish(Console::start(machine, log, false, Lines::Dom0)?, log)
}

/// Lines that a hypervisor prints at the console.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// A pattern of its first one.
    pub first: &'static str,
    /// A pattern of the one with which it begins to build dom0.
    pub dom0: &'static str,
}

/// The same, and how long the hypervisor's own start-up takes.
pub fn take_with_start_up(
    machine: &Machine,
    log: &Path,
    lines: StartUp,
) -> Result<(Duration, Vec<Figure>)> {
    let mut console = Console::start(machine, log, false, Lines::All)?;
    let mut line = |pattern| {
        console
            .expect(pattern, PATIENCE)
            .map(|_| Instant::now())
            .map_err(|err| with_log(err, log))
    };
    let first = line(lines.first)?;
    let took = line(lines.dom0)?.duration_since(first);
    Ok((took, finish(console, log)?))
}

fn finish(mut console: Console, log: &Path) -> Result<Vec<Figure>> {
    console
        .expect("(?m)^BENCH end$", PATIENCE)
        .context("the bench does not come to its end")
        .map_err(|err| with_log(err, log))?;
    let figures = parse(&console.text()).map_err(|err| with_log(err, log))?;
    console.wait(Duration::from_secs(60))?;
    Ok(figures)
}

fn parse(text: &str) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for line in text.lines() {
        if line.starts_with("ERROR ") {
            bail!("the bench guest says: {line}");
        }
        let Some(rest) = line.strip_prefix("BENCH ") else {
            continue;
        };
        let mut words = rest.split(' ');
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        figures.push(Figure {
            name: name.to_owned(),
            value: value
                .parse()
                .with_context(|| format!("no number in `{line}`"))?,
        });
    }
    ensure!(!figures.is_empty(), "the bench guest measured nothing");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_figures() {
        let text = "boot\nBENCH hypercall.empty 278\nBENCH trap.int3 747 of which 9\nBENCH end\n";
        let figures = parse(text).expect("good lines");
        assert_eq!(figures.len(), 2);
        assert_eq!(figures[1].name, "trap.int3");
        assert!((figures[0].value - 278.0).abs() < f64::EPSILON);
        assert!(parse("BENCH end\n").is_err());
        assert!(parse("BENCH x y\n").is_err());
        assert!(parse("ERROR bench: EINVAL\nBENCH x 1\n").is_err());
    }
}
