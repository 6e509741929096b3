//! `cargo xtask VERB`: the one door to building, running and testing Oxen.
//!
//! Each verb is a small file in `verb/`; what several verbs need lies beside it, one idea a file.
#![forbid(unsafe_code)]

mod aims;
mod apt;
mod bare;
mod busybox;
mod cache;
mod cpio;
mod debian_tools;
mod debs;
mod demo;
mod dom0;
mod elf32;
mod hypervisor;
mod iso;
mod kernel;
mod packages;
mod paths;
mod policy;
mod profile;
mod setup;
mod sh;
mod symbols;
mod toolchain;
mod user_space;
mod userland;
mod verb;

use clap::{Parser, Subcommand};

/// Builds, runs and tests Oxen.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Build hypervisor and test guest without link-time optimisation: seconds after an edit, but half as fast.
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Build everything that boots and leave it in target/dist.
    Build {
        /// Only these parts.
        parts: Vec<verb::build::Part>,
    },
    /// Build everything and boot it in QEMU, with the serial console on the terminal.
    Run(verb::run::Options),
    /// Make a CD image with options of your own.
    Image(verb::image::Options),
    /// Boot the test guest as dom0, which tries each hypercall.
    Conformance(verb::conformance::Options),
    /// Measure Oxen against Debian's Xen with the same guest and print the ratios.
    Bench(verb::bench::Options),
    /// Check and test everything; what CI runs.
    Test(verb::test::Options),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    if cli.quick {
        profile::choose_quick();
    }
    let done = match cli.verb {
        Verb::Build { parts } => verb::build::run(&parts),
        Verb::Run(options) => verb::run::run(&options),
        Verb::Image(options) => verb::image::run(&options),
        Verb::Conformance(options) => verb::conformance::run(&options),
        Verb::Bench(options) => verb::bench::run(&options),
        Verb::Test(options) => verb::test::run(&options),
    };
    match done {
        Ok(status) => status,
        Err(err) => {
            eprintln!("error: {err:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
