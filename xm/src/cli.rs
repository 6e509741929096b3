//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Manages domains.
#[derive(Parser)]
#[command(
    name = "xm",
    version,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    after_help = "`xm help` lists the most common commands, `xm help --long` all of them, `xm help COMMAND` explains one.\n\
                  A DOMAIN is a name or an id, as `xm list` shows them."
)]
pub(crate) struct Cli {
    /// xend's socket, where it is not /run/xend/xend.sock.
    #[arg(long, hide = true)]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a domain from a configuration file.
    Create(Create),
    /// List domains, or those that are named.
    List(List),
    /// Attach to a domain's console; Ctrl-] leaves it.
    #[command(
        after_help = "Without a terminal, what comes on standard input is typed on the console. The console \
                            ends with the domain, or at a Ctrl-] in the input, not at the input's end."
    )]
    Console {
        /// The domain.
        domain: String,
    },
    /// Show the host and the hypervisor.
    Info,
    /// Show the hypervisor's messages.
    Dmesg {
        /// Clear them afterwards.
        #[arg(short, long)]
        clear: bool,
    },
    /// Stop domains from running until they are unpaused.
    Pause {
        /// The domains.
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<String>,
    },
    /// Let paused domains run on.
    Unpause {
        /// The domains.
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<String>,
    },
    /// Ask guests to shut down.
    Shutdown(Shutdown),
    /// Ask guests to reboot.
    Reboot(Reboot),
    /// End domains at once, as if their power were cut.
    Destroy {
        /// The domains.
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<String>,
    },
    /// Print the id of a domain.
    Domid {
        /// The domain, usually by name.
        domain: String,
    },
    /// Print the name of a domain.
    Domname {
        /// The domain, usually by id.
        domain: String,
    },
    /// Print how long domains have been running.
    Uptime(Uptime),
    /// List vCPUs and where they run.
    #[command(name = "vcpu-list")]
    VcpuList {
        /// Only of these domains.
        #[arg(value_name = "DOMAIN")]
        domains: Vec<String>,
    },
    /// List commands, or explain one.
    Help(Help),
}

#[derive(Args)]
#[command(after_help = "\
FILE is looked for in the current folder and in /etc/xen; without one, /etc/xen/xmdefconfig is used.
VARIABLE=VALUE overrides what the file says and is visible in it:
    xm create -c demo memory=256 extra='console=hvc0 quiet'")]
pub(crate) struct Create {
    /// Attach to the domain's console at once.
    #[arg(short = 'c', long = "console_autoconnect")]
    pub(crate) console: bool,
    /// Leave the domain paused.
    #[arg(short, long)]
    pub(crate) paused: bool,
    /// Print the configuration that comes out, and start nothing.
    #[arg(short = 'n', long = "dryrun", visible_alias = "dry-run")]
    pub(crate) dry_run: bool,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The configuration file; the same as naming it without -f.
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// The configuration file, then overrides.
    #[arg(value_name = "FILE | VARIABLE=VALUE")]
    pub(crate) arguments: Vec<String>,
}

#[derive(Args)]
pub(crate) struct List {
    /// In detail, as SXP.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// In detail, as JSON.
    #[arg(long, conflicts_with = "long")]
    pub(crate) json: bool,
    /// Only these domains.
    #[arg(value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
}

/// Which domains to shut down or reboot.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// All domains but Domain-0.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The domains.
    #[arg(value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
}

#[derive(Args)]
#[command(
    after_help = "What happens after the shutdown is up to on_poweroff and on_reboot in the domain's configuration."
)]
pub(crate) struct Shutdown {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Wait until the domains have ended.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// Reboot instead.
    #[arg(short = 'R', long, conflicts_with = "halt")]
    pub(crate) reboot: bool,
    /// Halt instead of powering off.
    #[arg(short = 'H', long)]
    pub(crate) halt: bool,
}

#[derive(Args)]
pub(crate) struct Reboot {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Wait until the domains have ended, to be started again.
    #[arg(short, long)]
    pub(crate) wait: bool,
}

#[derive(Args)]
pub(crate) struct Uptime {
    /// As seconds, without a header.
    #[arg(short, long)]
    pub(crate) short: bool,
    /// Only these domains.
    #[arg(value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Help {
    /// List all commands.
    #[arg(short, long, conflicts_with = "command")]
    pub(crate) long: bool,
    /// Explain this one.
    pub(crate) command: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usual_command_lines() {
        for line in [
            "xm create -c demo vmid=1",
            "xm create -f /etc/xen/demo -n",
            "xm create",
            "xm list --json",
            "xm list -l demo",
            "xm shutdown -w -a",
            "xm shutdown -R demo",
            "xm dmesg -c",
            "xm help --long",
            "xm help create",
            "xm vcpu-list 0",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "xm",
            "xm destroy",
            "xm shutdown",
            "xm shutdown -a demo",
            "xm dance",
            "xm list -l --json",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
