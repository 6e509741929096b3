//! The rows to compare, and the C program that prints the headers' side of them.

use std::fmt::Write as _;

/// One figure: how C computes it and what this crate says.
pub(crate) struct Row {
    /// A C expression.
    pub(crate) expression: String,
    /// This crate's value, as 64 bits.
    pub(crate) value: u64,
    /// Bits that count: constants of narrow types are compared in their width.
    pub(crate) bits: u32,
}

/// All rows.
#[derive(Default)]
pub(crate) struct Table {
    /// In the order of the modules.
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn push(&mut self, expression: String, value: u64, size: usize) {
        let bits = u32::try_from(size * 8).expect("size of a primitive");
        self.rows.push(Row {
            expression,
            value,
            bits,
        });
    }

    /// A C program that prints one line for each row.
    pub(crate) fn program(&self) -> String {
        let mut text = String::from(include_str!("headers.c"));
        text.push_str("int main(void) {\n");
        for row in &self.rows {
            writeln!(
                text,
                "    printf(\"%llu\\n\", (unsigned long long)({}));",
                row.expression
            )
            .expect("write to a string");
        }
        text.push_str("    return 0;\n}\n");
        text
    }
}

/// Adds constants: `RUST_NAME = "C expression"`.
macro_rules! constants {
    ($table:ident, $module:ident; $($name:ident = $c:literal,)*) => {
        $($table.push($c.to_string(), $module::$name as u64, size_of_val(&$module::$name));)*
    };
}
pub(crate) use constants;

/// Adds a struct's size and the offsets of its fields: `field = "C path"`.
macro_rules! structs {
    ($table:ident, $module:ident::$name:ident, $c:literal; $($field:ident = $path:literal,)*) => {
        $table.push(format!("sizeof({})", $c), size_of::<$module::$name>() as u64, 8);
        $($table.push(
            format!("offsetof({}, {})", $c, $path),
            core::mem::offset_of!($module::$name, $field) as u64,
            8,
        );)*
    };
}
pub(crate) use structs;
