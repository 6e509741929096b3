//! The command line.

use clap::{Parser, ValueEnum};

/// Starts, stops and asks after xend, the daemon that manages domains.
#[derive(Parser)]
#[command(
    name = "xend",
    version,
    arg_required_else_help = true,
    after_help = "xend needs root. It writes /var/log/xen/xend.log and xend-debug.log, and listens at /run/xend/xend.sock.\n\
                  Running domains are not affected when xend stops or restarts."
)]
pub(crate) struct Cli {
    /// What to do.
    #[arg(value_enum, required_unless_present = "foreground")]
    pub(crate) action: Option<Action>,
    /// Run as this process, for a service manager; logs go to standard error as well.
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    /// Start xend unless it is running.
    Start,
    /// Stop xend if it is running. Domains run on.
    Stop,
    /// Stop xend if it is running, and start it.
    Restart,
    /// Say whether xend is running: exit status 0 if it is, 3 if not.
    Status,
    /// Start xend with a very detailed log.
    #[value(name = "trace_start")]
    TraceStart,
    /// The background process itself; `start` runs it.
    #[value(hide = true)]
    Daemon,
    /// The same with a very detailed log.
    #[value(hide = true)]
    DaemonTrace,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["xend", "trace_start"]).is_ok());
        assert!(Cli::try_parse_from(["xend", "--foreground"]).is_ok());
        assert!(Cli::try_parse_from(["xend", "dance"]).is_err());
    }
}
