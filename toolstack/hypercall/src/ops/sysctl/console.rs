//! The hypervisor's log and its debug keys.

use crate::{Hypervisor, Result};

/// A part of the hypervisor's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleRing {
    /// The text, as logged.
    pub text: Vec<u8>,
    /// Index to read on from, for [`Hypervisor::console_ring_from`].
    pub next: u32,
}

impl Hypervisor {
    /// The hypervisor's log as far as its ring holds it; `clear` empties the ring.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn console_ring(&self, clear: bool) -> Result<ConsoleRing> {
        super::super::later("readconsole")
    }

    /// What was logged since `index`, which an earlier read returned.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn console_ring_from(&self, index: u32) -> Result<ConsoleRing> {
        super::super::later("readconsole")
    }

    /// Presses debug keys, as on the hypervisor's console.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn debug_keys(&self, keys: &str) -> Result<()> {
        super::super::later("debug_keys")
    }
}
