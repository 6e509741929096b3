//! System time: nanoseconds since boot, from the TSC.

#[cfg(target_os = "none")]
mod reference;
pub mod rtc;
pub mod scale;
#[cfg(target_os = "none")]
mod sync;
#[cfg(target_os = "none")]
mod system;

#[cfg(target_os = "none")]
pub(crate) use sync::{answer, measure};
#[cfg(target_os = "none")]
pub(crate) use system::rdtsc;
#[cfg(target_os = "none")]
pub use system::{boot_wallclock, delay, init, now, time_info, tsc_at, tsc_khz};
