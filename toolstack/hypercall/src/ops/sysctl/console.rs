//! The hypervisor's log and its debug keys.

use oxen_abi::sysctl::{DebugKeys, ReadConsole, XEN_SYSCTL_DEBUG_KEYS, XEN_SYSCTL_READCONSOLE};

use crate::{Error, Hypervisor, Result};

/// Bytes asked for at a time.
const CHUNK: usize = 32 << 10;
/// Most bytes of one answer, should the log grow faster than it is read.
const MOST: usize = 64 << 20;

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
        self.read_console(None, clear)
    }

    /// What was logged since `index`, which an earlier read returned.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn console_ring_from(&self, index: u32) -> Result<ConsoleRing> {
        self.read_console(Some(index), false)
    }

    /// Presses debug keys, as on the hypervisor's console.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn debug_keys(&self, keys: &str) -> Result<()> {
        let op = "debug_keys";
        let mut buffer = self.buffer(op, keys.len())?;
        buffer.bytes_mut().copy_from_slice(keys.as_bytes());
        let nr_keys = u32::try_from(keys.len()).map_err(|_| Error::Invalid {
            op,
            what: "too many keys".into(),
        })?;
        let mut payload = DebugKeys {
            keys: buffer.address(),
            nr_keys,
            ..Default::default()
        };
        // SAFETY: the handle is of a buffer that is held mutably and has `nr_keys` bytes.
        unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_DEBUG_KEYS, &mut payload) }
    }

    fn read_console(&self, from: Option<u32>, clear: bool) -> Result<ConsoleRing> {
        let op = "readconsole";
        let mut ring = ConsoleRing {
            text: Vec::new(),
            next: from.unwrap_or(0),
        };
        let mut buffer = self.buffer(op, CHUNK)?;
        let count = u32::try_from(CHUNK).unwrap_or(0);
        let mut incremental = from.is_some();
        while ring.text.len() < MOST {
            let mut payload = ReadConsole {
                clear: clear.into(),
                incremental: incremental.into(),
                index: ring.next,
                buffer: buffer.address(),
                count,
                ..Default::default()
            };
            // SAFETY: the handle is of a buffer that is held mutably and has `count` bytes.
            unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_READCONSOLE, &mut payload)? };
            let got = usize::try_from(payload.count).unwrap_or(0).min(CHUNK);
            ring.text
                .extend_from_slice(buffer.bytes().get(..got).unwrap_or_default());
            ring.next = payload.index;
            incremental = true;
            if got < CHUNK {
                break;
            }
        }
        Ok(ring)
    }
}
