//! The hypercalls, one file for what belongs together.

pub(crate) mod domctl;
pub(crate) mod event;
pub(crate) mod memory;
pub(crate) mod mmu;
pub(crate) mod sched;
pub(crate) mod sysctl;
pub(crate) mod version;

/// Stands in while the ABI crate's types land; gone with them.
fn later<T>(op: &'static str) -> crate::Result<T> {
    Err(crate::Error::Hypercall {
        op,
        domain: None,
        errno: rustix::io::Errno::NOSYS,
    })
}
