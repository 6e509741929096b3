//! Policy of the Oxen hypervisor: domains, vCPUs, scheduling, event channels, grants, page typing,
//! memory accounting, hypercall semantics and boot options.
//!
//! Nothing here touches hardware and nothing here is unsafe. Everything is generic over
//! [`Machine`], so the same code runs on bare metal with `oxen-machine` and under `cargo test`
//! with a simulated machine.
//!
//! Promises:
//! - A guest's request ends in a value, an errno, or the end of that guest ([`error::Stop`]).
//! - A guest pointer is an allegation; it becomes data by one copy that can fail ([`guest`]).
//! - Work that a guest can make long stops when something is pending and continues later.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod console;
pub mod control;
pub mod dom0;
pub mod domain;
pub mod entry;
pub mod error;
pub mod event;
pub mod firmware;
pub mod grant;
pub mod guest;
pub mod hypercall;
pub mod hypervisor;
pub mod irq;
pub mod machine;
pub mod meeting;
pub mod microcode;
pub mod mm;
#[cfg(loom)]
pub mod models;
pub mod options;
pub mod percpu;
pub mod sched;
pub mod speculation;
pub mod start;
pub mod sync;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod trap;
pub mod types;
pub mod vcpu;

pub use error::{HcResult, Stop};
pub use hypervisor::Hypervisor;
pub use machine::Machine;
pub use percpu::{Cx, PerCpu};
pub use types::{CpuId, DomId, Mfn, Port, VcpuId};
