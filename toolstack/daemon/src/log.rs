//! Where a daemon's own messages go.

use std::io;
use std::path::Path;

use anyhow::Result;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Sends the messages to the end of `file`, or to standard error without one. The environment variable `variable`
/// says which: `debug`, or `TARGET=LEVEL` with commas between; where it is not set or makes no sense, messages of
/// level `info` and worse.
///
/// # Errors
/// The file or its directory cannot be made.
pub fn start(variable: &str, file: Option<&Path>) -> Result<()> {
    let chosen = std::env::var(variable).ok();
    let filter = chosen
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_target(false);
    if let Some(file) = file {
        let file = crate::append_to(file)?;
        registry
            .with(lines.with_ansi(false).with_writer(file))
            .init();
    } else {
        registry.with(lines.with_writer(io::stderr)).init();
    }
    Ok(())
}
