//! What the builder needs of a domain.

use oxen_abi::arch_x86::VcpuGuestContext;

use crate::error::Error;

/// A domain under construction: paused, with its vCPUs allocated and no memory yet.
pub trait Domain {
    /// Gives it memory at each PFN of `pfns`, which is the first of `1 << order` frames. Returns the
    /// machine frames, in order; fewer than asked for when memory ran out.
    ///
    /// # Errors
    /// The hypervisor refused it.
    fn populate(&self, order: u8, pfns: &[u64]) -> Result<Vec<u64>, Error>;

    /// Writes `data` into its frames `mfns`, from the start of the first on. The rest of the last
    /// frame is left as it is.
    ///
    /// # Errors
    /// A frame cannot be mapped.
    fn write(&self, mfns: &[u64], data: &[u8]) -> Result<(), Error>;

    /// Writes `data` into one frame, from byte `offset` on.
    ///
    /// # Errors
    /// The frame cannot be mapped.
    fn write_part(&self, mfn: u64, offset: usize, data: &[u8]) -> Result<(), Error>;

    /// The machine frame of its shared_info page.
    ///
    /// # Errors
    /// The hypervisor refused it.
    fn shared_info(&self) -> Result<u64, Error>;

    /// Has the hypervisor fill in a hypercall page.
    ///
    /// # Errors
    /// The hypervisor refused it.
    fn init_hypercall_page(&self, mfn: u64) -> Result<(), Error>;

    /// Makes an event channel that dom0 may bind to, and returns its port.
    ///
    /// # Errors
    /// The hypervisor refused it.
    fn alloc_port(&self) -> Result<u32, Error>;

    /// Grants dom0 the console's and xenstore's rings, as grant references 0 and 1.
    ///
    /// # Errors
    /// The grant table cannot be mapped.
    fn grant_rings(&self, console_mfn: u64, xenstore_mfn: u64) -> Result<(), Error>;

    /// Makes the frame an L4 table, which the hypervisor then validates with all below it.
    ///
    /// # Errors
    /// The tables are not valid.
    fn pin_l4(&self, mfn: u64) -> Result<(), Error>;

    /// Sets the registers of vCPU 0.
    ///
    /// # Errors
    /// The hypervisor refused them.
    fn set_context(&self, context: &VcpuGuestContext) -> Result<(), Error>;
}
