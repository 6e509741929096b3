//! The Oxen daemon: it starts domains, looks after them, and serves `xm` over a Unix socket.
//!
//! It keeps no truth of its own. What runs is in the hypervisor and in xenstore, what running domains
//! were made from is under /run/xend; a xend that was killed and started again finds all of it there.
#![forbid(unsafe_code)]

mod api;
mod cli;
mod control;
mod daemon;
mod error;
mod host;
mod log;
mod manager;
mod paths;
mod pid_file;
mod ready;
mod services;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match control::run(&cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("xend: {e:#}");
            ExitCode::FAILURE
        }
    }
}
