//! Limits and types of a domain's memory.

use oxen_abi::domctl as abi;
use zerocopy::IntoBytes as _;

use super::Plain;
use crate::{DomId, Hypervisor, Result};

/// Most frames in one hypercall; the hypervisor refuses more than 1024.
const BATCH: usize = 1024;

// SAFETY: a number.
unsafe impl Plain for abi::MaxMem {}

impl Hypervisor {
    /// Limits the memory of a domain, in KiB.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<()> {
        self.domctl(
            "max_mem",
            abi::XEN_DOMCTL_MAX_MEM,
            domain,
            abi::MaxMem { max_memkb: kib },
        )
        .map(drop)
    }

    /// The types of frames of a PV domain (`XEN_DOMCTL_PFINFO_*`), in the order given.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn page_frame_types(&self, domain: DomId, frames: &[u64]) -> Result<Vec<u64>> {
        let op = "getpageframeinfo3";
        let mut types = Vec::with_capacity(frames.len());
        for batch in frames.chunks(BATCH) {
            let mut buffer = self.buffer(op, size_of_val(batch))?;
            buffer.bytes_mut().copy_from_slice(batch.as_bytes());
            let mut payload = abi::GetPageFrameInfo3 {
                num: batch.len() as u64,
                array: buffer.address(),
            };
            // SAFETY: the handle is of a buffer that is held mutably and has `num` entries.
            unsafe {
                self.domctl_with_handles(
                    op,
                    abi::XEN_DOMCTL_GETPAGEFRAMEINFO3,
                    domain,
                    &mut payload,
                )?
            };
            let (words, _) = buffer.bytes().as_chunks::<8>();
            types.extend(words.iter().map(|b| u64::from_le_bytes(*b)));
        }
        Ok(types)
    }

    /// Turns shadow paging and dirty logging off.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn disable_shadow(&self, domain: DomId) -> Result<()> {
        let mut payload = abi::ShadowOp {
            op: abi::XEN_DOMCTL_SHADOW_OP_OFF,
            ..Default::default()
        };
        // SAFETY: the handle of the bitmap is 0.
        unsafe {
            self.domctl_with_handles("shadow_op", abi::XEN_DOMCTL_SHADOW_OP, domain, &mut payload)
        }
        .map(drop)
    }
}
