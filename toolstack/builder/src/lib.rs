//! Builds 64-bit PV domains: from a kernel image and an initial RAM disk to a domain that only
//! needs to be unpaused.
//!
//! The work is in two halves. [`Plan::new`] reads and unpacks the images and decides where everything
//! goes; it touches no domain, so that a bad kernel is found before anything exists. [`Plan::build`]
//! then fills a fresh domain through the [`Domain`] trait, which [`PvDomain`] implements with
//! hypercalls and the tests with an array.
//!
//! What goes where is the "start of day" of the public header xen.h; see [`layout`].
//!
//! Kernel images are hostile input: sizes are checked before they are used, decoders work into
//! buffers of known size, and whatever is wrong with an image comes out as an [`ImageError`].
#![forbid(unsafe_code)]

mod build;
mod context;
mod decompress;
mod domain;
mod error;
pub mod image;
pub mod layout;
mod plan;
mod pv;
mod start_info;
mod tables;

#[cfg(test)]
mod testing;

pub use build::{Phase, Rings};
pub use domain::Domain;
pub use error::{Error, ImageError};
pub use plan::{Plan, Request};
pub use pv::{Limits, PvDomain, check_memory, create};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes in a page, for indexing.
pub(crate) const PAGE_BYTES: usize = 4096;
