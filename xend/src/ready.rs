//! Telling whoever started xend that it answers requests now.

use std::io::Write;
use std::os::unix::net::UnixDatagram;

/// The line that the background process writes to its standard output.
pub(crate) const READY: &str = "ready";

/// Tells `xend start`, and lets go of its pipe: from now on, standard output is the debug log.
pub(crate) fn tell_parent() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{READY}")?;
    out.flush()?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(())
}

/// Tells `xend start` why there will be no daemon.
pub(crate) fn tell_failure(problem: &str) {
    // A pipe without a reader: then nobody wants to know.
    let _ = writeln!(std::io::stdout(), "{}", problem.replace('\n', " "));
}

/// Tells the service manager, if there is one (systemd's sd_notify protocol).
pub(crate) fn tell_service_manager() {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = UnixDatagram::unbound().and_then(|s| s.send_to(b"READY=1", &address));
    if let Err(e) = sent {
        tracing::warn!("cannot tell the service manager that xend is ready: {e}");
    }
}
