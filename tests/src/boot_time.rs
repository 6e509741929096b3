//! From GRUB to dom0's user space, on ours and on Debian's Xen.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::console::{Console, Lines};
use crate::qemu::Machine;
use crate::session::Hypervisor;

/// One machine after the other, so that a change of the host's load meets both.
pub const ORDER: [Hypervisor; 4] = [
    Hypervisor::Oxen,
    Hypervisor::DebianXen,
    Hypervisor::Oxen,
    Hypervisor::DebianXen,
];

/// The host's load shows in single figures; ours may be worse by this part before it counts.
const TOLERANCE: f64 = 0.05;

/// From power-on to the first line of dom0's user space.
pub fn measure(machine: &Machine, log: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut console = Console::start(machine, log, false, Lines::Dom0)?;
    console.expect("(?m)^@@ ready$", Duration::from_secs(240))?;
    Ok(start.elapsed())
}

/// Prints the figures, and compares the better of each.
pub fn judge(times: &[(Hypervisor, Duration)]) -> Result<()> {
    for (hypervisor, time) in times {
        println!(
            "GRUB to dom0's user space on {}: {:.2} s",
            hypervisor.name(),
            time.as_secs_f64()
        );
    }
    let best = |which| {
        times
            .iter()
            .filter(|(it, _)| *it == which)
            .map(|(_, time)| *time)
            .min()
    };
    let (Some(ours), Some(xen)) = (best(Hypervisor::Oxen), best(Hypervisor::DebianXen)) else {
        anyhow::bail!("nothing was measured");
    };
    ensure!(
        ours.as_secs_f64() <= xen.as_secs_f64() * (1.0 + TOLERANCE),
        "ours takes {:.2} s, Debian's Xen {:.2} s",
        ours.as_secs_f64(),
        xen.as_secs_f64()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_of_each_counts() {
        let times = |ours: [u64; 2], xen: u64| {
            [
                (Hypervisor::Oxen, Duration::from_secs(ours[0])),
                (Hypervisor::DebianXen, Duration::from_secs(xen)),
                (Hypervisor::Oxen, Duration::from_secs(ours[1])),
            ]
        };
        assert!(judge(&times([30, 10], 11)).is_ok());
        assert!(judge(&times([12, 13], 11)).is_err());
        assert!(judge(&[]).is_err());
    }
}
