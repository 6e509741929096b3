//! Why a command failed, and how that is said.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use domain_config::ConfigError;
use miette::{GraphicalReportHandler, GraphicalTheme};

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// xend said no, or did not answer.
    #[error(transparent)]
    Xend(#[from] xend_api::Error),
    /// A fault in a configuration file.
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    /// Standard output or the console.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// A command line that clap cannot tell is wrong.
    #[error("{0}")]
    Usage(String),
    /// Some of several domains failed; it has been said which.
    #[error("")]
    Some,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Says on standard error what is wrong, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // Whoever read our output has seen enough.
            Self::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Some => {}
            Self::Config(e) => {
                say(&self.to_string());
                let _ = std::io::stderr().write_all(excerpt(e).as_bytes());
            }
            _ => say(&self.to_string()),
        }
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Prints an error.
pub(crate) fn say(message: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "Error: {message}");
}

/// The line of the file, with the fault marked and the hint.
fn excerpt(error: &ConfigError) -> String {
    let theme = if std::io::stderr().is_terminal() && speaks_utf8() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::none()
    };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
    // A renderer that only fails where the text cannot be written, which a string can.
    let _ = handler.render_report(&mut text, error);
    // What comes before the place repeats the message.
    let place = format!("[{}]", error.location());
    let lines = text.lines().skip_while(|line| !line.contains(&place));
    lines.map(|line| format!("{line}\n")).collect()
}

fn speaks_utf8() -> bool {
    let first_set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    first_set.is_some_and(|v| v.to_ascii_uppercase().replace('-', "").contains("UTF8"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use domain_config::source::Source;

    use super::*;

    #[test]
    fn the_excerpt_shows_place_line_and_hint_once() {
        let source = Source::new("/etc/xen/demo", "kernel = '/k'\nmemory = 'lots'\n");
        let here = Path::new("/");
        let error = domain_config::load_text(&source, "demo", here, &[]).unwrap_err();
        let shown = excerpt(&error);
        assert!(shown.contains("[/etc/xen/demo:2:10]"), "{shown}");
        assert!(shown.contains("memory = 'lots'"), "{shown}");
        assert!(shown.contains("help: write memory = 64"), "{shown}");
        assert!(!shown.contains(error.message()), "{shown}");
    }
}
