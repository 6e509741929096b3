//! The figures of `cargo xtask bench`, and what they are to be at most.

use serde::Serialize;

/// The unit of the figures that the median is of.
pub(crate) const INSTRUCTIONS: &str = "instructions";
/// The unit of counts of expensive operations.
pub(crate) const OPERATIONS: &str = "operations";

/// The most that the median of the ratios of instructions may be.
const MEDIAN: f64 = 0.8;

/// A figure beside Xen's: one line of the table.
#[derive(Serialize)]
pub(crate) struct Row {
    /// Dotted.
    pub(crate) name: String,
    /// What it counts.
    pub(crate) unit: &'static str,
    /// Ours.
    pub(crate) ours: f64,
    /// That of Debian's Xen.
    pub(crate) xen: f64,
    /// The one by the other.
    pub(crate) ratio: f64,
}

/// A bound: of the ratio, or of our own figure.
enum Most {
    Ratio(f64),
    Ours(f64),
}

/// The bound of a figure.
fn aim(figure: &Row) -> Option<Most> {
    match figure.name.as_str() {
        // Seconds, with more than enough for a slower host than those that it was measured on.
        "boot.own_start_up" => Some(Most::Ours(0.3)),
        "boot.grub_bzimage" => Some(Most::Ratio(0.8)),
        // KiB.
        "memory.kept" => Some(Most::Ours(24.0 * 1024.0)),
        // Bytes.
        "domain.fixed_state" => Some(Most::Ours(20_000.0)),
        _ if [INSTRUCTIONS, OPERATIONS].contains(&figure.unit) => Some(Most::Ratio(1.0)),
        _ => None,
    }
}

/// The median of the ratios of instructions.
pub(crate) fn median(figures: &[Row]) -> Option<f64> {
    let counted = figures.iter().filter(|figure| figure.unit == INSTRUCTIONS);
    let mut ratios: Vec<f64> = counted.map(|figure| figure.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// A line for each aim that is missed.
pub(crate) fn missed(figures: &[Row]) -> Vec<String> {
    let mut missed: Vec<String> = figures
        .iter()
        .filter_map(|figure| {
            let (value, most, what) = match aim(figure)? {
                Most::Ratio(most) => (figure.ratio, most, "of Xen's"),
                Most::Ours(most) => (figure.ours, most, figure.unit),
            };
            let line = format!("{}: {value} {what}, aim at most {most}", figure.name);
            (value > most).then_some(line)
        })
        .collect();
    if let Some(median) = median(figures)
        && median > MEDIAN
    {
        missed.push(format!(
            "median of the ratios: {median}, aim at most {MEDIAN}"
        ));
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, unit: &'static str, ours: f64, ratio: f64) -> Row {
        Row {
            name: name.to_owned(),
            unit,
            ours,
            xen: ours / ratio,
            ratio,
        }
    }

    #[test]
    fn aims_that_are_met_are_not_named() {
        let figures = [
            figure("hypercall.empty", INSTRUCTIONS, 200.0, 0.7),
            figure("trap.int3", INSTRUCTIONS, 600.0, 1.0),
            figure("a.third", INSTRUCTIONS, 600.0, 0.8),
            figure("boot.elf", "seconds", 600.0, 1.5),
            figure("memory.kept", "KiB", 24_576.0, 0.6),
        ];
        assert_eq!(missed(&figures), [""; 0]);
    }

    #[test]
    fn each_missed_aim_has_its_line() {
        let figures = [
            figure("trap.int3", INSTRUCTIONS, 600.0, 1.001),
            figure("sched.ping_pong.locked", OPERATIONS, 70.0, 1.1),
            figure("memory.kept", "KiB", 24_577.0, 0.6),
            figure("domain.fixed_state", "bytes", 20_001.0, 0.1),
            figure("boot.own_start_up", "seconds", 0.31, 0.5),
            figure("boot.grub_bzimage", "seconds", 9.0, 0.81),
        ];
        let lines = missed(&figures);
        assert_eq!(lines.len(), 7, "{lines:#?}");
        assert_eq!(lines[2], "memory.kept: 24577 KiB, aim at most 24576");
        assert_eq!(lines[6], "median of the ratios: 1.001, aim at most 0.8");
    }
}
