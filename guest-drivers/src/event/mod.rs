//! Event channels: the driver's two ABIs, and the counts that the upcall leaves.

pub mod fifo;
pub mod two_level;

#[cfg(target_os = "none")]
mod upcall;
#[cfg(target_os = "none")]
pub use upcall::{Fifo, count, last, upcall, when};
