//! Values that variables hold.

use crate::source::Span;

/// A value of Python's kinds, as far as configuration files use them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Str(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    None,
    List(Vec<Spanned>),
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spanned {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

impl Value {
    /// What a message calls a value of this kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Str(_) => "a string",
            Self::Int(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "True or False",
            Self::None => "None",
            Self::List(_) => "a list",
        }
    }
}
