//! `variable=value` on the command line.

use crate::error::{ConfigError, Fault};
use crate::eval::evaluate_value;
use crate::source::{Source, Span};
use crate::value::{Spanned, Value};

/// One `variable=value` argument.
///
/// The value is taken literally, so no quotes are needed inside the shell's: `memory=64`,
/// `extra=console=hvc0`. A value that begins with a quote or a square bracket is read like one in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    name: String,
    text: String,
    value_at: usize,
}

/// Whether an argument has the form of an override rather than of a file name.
#[must_use]
pub fn is_override(argument: &str) -> bool {
    argument
        .split_once('=')
        .is_some_and(|(name, _)| is_variable(name))
}

fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

impl Override {
    /// Reads an argument; `None` if [`is_override`] says no.
    #[must_use]
    pub fn parse(argument: &str) -> Option<Self> {
        let (name, _) = argument.split_once('=')?;
        is_variable(name).then(|| Self {
            name: name.to_owned(),
            text: argument.to_owned(),
            value_at: name.len() + 1,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn source(&self) -> Source {
        Source::new("command line", self.text.clone())
    }

    /// The value, with its place in the argument.
    pub(crate) fn value(&self) -> Result<Spanned, Box<ConfigError>> {
        let text = self.text.get(self.value_at..).unwrap_or("");
        let span = Span::new(self.value_at, self.text.len());
        let value = if text.starts_with(['"', '\'', '[']) {
            evaluate_value(text)
                .map_err(|fault| {
                    let moved = Span::new(
                        fault.span.start + self.value_at,
                        fault.span.end + self.value_at,
                    );
                    Fault {
                        span: moved,
                        ..fault
                    }
                    .in_source(&self.source())
                })
                .map_err(Box::new)?
        } else {
            Value::Str(text.to_owned())
        };
        Ok(Spanned { value, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_overrides_from_files() {
        assert!(is_override("memory=64"));
        assert!(is_override("extra="));
        for file in ["demo", "./a=b", "a.b=c", "=x", "1a=2"] {
            assert!(!is_override(file), "{file}");
        }
    }

    #[test]
    fn values_are_literal_unless_quoted() {
        let value = |s| Override::parse(s).unwrap().value().unwrap().value;
        assert_eq!(value("extra=a b=c"), Value::Str("a b=c".into()));
        assert_eq!(value("name='x'"), Value::Str("x".into()));
        assert!(matches!(value("vif=['','']"), Value::List(v) if v.len() == 2));
        let e = Override::parse("vif=['").unwrap().value().unwrap_err();
        assert_eq!(e.location(), "command line:1:6");
    }
}
