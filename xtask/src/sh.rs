//! Running other programs, with errors that name the command and what it printed.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The command line as a person would type it, for messages.
pub(crate) fn line(cmd: &Command) -> String {
    std::iter::once(cmd.get_program())
        .chain(cmd.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs `cmd` with its output on the terminal; an error if it fails.
pub(crate) fn run(cmd: &mut Command) -> Result<()> {
    let status = cmd
        .status()
        .with_context(|| format!("cannot start `{}`", line(cmd)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(cmd));
    }
    Ok(())
}

/// Runs `cmd` and returns what it wrote to standard output; an error with its messages if it fails.
pub(crate) fn bytes(cmd: &mut Command) -> Result<Vec<u8>> {
    let out = cmd
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(cmd)))?;
    if !out.status.success() {
        bail!(
            "`{}` failed: {}\n{}{}",
            line(cmd),
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(out.stdout)
}

/// As [`bytes`], for text.
pub(crate) fn output(cmd: &mut Command) -> Result<String> {
    let text = bytes(cmd)?;
    String::from_utf8(text).with_context(|| format!("`{}` printed no UTF-8", line(cmd)))
}

/// Runs `cmd` silently; what it printed is in the error if it fails.
pub(crate) fn quiet(cmd: &mut Command) -> Result<()> {
    bytes(cmd).map(drop)
}
