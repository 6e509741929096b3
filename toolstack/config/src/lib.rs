//! Domain configuration files: the flat files in Python's syntax that `xm create` reads.
//!
//! A file is a list of assignments. [`load`] reads one, applies the command line's
//! `variable=value` overrides, and gives a typed [`DomainConfig`] with the warnings that came up.
//! Every error names file, line and column, shows the line and says what to do about it.
//!
//! The stages, each in a module of its own: [`source`] (the text and where things are in it),
//! `token` (characters to tokens), `eval` (tokens to variables), `schema` (variables to the typed
//! configuration).
//!
//! No input panics, and the work is linear in the size of the file, which is at most
//! [`source::MAX_FILE_BYTES`].
#![forbid(unsafe_code)]

mod cmdline;
mod cpuset;
mod domain;
mod error;
mod eval;
mod load;
mod overrides;
mod schema;
pub mod source;
mod token;
mod value;

pub use cpuset::{CpuSet, CpuSetError};
pub use domain::{Action, DomainConfig, Image, Invalid, MAX_MEMORY_MIB, MAX_VCPUS, check_name};
pub use error::ConfigError;
pub use load::{Loaded, Warning, load, load_text};
pub use overrides::{Override, is_override};
