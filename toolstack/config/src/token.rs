//! Characters to tokens: Python's lexical rules, as far as plain assignments need them.

use crate::error::Fault;
use crate::source::Span;

/// Deepest nesting of brackets.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Name(String),
    Str(String),
    Int(i64),
    Float(f64),
    Open(char),
    Close(char),
    Comma,
    Equals,
    Plus,
    Minus,
    Percent,
    /// Any other operator or punctuation; the parser says that it is not plain.
    Other(char),
    /// End of a statement: a newline outside brackets, or a semicolon.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// Cuts `text` into tokens.
pub(crate) fn tokenize(text: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer {
        text,
        at: 0,
        brackets: Vec::new(),
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// The open brackets and where they are.
    brackets: Vec<(char, Span)>,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn push(&mut self, kind: Kind, start: usize) {
        let span = Span::new(start, self.at);
        self.tokens.push(Token { kind, span });
    }

    fn run(&mut self) -> Result<(), Fault> {
        // Editors of another system put a byte-order mark in front.
        if self.peek() == Some('\u{feff}') {
            self.bump();
        }
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                ' ' | '\t' | '\r' | '\u{c}' => {
                    self.bump();
                }
                '\n' | ';' => {
                    self.bump();
                    if self.brackets.is_empty() {
                        self.push(Kind::End, start);
                    }
                }
                '#' => self.skip_comment(),
                '\\' => self.continuation(start)?,
                '"' | '\'' => self.string(start, false)?,
                '0'..='9' => self.number(start)?,
                c if c == '_' || c.is_alphabetic() => self.word(start)?,
                _ => self.punctuation(c, start)?,
            }
        }
        if let Some((c, span)) = self.brackets.last() {
            return Err(Fault::new(
                *span,
                format!("the `{c}` that opens here is never closed"),
                "opened here",
            )
            .help("every bracket needs its partner; a list is written ['first', 'second']"));
        }
        let end = self.at;
        self.push(Kind::End, end);
        Ok(())
    }

    fn skip_comment(&mut self) {
        let len = self.rest().find('\n').unwrap_or(self.rest().len());
        self.at += len;
    }

    /// A backslash at the end of a line joins it with the next.
    fn continuation(&mut self, start: usize) -> Result<(), Fault> {
        self.bump();
        if self.peek() == Some('\r') {
            self.bump();
        }
        match self.peek() {
            Some('\n') => {
                self.bump();
                Ok(())
            }
            None => Ok(()),
            Some(_) => Err(Fault::new(
                Span::new(start, self.at),
                "a backslash outside a string is only allowed at the end of a line",
                "here",
            )
            .help("remove what follows it (spaces and comments too), or the backslash")),
        }
    }

    fn word(&mut self, start: usize) -> Result<(), Fault> {
        while self.peek().is_some_and(|c| c == '_' || c.is_alphanumeric()) {
            self.bump();
        }
        let word = self.text.get(start..self.at).unwrap_or("").to_owned();
        if matches!(self.peek(), Some('"' | '\'')) {
            return match word.as_str() {
                "r" | "R" => self.string(start, true),
                "u" | "U" => self.string(start, false),
                _ => Err(Fault::new(
                    Span::new(start, self.at),
                    format!("string prefix `{word}` is not supported"),
                    "this prefix",
                )
                .help("write the string without the prefix")),
            };
        }
        self.push(Kind::Name(word), start);
        Ok(())
    }

    fn punctuation(&mut self, c: char, start: usize) -> Result<(), Fault> {
        self.bump();
        let kind = match c {
            '[' | '(' | '{' => {
                if self.brackets.len() >= MAX_DEPTH {
                    let span = Span::new(start, self.at);
                    return Err(Fault::new(span, "brackets are nested too deep", "here")
                        .help(format!("at most {MAX_DEPTH} levels are allowed")));
                }
                self.brackets.push((c, Span::new(start, self.at)));
                Kind::Open(c)
            }
            ']' | ')' | '}' => {
                let wanted = match c {
                    ']' => '[',
                    ')' => '(',
                    _ => '{',
                };
                match self.brackets.pop() {
                    Some((open, _)) if open == wanted => Kind::Close(c),
                    _ => {
                        return Err(Fault::new(
                            Span::new(start, self.at),
                            format!("this `{c}` closes nothing"),
                            "no matching bracket",
                        )
                        .help(format!("remove it, or open it with `{wanted}` before")));
                    }
                }
            }
            ',' => Kind::Comma,
            '+' => Kind::Plus,
            '-' => Kind::Minus,
            '%' => Kind::Percent,
            '=' if self.peek() != Some('=') => Kind::Equals,
            other => Kind::Other(other),
        };
        self.push(kind, start);
        Ok(())
    }

    fn number(&mut self, start: usize) -> Result<(), Fault> {
        while self
            .peek()
            .is_some_and(|c| c == '_' || c == '.' || c.is_alphanumeric())
        {
            self.bump();
        }
        let written = self.text.get(start..self.at).unwrap_or("");
        let kind = parse_number(written).ok_or_else(|| {
            Fault::new(
                Span::new(start, self.at),
                format!("`{written}` is not a number that can be read"),
                "this number",
            )
            .help("numbers are decimal or 0x hexadecimal, up to 9223372036854775807; put anything else in quotes")
        })?;
        self.push(kind, start);
        Ok(())
    }

    fn string(&mut self, start: usize, raw: bool) -> Result<(), Fault> {
        let quote = self.bump().unwrap_or('"');
        let two: String = std::iter::repeat_n(quote, 2).collect();
        let triple = self.rest().starts_with(&two);
        if triple {
            self.at += two.len();
        }
        let mut value = String::new();
        loop {
            let unclosed = |at| {
                Fault::new(
                    Span::new(start, at),
                    "this string is never closed",
                    "opened here",
                )
                .help(format!("close it with {quote}"))
            };
            let Some(c) = self.peek() else {
                return Err(unclosed(self.at));
            };
            if c == '\n' && !triple {
                return Err(unclosed(self.at));
            }
            self.bump();
            if c == quote {
                if !triple {
                    break;
                }
                if self.rest().starts_with(&two) {
                    self.at += two.len();
                    break;
                }
                value.push(c);
            } else if c == '\\' {
                self.escape(&mut value, raw)?;
            } else {
                value.push(c);
            }
        }
        self.push(Kind::Str(value), start);
        Ok(())
    }

    /// What follows a backslash in a string. Unknown escapes stay as written, as in Python.
    fn escape(&mut self, value: &mut String, raw: bool) -> Result<(), Fault> {
        let start = self.at.saturating_sub(1);
        let Some(c) = self.bump() else {
            return Ok(()); // the caller reports the unclosed string
        };
        if raw {
            value.push('\\');
            value.push(c);
            return Ok(());
        }
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => value.push(c),
            'n' => value.push('\n'),
            't' => value.push('\t'),
            'r' => value.push('\r'),
            'a' => value.push('\u{7}'),
            'b' => value.push('\u{8}'),
            'f' => value.push('\u{c}'),
            'v' => value.push('\u{b}'),
            'x' | '0'..='7' => {
                let (digits, radix, max) = if c == 'x' {
                    (String::new(), 16, 2)
                } else {
                    (c.to_string(), 8, 3)
                };
                let code = self.digits(digits, radix, max);
                match code.and_then(char::from_u32) {
                    Some(decoded) => value.push(decoded),
                    None => {
                        return Err(Fault::new(
                            Span::new(start, self.at),
                            "this escape is no character",
                            "here",
                        )
                        .help("write \\xNN with two hexadecimal digits, or \\\\ for a backslash"));
                    }
                }
            }
            other => {
                value.push('\\');
                value.push(other);
            }
        }
        Ok(())
    }

    fn digits(&mut self, mut digits: String, radix: u32, max: usize) -> Option<u32> {
        while digits.len() < max {
            match self.peek() {
                Some(d) if d.is_digit(radix) => {
                    digits.push(d);
                    self.bump();
                }
                _ => break,
            }
        }
        if radix == 16 && digits.len() != max {
            return None;
        }
        u32::from_str_radix(&digits, radix).ok()
    }
}

fn parse_number(written: &str) -> Option<Kind> {
    let plain: String = written.chars().filter(|c| *c != '_').collect();
    let lower = plain.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).ok().map(Kind::Int);
        }
    }
    if plain.contains('.') || (lower.contains('e') && !lower.starts_with('e')) {
        let value: f64 = plain.parse().ok()?;
        return value.is_finite().then_some(Kind::Float(value));
    }
    // Python refuses or reinterprets numbers with leading zeros (file modes); so nothing is guessed here.
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|b| b != b'0') {
        return None;
    }
    plain.parse().ok().map(Kind::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokenize(text)
            .unwrap()
            .into_iter()
            .map(|t| t.kind)
            .collect()
    }

    #[test]
    fn newlines_inside_brackets_do_not_end_a_statement() {
        let ends = kinds("a = [\n1,\n# two\n2 ]\n")
            .iter()
            .filter(|k| **k == Kind::End)
            .count();
        assert_eq!(ends, 2); // the newline at the end, and the end
    }

    #[test]
    fn strings_of_all_forms() {
        for (text, value) in [
            ("'a b'", "a b"),
            ("\"it's\"", "it's"),
            ("'it\\'s'", "it's"),
            ("\"\"", ""),
            ("'''a\n'b'''", "a\n'b"),
            ("r'\\d'", "\\d"),
            ("'\\x41\\102\\q'", "AB\\q"),
            ("'one \\\ntwo'", "one two"),
        ] {
            assert_eq!(kinds(text)[0], Kind::Str(value.into()), "{text}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(kinds("0x10")[0], Kind::Int(16));
        assert_eq!(kinds("1_000")[0], Kind::Int(1000));
        assert_eq!(kinds("0.5")[0], Kind::Float(0.5));
        assert!(tokenize("0755").is_err());
        assert!(tokenize("99999999999999999999").is_err());
        assert!(tokenize("12MB").is_err());
    }

    #[test]
    fn faults_point_at_the_place() {
        for (text, start) in [("a='x\nb=1", 2), ("a=[1\n", 2), ("a=1]", 3), ("a=\\ 1", 2)] {
            assert_eq!(tokenize(text).unwrap_err().span.start, start, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(tokenize(&"[".repeat(100_000)).is_err());
    }
}
