//! Questions to a PC's BIOS, which are asked once, at boot, in real mode.
//!
//! This is done before anything of the machine is set up that the BIOS uses: the interrupt controllers are as the BIOS
//! left them, and so is the memory below 0x500 with its interrupt vectors and data. The other CPUs have not started.
//!
//! What is asked is decided in `core`; here is how. Only the services in [`services`] are called, each with fixed
//! registers and with addresses in the area of [`area`], so that a BIOS that does what its documentation says touches
//! nothing of the hypervisor's.

mod area;
#[cfg(target_os = "none")]
mod real_mode;
mod services;

#[cfg(target_os = "none")]
mod asked;
#[cfg(target_os = "none")]
pub(crate) use asked::{ask, look};
