//! `HYPERVISOR_domctl`, interface version 0x15: domains.

pub(crate) mod affinity;
pub(crate) mod context;
pub(crate) mod cpu_policy;
pub(crate) mod create;
pub(crate) mod info;
pub(crate) mod life;
pub(crate) mod memory;
pub(crate) mod permission;
pub(crate) mod sched;
pub(crate) mod tsc;
