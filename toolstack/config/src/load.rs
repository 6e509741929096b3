//! File and overrides to a configuration: the crate's front door.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use crate::domain::DomainConfig;
use crate::error::{ConfigError, Fault};
use crate::eval::evaluate;
use crate::overrides::Override;
use crate::schema;
use crate::source::{Source, Span};
use crate::value::{Spanned, Value};

/// A configuration and what should be said about the file it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The domain.
    pub config: DomainConfig,
    /// What does no harm but was probably not meant.
    pub warnings: Vec<Warning>,
}

/// Something that was probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// `FILE:LINE:COLUMN`.
    pub location: String,
    /// What it is.
    pub message: String,
}

/// Why a configuration could not be loaded.
type Result<T> = std::result::Result<T, Box<ConfigError>>;

/// Reads `source`, which came from `path`, under the command line's overrides.
///
/// Relative paths in it are relative to `directory`. A domain without a name is called like the file.
///
/// # Errors
/// The first fault, with its place.
pub fn load(
    source: &Source,
    path: &Path,
    directory: &Path,
    overrides: &[Override],
) -> Result<Loaded> {
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    load_text(source, name, directory, overrides)
}

/// [`load`] for text without a file: `default_name` names a domain that does not name itself.
///
/// # Errors
/// The first fault, with its place.
pub fn load_text(
    source: &Source,
    default_name: &str,
    directory: &Path,
    overrides: &[Override],
) -> Result<Loaded> {
    let mut table = Table::read(source, overrides)?;
    let config = schema::extract(&mut table, default_name, directory)
        .map_err(|fault| Box::new(table.error(fault)))?;
    config.check().map_err(|invalid| {
        let fault = table
            .fault(invalid.key, invalid.message, "this value")
            .help(invalid.help);
        Box::new(table.error(fault))
    })?;
    let warnings = table.leftovers()?;
    Ok(Loaded { config, warnings })
}

/// A fault and the source that it is in.
#[derive(Debug)]
pub(crate) struct TableFault {
    source: usize,
    fault: Fault,
}

impl TableFault {
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.fault = self.fault.help(help);
        self
    }
}

struct Entry {
    source: usize,
    name_span: Span,
    value: Spanned,
    taken: bool,
}

/// All variables with their places, from which the schema takes what it knows.
pub(crate) struct Table {
    /// The file, then one source for each override.
    sources: Vec<Source>,
    entries: HashMap<String, Entry>,
    /// The variables in the order of the file.
    order: Vec<String>,
    /// Variables that another one's value refers to.
    referred: HashSet<String>,
}

impl Table {
    fn read(source: &Source, overrides: &[Override]) -> Result<Self> {
        let mut table = Self {
            sources: vec![source.clone()],
            entries: HashMap::new(),
            order: Vec::new(),
            referred: HashSet::new(),
        };
        let mut known = HashMap::new();
        for item in overrides {
            let value = item.value()?;
            table.add_override(item, value);
        }
        for (name, entry) in &table.entries {
            known.insert(name.clone(), entry.value.value.clone());
        }
        let file = evaluate(&source.text, &known).map_err(|f| Box::new(f.in_source(source)))?;
        table.referred = file.referred;
        for variable in file.variables {
            let name = variable.name;
            if !table.entries.contains_key(&name) {
                table.order.push(name.clone());
                let entry = Entry {
                    source: 0,
                    name_span: variable.name_span,
                    value: variable.value,
                    taken: false,
                };
                table.entries.insert(name, entry);
            }
        }
        Ok(table)
    }

    /// A later override replaces an earlier one, except that lists grow.
    fn add_override(&mut self, item: &Override, mut value: Spanned) {
        let name = item.name();
        if schema::LISTS.contains(&name) {
            let more = match value.value {
                Value::List(items) => items,
                _ => vec![value.clone()],
            };
            let mut items = match self.entries.get_mut(name).map(|e| &mut e.value.value) {
                Some(Value::List(items)) => std::mem::take(items),
                _ => Vec::new(),
            };
            items.extend(more);
            value.value = Value::List(items);
        }
        let entry = Entry {
            source: self.sources.len(),
            name_span: Span::new(0, name.len()),
            value,
            taken: false,
        };
        self.sources.push(item.source());
        if self.entries.insert(name.to_owned(), entry).is_none() {
            self.order.push(name.to_owned());
        }
    }

    /// Whether a variable has a value other than None.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.entries
            .get(key)
            .is_some_and(|e| e.value.value != Value::None)
    }

    /// A variable's value; it counts as understood from now on.
    pub(crate) fn take(&mut self, key: &str) -> Option<Spanned> {
        let entry = self.entries.get_mut(key)?;
        entry.taken = true;
        Some(entry.value.clone())
    }

    /// A string; empty and None are unset.
    pub(crate) fn text(&mut self, key: &str) -> std::result::Result<Option<String>, TableFault> {
        let Some(item) = self.take(key) else {
            return Ok(None);
        };
        match item.value {
            Value::Str(s) if s.is_empty() => Ok(None),
            Value::Str(s) => Ok(Some(s)),
            Value::None | Value::Bool(false) => Ok(None),
            // `extra = 4` is a run level; `dhcp = True` is meant as on.
            Value::Int(n) => Ok(Some(n.to_string())),
            Value::Bool(true) => Ok(Some("on".into())),
            other => Err(self
                .fault(
                    key,
                    format!("`{key}` is {}; a string was expected", other.kind()),
                    "this value",
                )
                .help(format!("write {key} = \"text\""))),
        }
    }

    /// A number that is not negative, or a string that holds one.
    pub(crate) fn unsigned(&mut self, key: &str) -> std::result::Result<Option<u64>, TableFault> {
        let Some(item) = self.take(key) else {
            return Ok(None);
        };
        let number = match &item.value {
            Value::None => return Ok(None),
            Value::Str(s) if s.is_empty() => return Ok(None),
            Value::Int(n) => u64::try_from(*n).ok(),
            Value::Str(s) => s.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| {
            let shown = match &item.value {
                Value::Str(s) => format!("{s:?}"),
                Value::Int(n) => n.to_string(),
                other => other.kind().to_owned(),
            };
            self.fault(
                key,
                format!("`{key}` is {shown}; a whole number was expected"),
                "this value",
            )
            .help(format!(
                "write {key} = 64 (memory is in MiB, without a unit)"
            ))
        })
    }

    /// A string in a form that `T` knows.
    pub(crate) fn parsed<T: FromStr>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> std::result::Result<Option<T>, TableFault> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            self.fault(key, format!("`{key}` cannot be {text:?}"), "this value")
                .help(format!("write {expected}"))
        })
    }

    /// A fault at the value of `key`, or at the end of the file where it is not set.
    pub(crate) fn fault(
        &self,
        key: &str,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> TableFault {
        let (source, span) = match self.entries.get(key) {
            Some(entry) => (entry.source, entry.value.span),
            None => {
                let text = self.sources.first().map_or("", |s| s.text.trim_end());
                (0, Span::new(text.len(), text.len()))
            }
        };
        TableFault {
            source,
            fault: Fault::new(span, message, label),
        }
    }

    /// Puts a fault into the source where `key` was set.
    pub(crate) fn at(&self, key: &str, fault: Fault) -> TableFault {
        let source = self.entries.get(key).map_or(0, |e| e.source);
        TableFault { source, fault }
    }

    fn error(&self, fault: TableFault) -> ConfigError {
        let empty = Source::new("", "");
        let source = self.sources.get(fault.source).unwrap_or(&empty);
        fault.fault.in_source(source)
    }

    /// Refuses what is asked for and not there yet, and warns of what nobody understood.
    fn leftovers(&self) -> Result<Vec<Warning>> {
        let mut warnings = Vec::new();
        for name in &self.order {
            let Some(entry) = self.entries.get(name).filter(|e| !e.taken) else {
                continue;
            };
            // The manual writes some of these with hyphens.
            let key = name.replace('-', "_");
            if schema::NOT_YET.contains(&key.as_str()) {
                if !is_empty(&entry.value.value) {
                    return Err(Box::new(self.error(schema::not_yet(self, name))));
                }
            } else if !self.referred.contains(name) && !schema::KNOWN.contains(&name.as_str()) {
                warnings.push(self.unknown(name, entry));
            }
        }
        Ok(warnings)
    }

    fn unknown(&self, name: &str, entry: &Entry) -> Warning {
        let source = self.sources.get(entry.source);
        let location = source.map_or_else(String::new, |s| {
            format!("{}:{}", s.name, s.position(entry.name_span.start))
        });
        let near = schema::KNOWN
            .iter()
            .chain(&schema::NOT_YET)
            .find(|known| is_near(name, known))
            .map_or_else(String::new, |known| format!(" (did you mean `{known}`?)"));
        Warning {
            location,
            message: format!("unknown variable `{name}` is ignored{near}"),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::None | Value::Bool(false) | Value::Int(0) => true,
        Value::Str(s) => s.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

/// Whether one letter too many, too few or other makes the two words the same.
fn is_near(a: &str, b: &str) -> bool {
    let same_start = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (
        a.as_bytes().get(same_start..),
        b.as_bytes().get(same_start..),
    );
    let (Some(rest_a), Some(rest_b)) = (rest_a, rest_b) else {
        return false;
    };
    let after = |s: &[u8], n: usize| s.get(n..).map(<[u8]>::to_vec);
    (after(rest_a, 1).is_some() && after(rest_a, 1) == after(rest_b, 1))
        || after(rest_a, 1).as_deref() == Some(rest_b)
        || after(rest_b, 1).as_deref() == Some(rest_a)
}

#[cfg(test)]
mod tests;
