//! Hypercalls from dom0 user space: privcmd, evtchn, gntdev. The toolstack's only crate with unsafe.
//!
//! Everything the toolstack asks of the kernel's Xen devices and of the hypervisor goes through here, behind a
//! safe interface:
//!
//! - [`Hypervisor`] issues hypercalls through `/dev/xen/privcmd` and maps memory of other domains ([`Mapping`]);
//! - [`EventChannels`] binds, notifies and waits for event channels through `/dev/xen/evtchn`
//!   (with the feature `tokio`, `AsyncEventChannels` waits on tokio);
//! - [`GrantDevice`] maps pages that other domains granted, through `/dev/xen/gntdev`;
//! - [`dom0_xenstore`] finds the page and port over which dom0's own kernel talks to xenstored.
//!
//! # Why it is sound
//! The hypervisor writes only to addresses that a hypercall names. All such addresses are in
//! buffers which this crate allocates, borrows exclusively for the call and frees afterwards.
//! Memory shared with another domain is only reached through [`Mapping`], whose accesses are bounds-checked, volatile
//! or atomic, and never form a Rust reference: whatever the other domain writes meanwhile is data, not undefined
//! behaviour. dom0's own frames are not mapped. (dom0 rules the machine: hypercalls that take its own memory or change
//! its own page tables harm it from outside of the language, as writing `/proc/self/mem` does.)
//!
//! # Errors
//! Each error names the operation, the domain and the cause in words; see [`Error`].

mod buffer;
mod device;
mod domid;
mod error;
mod hypervisor;
mod mapping;
mod ops;

pub use device::dom0_xenstore::{self, Dom0Xenstore};
pub use device::evtchn::{EventChannels, LocalPort};
#[cfg(feature = "tokio")]
pub use device::evtchn_async::AsyncEventChannels;
pub use device::gntdev::GrantDevice;
pub use domid::DomId;
pub use error::{Error, Result};
pub use hypervisor::Hypervisor;
pub use mapping::{Mapping, PAGE_SIZE, Protection};
pub use ops::domctl::cpu_policy::CpuPolicy;
pub use ops::domctl::create::{CreateDomain, CreateFlags};
pub use ops::domctl::info::{DomainFlags, DomainInfo, VcpuInfo};
pub use ops::domctl::life::Trigger;
pub use ops::domctl::permission::Access;
pub use ops::domctl::sched::CreditParameters;
pub use ops::domctl::tsc::TscInfo;
pub use ops::memory::MemoryFlags;
pub use ops::mmu::PageTableLevel;
pub use ops::sched::ShutdownReason;
pub use ops::sysctl::console::ConsoleRing;
pub use ops::sysctl::cpupool::CpuPool;
pub use ops::sysctl::physinfo::{PhysCapabilities, PhysInfo, SchedulerId};
pub use ops::sysctl::topology::{CpuTopology, NumaInfo, NumaNode};
pub use ops::version::{CompileInfo, Version, VersionInfo};
