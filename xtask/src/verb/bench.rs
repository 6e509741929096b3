//! `cargo xtask bench`: the same guest on ours and on Debian's Xen, and the ratio of the two.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use oxen_tests::figures::{self, Figure};
use oxen_tests::qemu::Clock;
use serde::Serialize;

use crate::hypervisor::Which;
use crate::packages::{self, Need};
use crate::{paths, setup};

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Also write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum What {
    /// The hypervisor: instructions of its calls.
    #[default]
    Hypervisor,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    name: String,
    unit: &'static str,
    ours: f64,
    xen: f64,
    ratio: f64,
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(Need::Boot)?;
    let rows = match options.what {
        What::Hypervisor => instructions()?,
    };
    print(&rows);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&rows)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What each call costs, the emulator counting instructions as time.
fn instructions() -> Result<Vec<Row>> {
    let ours = counted(Which::Oxen)?;
    let xen = counted(Which::DebianXen)?;
    Ok(rows("instructions", &ours, &xen))
}

fn counted(which: Which) -> Result<Vec<Figure>> {
    let dir = setup::run_dir()?;
    let mut machine = setup::test_guest(which, "", "mode=bench exit=reboot", 1, dir.path())?;
    machine.clock = Clock::Instructions;
    let logs = paths::target().join("logs");
    fs::create_dir_all(&logs)?;
    let name = match which {
        Which::Oxen => "bench-on-oxen.log",
        Which::DebianXen => "bench-on-xen.log",
    };
    figures::take(&machine, &logs.join(name))
}

/// Those that both have.
fn rows(unit: &'static str, ours: &[Figure], xen: &[Figure]) -> Vec<Row> {
    ours.iter()
        .filter_map(|figure| {
            let other = xen.iter().find(|other| other.name == figure.name)?;
            Some(Row {
                name: figure.name.clone(),
                unit,
                ours: figure.value,
                xen: other.value,
                ratio: (figure.value / other.value * 1000.0).round() / 1000.0,
            })
        })
        .collect()
}

fn print(rows: &[Row]) {
    println!(
        "{:32} {:>14} {:>14} {:>7}  unit",
        "name", "ours", "xen", "ratio"
    );
    for row in rows {
        println!(
            "{:32} {:>14} {:>14} {:>7.3}  {}",
            row.name, row.ours, row.xen, row.ratio, row.unit
        );
    }
    let mut ratios: Vec<f64> = rows.iter().map(|row| row.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!("median ratio {median:.3}");
    }
}
