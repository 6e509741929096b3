//! `xm shutdown` and `xm reboot`.

use std::io::Write;
use std::thread;

use xend_api::{Client, Domain, Ended, Error, Shutdown, ShutdownKind};

use super::list::wanted;
use super::path;
use crate::cli::{self, Which};
use crate::error::{Failure, Result, say};

pub(crate) fn run(client: &Client, args: &cli::Shutdown) -> Result<()> {
    let kind = match (args.reboot, args.halt) {
        (true, _) => ShutdownKind::Reboot,
        (_, true) => ShutdownKind::Halt,
        _ => ShutdownKind::Poweroff,
    };
    all(client, &args.which, kind, args.wait)
}

pub(crate) fn reboot(client: &Client, args: &cli::Reboot) -> Result<()> {
    all(client, &args.which, ShutdownKind::Reboot, args.wait)
}

/// All at once: guests need their time, and not one after the other.
fn all(client: &Client, which: &Which, kind: ShutdownKind, wait: bool) -> Result<()> {
    let mut domains = wanted(client, &which.domains)?;
    if which.all {
        domains.retain(|d| d.domid != 0);
    }
    if let [only] = domains.as_slice() {
        return one(client, only, kind, wait);
    }
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = domains
            .iter()
            .map(|d| scope.spawn(move || one(client, d, kind, wait)))
            .collect();
        let join =
            |t: thread::ScopedJoinHandle<'_, Result<()>>| t.join().unwrap_or(Err(Failure::Some));
        threads.into_iter().map(join).collect()
    });
    let mut failed = false;
    for error in results.into_iter().filter_map(Result::err) {
        say(&error.to_string());
        failed = true;
    }
    if failed { Err(Failure::Some) } else { Ok(()) }
}

/// By id from here on: the name may soon be that of the domain's successor.
fn one(client: &Client, domain: &Domain, kind: ShutdownKind, wait: bool) -> Result<()> {
    let id = domain.domid.to_string();
    client
        .post_json(&path(&id, "/shutdown"), &Shutdown { kind })
        .map_err(|e| named(e, &id, &domain.name))?;
    if !wait {
        return Ok(());
    }
    let ended = match client.get::<Ended>(&path(&id, "/wait")) {
        // Gone before it could be waited for.
        Err(Error::Refused { status: 404, .. }) => Ended { preserved: false },
        other => other?,
    };
    let kept = if ended.preserved { ", and is kept" } else { "" };
    Ok(writeln!(
        std::io::stdout(),
        "Domain {} terminated{kept}",
        domain.name
    )?)
}

/// xend's sentences name the domain as it was asked for; people know it by its name.
fn named(error: Error, id: &str, name: &str) -> Error {
    match error {
        Error::Refused { status, error } => Error::Refused {
            status,
            error: error
                .replace(&format!("'{id}'"), &format!("'{name}'"))
                .replace(&format!("destroy {id}`"), &format!("destroy {name}`")),
        },
        other => other,
    }
}
