//! `cargo xtask conformance`: the test guest as dom0 makes each hypercall rightly, wrongly and at its limits.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use oxen_tests::guest;

use crate::hypervisor::Which;
use crate::packages::{self, Need};
use crate::setup;

/// Options of `conformance`.
#[derive(Args)]
pub(crate) struct Options {
    /// The hypervisor to boot.
    #[arg(long, value_enum, default_value_t)]
    hypervisor: Which,
    /// Virtual CPUs of the machine.
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: u32,
    /// Give up after so many seconds.
    #[arg(long, value_name = "S", default_value_t = 120)]
    timeout: u64,
    /// Only the checks whose names start so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Further options of the hypervisor.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    hypervisor_args: String,
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(Need::Boot)?;
    let dir = setup::run_dir()?;
    let mut args = "mode=conformance debug exit=reboot".to_owned();
    if !options.only.is_empty() {
        args = format!("{args} only={}", options.only);
    }
    let machine = setup::test_guest(
        options.hypervisor,
        &options.hypervisor_args,
        &args,
        options.smp,
        dir.path(),
    )?;
    let verdict = guest::run(
        &machine,
        &dir.path().join("serial.log"),
        Duration::from_secs(options.timeout),
        true,
    )?;
    println!(
        "{} passed, 0 failed, {} skipped",
        verdict.passed, verdict.skipped
    );
    Ok(ExitCode::SUCCESS)
}
