//! `xm create`.

use std::io::Write;

use xend_api::{Client, CreateEvent, Created};

use super::{path, unpause};
use crate::cli::Create;
use crate::config_file::Named;
use crate::console::Console;
use crate::error::{Failure, Result};
use crate::progress::Progress;
use crate::sxp;

pub(crate) fn run(client: &Client, args: &Create) -> Result<()> {
    let named = Named::from_arguments(args)?;
    let mut out = std::io::stdout();
    if !args.quiet {
        writeln!(out, "Using config file \"{}\".", named.path.display())?;
    }
    let loaded = named.load()?;
    for warning in &loaded.warnings {
        // A warning that nobody can read changes nothing.
        let _ = writeln!(
            std::io::stderr(),
            "Warning: {}: {}",
            warning.location,
            warning.message
        );
    }
    if args.dry_run {
        return Ok(writeln!(out, "{}", sxp::config(&loaded.config))?);
    }
    let request = xend_api::Create {
        config: loaded.config,
        // With a console, the guest waits until somebody looks.
        paused: args.paused || args.console,
    };
    let created = start(client, &request, !args.quiet)?;
    let domid = created.domid.to_string();
    let console = if args.console {
        Some(open_console(client, &domid))
    } else {
        None
    };
    if args.console && !args.paused {
        unpause(client, &domid)?;
    }
    if !args.quiet {
        writeln!(out, "Started domain {}", created.name)?;
    }
    match console {
        Some(console) => console?.run(),
        None => Ok(()),
    }
}

/// Has xend start the domain, and shows how it goes.
fn start(client: &Client, request: &xend_api::Create, show: bool) -> Result<Created> {
    let mut progress = Progress::new(show);
    let mut events = client.post_events("/v1/domains", request)?;
    while let Some(event) = events.next_value()? {
        match event {
            CreateEvent::Phase(phase) => progress.show(&phase.to_string()),
            CreateEvent::Created(created) => return Ok(created),
            CreateEvent::Failed(failure) => return Err(Failure::Other(failure.error)),
        }
    }
    Err(Failure::Other(
        "xend went away before the domain was started; see /var/log/xen/xend.log".into(),
    ))
}

fn open_console(client: &Client, domid: &str) -> Result<Console> {
    let console: xend_api::Console = client.get(&path(domid, "/console"))?;
    Console::open(&console.tty)
}
