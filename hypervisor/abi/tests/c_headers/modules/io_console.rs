//! What the C headers must say about `oxen_abi::io::console`.

use crate::table::{Table, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::io::console as abi;
    structs!(table, abi::ConsoleInterface, "struct xencons_interface";
        in_ = "in",
        out = "out",
        in_cons = "in_cons",
        in_prod = "in_prod",
        out_cons = "out_cons",
        out_prod = "out_prod",
    );
}
