//! Tokens to variables: a list of plain assignments, in order, each seeing those before it.

use std::collections::{HashMap, HashSet};

use crate::error::Fault;
use crate::source::Span;
use crate::token::{Kind, Token, tokenize};
use crate::value::{Spanned, Value};

/// How much memory a file's references to variables may copy in all, in bytes. Without a bound, a
/// few lines of `a = a + a` ask for more than there is.
const COPY_BUDGET: usize = 16 << 20;
/// Deepest nesting of lists in lists.
const MAX_DEPTH: usize = 64;

/// One variable: where its name stands and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) value: Spanned,
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Its variables in the order of their first assignment; the last value counts.
    pub(crate) variables: Vec<Variable>,
    /// The names that stand in other variables' values.
    pub(crate) referred: HashSet<String>,
}

/// Evaluates `text`. `known` gives variables from outside (the command line), which win over the
/// file's own.
pub(crate) fn evaluate(text: &str, known: &HashMap<String, Value>) -> Result<File, Fault> {
    if text.trim_start().starts_with('(') {
        let at = text.len() - text.trim_start().len();
        return Err(Fault::new(
            Span::new(at, at + 1),
            "this is a file in SXP form, which this version cannot read yet",
            "SXP starts here",
        )
        .help("write it as plain assignments, e.g. name = \"demo\""));
    }
    let tokens = tokenize(text)?;
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        known,
        file: File::default(),
        index: HashMap::new(),
        copied: 0,
    };
    while reader.at < tokens.len() {
        reader.statement()?;
    }
    Ok(reader.file)
}

/// Reads one value, as on the right of an assignment.
pub(crate) fn evaluate_value(text: &str) -> Result<Value, Fault> {
    let tokens = tokenize(text)?;
    let known = HashMap::new();
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        known: &known,
        file: File::default(),
        index: HashMap::new(),
        copied: 0,
    };
    let value = reader.expression()?;
    reader.end_of_statement()?;
    Ok(value.value)
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    known: &'a HashMap<String, Value>,
    file: File,
    index: HashMap<String, usize>,
    copied: usize,
}

/// Words that only a script has.
const KEYWORDS: [&str; 17] = [
    "if", "elif", "else", "for", "while", "def", "import", "from", "class", "try", "with",
    "return", "raise", "print", "exec", "del", "lambda",
];

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    /// Where the input stands, for messages.
    fn here(&self) -> Span {
        self.peek()
            .or(self.tokens.last())
            .map_or_else(Span::default, |t| t.span)
    }

    fn statement(&mut self) -> Result<(), Fault> {
        let Some(token) = self.next() else {
            return Ok(());
        };
        let name = match &token.kind {
            Kind::End => return Ok(()),
            Kind::Name(name) if KEYWORDS.contains(&name.as_str()) => {
                return Err(scripting(token.span, name));
            }
            Kind::Name(name) => name,
            _ => {
                return Err(Fault::new(
                    token.span,
                    "an assignment was expected here",
                    "not the name of a variable",
                )
                .help("each line has the form variable = value"));
            }
        };
        match self.next() {
            Some(Token {
                kind: Kind::Equals, ..
            }) => {}
            other => {
                let span = other.map_or(token.span, |t| t.span);
                let fault = match other.map(|t| &t.kind) {
                    Some(Kind::Open('(') | Kind::Other('.')) => scripting(span, name),
                    _ => Fault::new(span, format!("`=` is missing after `{name}`"), "here")
                        .help(format!("write {name} = value")),
                };
                return Err(fault);
            }
        }
        let value = self.expression()?;
        self.end_of_statement()?;
        self.assign(name, token.span, value);
        Ok(())
    }

    fn assign(&mut self, name: &str, name_span: Span, value: Spanned) {
        let variable = Variable {
            name: name.to_owned(),
            name_span,
            value,
        };
        match self.index.get(name) {
            Some(&at) => {
                if let Some(slot) = self.file.variables.get_mut(at) {
                    *slot = variable;
                }
            }
            None => {
                self.index
                    .insert(name.to_owned(), self.file.variables.len());
                self.file.variables.push(variable);
            }
        }
    }

    fn end_of_statement(&mut self) -> Result<(), Fault> {
        match self.next() {
            None
            | Some(Token {
                kind: Kind::End, ..
            }) => Ok(()),
            Some(token) => Err(unexpected(token)),
        }
    }

    /// Terms joined with `+`.
    fn expression(&mut self) -> Result<Spanned, Fault> {
        let mut value = self.term()?;
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Plus => {
                    self.at += 1;
                    let right = self.term()?;
                    value = Self::add(value, right)?;
                }
                Kind::Percent => {
                    return Err(Fault::new(
                        token.span,
                        "formatting with % is not supported yet by this version",
                        "this operator",
                    )
                    .help("write the finished string"));
                }
                _ => break,
            }
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<Spanned, Fault> {
        let Some(token) = self.next() else {
            return Err(missing_value(self.here()));
        };
        let span = token.span;
        let value = match &token.kind {
            Kind::Str(first) => return self.strings(first, span),
            Kind::Int(n) => Value::Int(*n),
            Kind::Float(x) => Value::Float(*x),
            Kind::Minus => return self.negative(span),
            Kind::Open('[') => return self.list(span, ']'),
            Kind::Open('(') => return self.list(span, ')'),
            Kind::Name(name) => match name.as_str() {
                "True" => Value::Bool(true),
                "False" => Value::Bool(false),
                "None" => Value::None,
                other => return self.variable(other, span),
            },
            Kind::End => return Err(missing_value(span)),
            _ => return Err(unexpected(token)),
        };
        Ok(Spanned { value, span })
    }

    /// Strings that stand side by side are one.
    fn strings(&mut self, first: &str, mut span: Span) -> Result<Spanned, Fault> {
        let mut text = first.to_owned();
        while let Some(Token {
            kind: Kind::Str(more),
            span: s,
        }) = self.peek()
        {
            self.at += 1;
            text.push_str(more);
            span = span.to(*s);
        }
        Ok(Spanned {
            value: Value::Str(text),
            span,
        })
    }

    fn negative(&mut self, start: Span) -> Result<Spanned, Fault> {
        let token = self.next();
        let value = match token.map(|t| &t.kind) {
            Some(Kind::Int(n)) => n.checked_neg().map(Value::Int),
            Some(Kind::Float(x)) => Some(Value::Float(-x)),
            _ => None,
        };
        match (value, token) {
            (Some(value), Some(token)) => Ok(Spanned {
                value,
                span: start.to(token.span),
            }),
            _ => Err(Fault::new(start, "a number was expected after `-`", "here")),
        }
    }

    fn list(&mut self, open: Span, close: char) -> Result<Spanned, Fault> {
        let mut items = Vec::new();
        let mut commas = 0usize;
        loop {
            match self.peek() {
                Some(Token {
                    kind: Kind::Close(c),
                    span,
                }) if *c == close => {
                    self.at += 1;
                    let span = open.to(*span);
                    // In round brackets, one value without a comma is that value.
                    if close == ')' && commas == 0 && items.len() == 1 {
                        let inner: Option<Spanned> = items.pop();
                        return inner.ok_or_else(|| missing_value(span));
                    }
                    let value = Value::List(items);
                    return Ok(Spanned { value, span });
                }
                Some(Token {
                    kind: Kind::Comma,
                    span,
                }) => {
                    if commas == items.len() {
                        return Err(missing_value(*span));
                    }
                    commas += 1;
                    self.at += 1;
                }
                Some(token) => {
                    if commas != items.len() {
                        return Err(Fault::new(
                            token.span,
                            "a comma is missing between two values",
                            "before this",
                        ));
                    }
                    let item = self.expression()?;
                    if depth(&item.value) >= MAX_DEPTH {
                        return Err(Fault::new(item.span, "lists are nested too deep", "here"));
                    }
                    items.push(item);
                }
                None => return Err(missing_value(open)),
            }
        }
    }

    fn variable(&mut self, name: &str, span: Span) -> Result<Spanned, Fault> {
        if matches!(
            self.peek().map(|t| &t.kind),
            Some(Kind::Open('(') | Kind::Other('.'))
        ) {
            return Err(scripting(span, name));
        }
        self.file.referred.insert(name.to_owned());
        let own = self
            .index
            .get(name)
            .and_then(|&at| self.file.variables.get(at));
        let value = self
            .known
            .get(name)
            .or(own.map(|v| &v.value.value))
            .ok_or_else(|| {
                Fault::new(
                    span,
                    format!("`{name}` has no value here"),
                    "not assigned before this line",
                )
                .help(format!(
                    "if it is meant as text, put it in quotes: \"{name}\"; \
                     otherwise assign it first, in the file or on the command line as {name}=value"
                ))
            })?;
        self.copied = self.copied.saturating_add(size(value));
        if self.copied > COPY_BUDGET {
            return Err(Fault::new(
                span,
                "the values of this file grow too large",
                "copied here",
            )
            .help("variables that are put together again and again double each time"));
        }
        Ok(Spanned {
            value: value.clone(),
            span,
        })
    }

    fn add(left: Spanned, right: Spanned) -> Result<Spanned, Fault> {
        let span = left.span.to(right.span);
        let value = match (left.value, right.value) {
            (Value::Str(mut a), Value::Str(b)) => {
                a.push_str(&b);
                Value::Str(a)
            }
            (Value::List(mut a), Value::List(b)) => {
                a.extend(b);
                Value::List(a)
            }
            (Value::Int(a), Value::Int(b)) => {
                a.checked_add(b).map(Value::Int).ok_or_else(|| {
                    Fault::new(span, "the sum is too large for a 64-bit number", "here")
                })?
            }
            (a, b) => {
                return Err(Fault::new(
                    span,
                    format!("{} and {} cannot be added", a.kind(), b.kind()),
                    "this sum",
                )
                .help("both sides of + must be strings, numbers or lists"));
            }
        };
        Ok(Spanned { value, span })
    }
}

/// The memory that a copy of `value` takes, roughly, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::Str(s) => s.len().saturating_add(64),
        Value::List(items) => items
            .iter()
            .fold(64, |sum, i| size(&i.value).saturating_add(sum)),
        _ => 64,
    }
}

/// How many lists deep `value` is; bounded, because no list is made deeper than [`MAX_DEPTH`].
fn depth(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(|i| depth(&i.value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn scripting(span: Span, what: &str) -> Fault {
    Fault::new(
        span,
        format!("`{what}`: this file scripts, and this version reads plain assignments only"),
        "Python code",
    )
    .help("write the values out: variable = value, with strings, numbers and lists")
}

fn missing_value(span: Span) -> Fault {
    Fault::new(span, "a value is missing here", "expected a value")
        .help("a value is a \"string\", a number or a list ['first', 'second']")
}

fn unexpected(token: &Token) -> Fault {
    let (what, help) = match &token.kind {
        Kind::Equals => ("a second `=` in one line", "one assignment a line"),
        Kind::Name(_) => (
            "a word where none can stand",
            "text goes in quotes; each assignment goes on a line of its own",
        ),
        Kind::Open('{') => (
            "a dictionary, which no configuration variable takes",
            "use a list or a string",
        ),
        Kind::Other(_) | Kind::Percent | Kind::Minus => (
            "an operator, and this version reads plain assignments only",
            "write the finished value",
        ),
        _ => (
            "something that does not belong here",
            "each line has the form variable = value",
        ),
    };
    Fault::new(token.span, format!("this is {what}"), "here").help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str, name: &str) -> Value {
        evaluate(text, &HashMap::new())
            .unwrap()
            .variables
            .into_iter()
            .find(|v| v.name == name)
            .unwrap()
            .value
            .value
    }

    fn fails(text: &str) -> Fault {
        evaluate(text, &HashMap::new()).unwrap_err()
    }

    #[test]
    fn plain_assignments() {
        let text = "# a guest\nname = 'demo'  # its name\nmemory=64\nvif = [ '', \n 'bridge=xen-br0', ]\n\
                    extra = \"console=hvc0\" + ' ' + 'ro'\nlong = 'a' \\\n 'b'\n";
        assert_eq!(get(text, "name"), Value::Str("demo".into()));
        assert_eq!(get(text, "memory"), Value::Int(64));
        assert_eq!(get(text, "extra"), Value::Str("console=hvc0 ro".into()));
        assert_eq!(get(text, "long"), Value::Str("ab".into()));
        assert!(matches!(get(text, "vif"), Value::List(v) if v.len() == 2));
    }

    #[test]
    fn variables_are_seen_by_later_lines() {
        assert_eq!(get("n='x'\nname=n+'1'\n", "name"), Value::Str("x1".into()));
        let known = HashMap::from([("vmid".to_owned(), Value::Str("7".into()))]);
        let out = evaluate("name = 'VM' + vmid", &known).unwrap();
        assert_eq!(out.variables[0].value.value, Value::Str("VM7".into()));
    }

    #[test]
    fn the_last_assignment_counts() {
        assert_eq!(get("a=1\nb=2\na=3", "a"), Value::Int(3));
    }

    #[test]
    fn round_brackets_group_or_list() {
        assert_eq!(get("a=('x')", "a"), Value::Str("x".into()));
        assert!(matches!(get("a=('x',)", "a"), Value::List(v) if v.len() == 1));
        assert!(matches!(get("a=()", "a"), Value::List(v) if v.is_empty()));
    }

    #[test]
    fn faults_say_what_and_where() {
        for (text, word, start) in [
            ("memory 64", "`=` is missing", 7),
            ("name = demo", "has no value", 7),
            ("def f():\n", "scripts", 0),
            ("disk=['phy:%d' % 1]", "%", 15),
            ("a = [1 2]", "comma", 7),
            ("a = [,]", "value is missing", 5),
            ("a =", "value is missing", 3),
            ("a = 1 b = 2", "word", 6),
            ("a = {'x': 1}", "dictionary", 4),
            ("a = 'x' + 1", "cannot be added", 4),
            ("  (vm (name x))", "SXP", 2),
            ("import os", "scripts", 0),
        ] {
            let fault = fails(text);
            assert!(fault.message.contains(word), "{text}: {}", fault.message);
            assert_eq!(fault.span.start, start, "{text}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        for (first, again) in [("a='0123456789'\n", "a=a+a\n"), ("a=[1]\n", "a=a+a\n")] {
            let text = first.to_owned() + &again.repeat(60);
            assert!(fails(&text).message.contains("too large"));
        }
        let text = "a=[]\n".to_owned() + &"a=[a]\n".repeat(100_000);
        assert!(fails(&text).message.contains("too deep"));
    }
}
