//! `xm help`.

use std::io::Write;

use clap::CommandFactory;

use crate::cli::{Cli, Help};
use crate::error::{Failure, Result};

/// The commands that people need first.
const COMMON: [&str; 9] = [
    "create", "list", "console", "info", "pause", "unpause", "shutdown", "reboot", "destroy",
];

pub(crate) fn run(args: &Help) -> Result<()> {
    let mut xm = Cli::command();
    xm.build();
    if let Some(name) = &args.command {
        let command = xm.find_subcommand_mut(name).ok_or_else(|| {
            Failure::Usage(format!(
                "xm has no command `{name}`; `xm help --long` lists all"
            ))
        })?;
        let help = command.render_long_help();
        return Ok(write!(std::io::stdout(), "{help}")?);
    }
    let mut out = String::from("Usage: xm COMMAND [switches] [arguments] [variables]\n\n");
    out.push_str(if args.long {
        "All commands:\n\n"
    } else {
        "The most common commands:\n\n"
    });
    for command in xm.get_subcommands() {
        if args.long || COMMON.contains(&command.get_name()) {
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            out.push_str(&format!("  {:<12} {about}\n", command.get_name()));
        }
    }
    if !args.long {
        out.push_str("\n`xm help --long` lists all commands.");
    }
    out.push_str(
        "\n`xm help COMMAND` explains one. A DOMAIN is a name or an id, as `xm list` shows them.\n",
    );
    Ok(std::io::stdout().write_all(out.as_bytes())?)
}
