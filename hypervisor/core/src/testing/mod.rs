//! A machine in memory, for tests on the host: frames are allocated, the guest's address space is
//! a flat piece of bytes, devices are tables, and what the machine was asked to do is recorded.
//!
//! [`Host`] puts a hypervisor with some domains on top of it.

mod between;
mod host;
mod sim;

pub use between::{Mutex, MutexGuard};
pub(crate) use between::{between, point};
pub(crate) use host::Host;
pub(crate) use sim::{CPU, GUEST_BASE, MMIO, Sim, SimMicrocode};
