//! Where xend's files are.

/// The log of what xend does.
pub(crate) const LOG: &str = "/var/log/xen/xend.log";
/// Standard error of the daemon: what the log does not have.
pub(crate) const DEBUG_LOG: &str = "/var/log/xen/xend-debug.log";
/// The folder of both, and of the daemons that xend starts.
pub(crate) const LOG_DIR: &str = "/var/log/xen";
/// xend's folder for what lasts as long as the host runs.
pub(crate) const RUN_DIR: &str = "/run/xend";
/// Process id of the daemon, locked while it runs.
pub(crate) const PID_FILE: &str = "/run/xend/xend.pid";
/// What running domains were made from.
pub(crate) const DOMAINS: &str = "/run/xend/domains";
