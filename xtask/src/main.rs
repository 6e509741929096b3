//! `cargo xtask VERB`: the one door to building, running and testing Oxen.
//!
//! Each verb is a small file in `verb/`; what several verbs need lies beside it, one idea a file.
#![forbid(unsafe_code)]

mod bare;
mod cache;
mod elf32;
mod paths;
mod sh;
mod symbols;
mod toolchain;
mod verb;

use clap::{Parser, Subcommand};

/// Builds, runs and tests Oxen.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the hypervisor and the test guest, and leave them in target/dist.
    Build {
        /// Only these parts.
        parts: Vec<verb::build::Part>,
    },
}

fn main() -> std::process::ExitCode {
    let done = match Cli::parse().verb {
        Verb::Build { parts } => verb::build::run(&parts),
    };
    match done {
        Ok(status) => status,
        Err(err) => {
            eprintln!("error: {err:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
