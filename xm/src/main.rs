//! The Oxen command line: `xm` asks xend, over its Unix socket, for what the user wants.
//!
//! Exit status: 0 when it was done, 1 when not (a message says why), 2 for a wrong command line.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod config_file;
mod console;
mod error;
mod help;
mod progress;
mod sxp;
mod table;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use xend_api::{Client, SOCKET};

use cli::{Cli, Command};
use error::Result;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let client = Client::new(cli.socket.as_deref().unwrap_or(Path::new(SOCKET)));
    match run(&client, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(client: &Client, command: Command) -> Result<()> {
    match command {
        Command::Create(args) => commands::create::run(client, &args),
        Command::List(args) => commands::list::run(client, &args),
        Command::Console { domain } => commands::console(client, &domain),
        Command::Info => commands::info::run(client),
        Command::Dmesg { clear } => commands::dmesg(client, clear),
        Command::Pause { domains } => commands::each(&domains, |d| commands::pause(client, d)),
        Command::Unpause { domains } => commands::each(&domains, |d| commands::unpause(client, d)),
        Command::Destroy { domains } => commands::each(&domains, |d| commands::destroy(client, d)),
        Command::Shutdown(args) => commands::shutdown::run(client, &args),
        Command::Reboot(args) => commands::shutdown::reboot(client, &args),
        Command::Domid { domain } => commands::domid(client, &domain),
        Command::Domname { domain } => commands::domname(client, &domain),
        Command::Uptime(args) => commands::uptime::run(client, &args),
        Command::VcpuList { domains } => commands::vcpu_list::run(client, &domains),
        Command::Help(args) => help::run(&args),
    }
}
