//! The error that points into a file.

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use crate::source::{Source, Span};

/// What is wrong with a configuration, where, and what to do.
///
/// Its `Display` is one line, `FILE:LINE:COLUMN: message`; as a [`miette::Diagnostic`] it also
/// shows the line of the file and the hint.
#[derive(Debug, Clone, Error, Diagnostic)]
#[error("{location}: {message}")]
pub struct ConfigError {
    location: String,
    message: String,
    label: String,
    #[source_code]
    code: NamedSource<String>,
    #[label("{label}")]
    span: SourceSpan,
    #[help]
    help: Option<String>,
}

impl ConfigError {
    /// The message without the position.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `FILE:LINE:COLUMN`.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// What to do about it, if there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// A fault at a place in the source that is being read; the source is added by the caller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) label: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    /// A fault; `label` stands under the excerpt.
    pub(crate) fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            label: label.into(),
            help: None,
        }
    }

    /// Adds the hint.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The error for the user.
    pub(crate) fn in_source(self, source: &Source) -> ConfigError {
        let end = self.span.end.min(source.text.len());
        let start = self.span.start.min(end);
        ConfigError {
            location: format!("{}:{}", source.name, source.position(start)),
            message: self.message,
            label: self.label,
            code: NamedSource::new(&source.name, source.text.clone()),
            span: SourceSpan::from((start, end - start)),
            help: self.help,
        }
    }
}
