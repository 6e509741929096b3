//! pvclock: nanoseconds since the hypervisor's start.

/// TSC ticks to nanoseconds, as `vcpu_time_info` scales them.
#[must_use]
pub fn scale(ticks: u64, multiplier: u32, shift: i8) -> u64 {
    let amount = u32::from(shift.unsigned_abs());
    let shifted = if shift < 0 {
        ticks.checked_shr(amount).unwrap_or(0)
    } else {
        ticks.checked_shl(amount).unwrap_or(0)
    };
    let product = (u128::from(shifted) * u128::from(multiplier)) >> 32;
    u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0)
}

#[cfg(target_os = "none")]
mod bare {
    use core::sync::atomic::Ordering;

    use crate::sys::shared::{self, VcpuTime};
    use crate::sys::{cpu, vcpu};

    /// System time from a snapshot.
    #[must_use]
    pub fn read(time: &VcpuTime) -> u64 {
        loop {
            let version = time.version.load(Ordering::Acquire);
            let now = time
                .system_time
                .load(Ordering::Acquire)
                .wrapping_add(super::scale(
                    cpu::rdtsc_ordered().wrapping_sub(time.tsc_timestamp.load(Ordering::Acquire)),
                    time.tsc_to_system_mul.load(Ordering::Acquire),
                    time.tsc_shift.load(Ordering::Acquire),
                ));
            if version & 1 == 0 && version == time.version.load(Ordering::Acquire) {
                return now;
            }
            cpu::pause();
        }
    }

    /// System time on the vCPU this runs on, 0 before the shared page is mapped.
    #[must_use]
    pub fn now() -> u64 {
        shared::vcpu_info(vcpu::current()).map_or(0, |info| read(&info.time))
    }
}

#[cfg(target_os = "none")]
pub use bare::{now, read};

#[cfg(test)]
mod tests {
    use super::scale;

    #[test]
    fn scales_up_and_down() {
        // 1 GHz: one tick is a nanosecond, 2^31 with a shift of 1.
        assert_eq!(scale(1000, 1 << 31, 1), 1000);
        // 4 GHz: a quarter.
        assert_eq!(scale(1000, 1 << 31, -1), 250);
        assert_eq!(scale(u64::MAX, u32::MAX, -128), 0);
        assert_eq!(scale(1, u32::MAX, 127), 0);
    }
}
