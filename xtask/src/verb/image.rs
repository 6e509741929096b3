//! `cargo xtask image`: a CD image to boot elsewhere, with options of one's own.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::hypervisor::Which;
use crate::packages::{self, Need};
use crate::setup::{self, Setup};

/// Options of `image`.
#[derive(Args)]
pub(crate) struct Options {
    /// Where to leave it.
    #[arg(long, short, value_name = "FILE", default_value = "oxen.iso")]
    output: PathBuf,
    /// The hypervisor on it.
    #[arg(long, value_enum, default_value_t)]
    hypervisor: Which,
    /// Further options of the hypervisor.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    hypervisor_args: String,
    /// Further options of dom0's kernel.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    dom0_args: String,
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(Need::Image)?;
    let dir = setup::run_dir()?;
    let image = setup::iso(
        &Setup {
            hypervisor_args: &options.hypervisor_args,
            dom0_args: &options.dom0_args,
            ..Setup::new(options.hypervisor)
        },
        dir.path(),
    )?;
    fs::copy(&image, &options.output)
        .with_context(|| format!("cannot write {}", options.output.display()))?;
    println!("{}", options.output.display());
    Ok(ExitCode::SUCCESS)
}
