//! One file for each verb.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod conformance;
pub(crate) mod image;
pub(crate) mod run;
pub(crate) mod test;
