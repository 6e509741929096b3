//! `HYPERVISOR_sysctl`, interface version 0x15: the host.

pub(crate) mod console;
pub(crate) mod cpupool;
pub(crate) mod physinfo;
pub(crate) mod topology;
